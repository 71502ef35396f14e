from __future__ import annotations

import hashlib
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmkd_ext.compat import own_configs
from mmkd_ext.distill import CheckpointError, read_checkpoint
from mmkd_ext.distill.export import export_student, student_weights
from mmkd_ext.distill.student_config import student_config
from tests import warm_python
from tests.quiet_runner import quiet_runner

REPOSITORY = Path(__file__).parents[2]

CONFIG = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmkd_ext'], allow_failed_imports=False)
data_root = {root!r}
data_preprocessor = dict(mean=[100.0, 110.0, 120.0], std=[60.0] * 3, to_rgb=True, num_classes=2)
student = dict(
    _scope_='mmpretrain', type='ImageClassifier',
    backbone=dict(_scope_='mmpretrain', type='ResNet_CIFAR', depth=18, base_channels=4,
                  stem_channels=4, out_indices=(3, )),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=32))
model = dict(
    type='mmkd_ext.Distiller', student=student, teacher=dict(config=student),
    input_shape=(3, 16, 16),
    losses=dict(mgd=dict(type='MGDLoss', tap='backbone.layer4'),
                cwd=dict(type='CWDLoss', tap='backbone.layer3')))
pipeline = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
dataset = dict(type='CustomDataset', data_root=data_root, with_label=True, pipeline=pipeline)
train_dataloader = dict(batch_size=4, num_workers=0, dataset=dataset,
                        sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(batch_size=4, num_workers=0, dataset=dataset,
                      sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='Accuracy', topk=(1, ))
train_cfg = dict(by_epoch=False, max_iters=2, val_interval=100)
val_cfg = test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
default_hooks = dict(
    checkpoint=dict(type='mmkd_ext.CheckpointHook', interval=2, by_epoch=False),
    exact_resume=dict(type='mmkd_ext.ExactResumeHook'))
custom_hooks = [dict(type='EMAHook', momentum=0.5), dict(type='mmkd_ext.StudentCheckpointHook')]
randomness = dict(seed=1)
log_level = 'WARNING'
"""

# Trains and tests with the stock library, in a process in which mmkd_ext does not exist.
STOCK = """
import sys
sys.modules['mmkd_ext'] = None
import numpy as np, torch
from mmengine.config import Config
from mmengine.runner import Runner
config, weights, out, work_dir = sys.argv[1:]
cfg = Config.fromfile(config)
cfg.work_dir, cfg.load_from = work_dir, weights
runner = Runner.from_cfg(cfg)
score = runner.test()['accuracy/top1']
runner.model.load_state_dict(torch.load(weights, weights_only=True)['state_dict'], strict=True)
runner.model.eval()
scores = []
with torch.no_grad():
    for batch in runner.test_dataloader:
        scores += [sample.pred_score for sample in runner.model.test_step(batch)]
np.savez(out, scores=torch.stack(scores).numpy(), score=score)
cfg.experiment_name = 'again'
Runner.from_cfg(cfg).train()
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A distillation run of two iterations: its folder, config file and runner."""
    folder = tmp_path_factory.mktemp("run")
    numbers = np.random.default_rng(0)
    for i in range(8):
        target = folder / "images" / f"class_{i % 2}" / f"{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(numbers.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(target)
    path = folder / "tiny_distill.py"
    path.write_text(CONFIG.format(root=str(folder / "images")))
    runner = quiet_runner(Config.fromfile(path), folder / "work", seed=1)
    runner.train()
    return folder, path, runner


@pytest.fixture
def work(trained):
    folder, path, _ = trained
    return folder / "work" / "iter_2.pth", path


def predictions(runner):
    """The distiller's, with its raw weights as they are."""
    runner.model.eval()
    with torch.no_grad():
        batches = [runner.model.test_step(batch) for batch in runner.val_dataloader]
    return torch.stack([sample.pred_score for batch in batches for sample in batch]).cpu()


def test_the_stock_library_alone_predicts_the_same(trained, work, tmp_path):
    out = export_student(*work, tmp_path / "slim.pth", ema=False)
    command = [sys.executable, "-c", STOCK, out.with_suffix(".py"), out]
    results = tmp_path / "results.npz"
    done = warm_python.run([*command, results, tmp_path / "stock"], tmp_path)
    assert done.returncode == 0, done.stderr
    stock = np.load(results)
    ours = predictions(trained[2]).numpy()
    assert ours.shape == (8, 2)
    assert np.array_equal(stock["scores"], ours)
    # And it trained: with mmengine's own checkpoint hook.
    assert (tmp_path / "stock" / "iter_2.pth").exists()


def test_the_config_is_the_students(work, tmp_path):
    out = export_student(*work, tmp_path / "slim.pth")
    text = out.with_suffix(".py").read_text()
    assert "mmkd_ext" not in text
    assert "_scope_" not in text
    config = Config.fromfile(out.with_suffix(".py"))
    given = Config.fromfile(work[1])
    assert config.model.type == "ImageClassifier"
    assert config.data_preprocessor == given.data_preprocessor
    assert config.default_hooks == dict(
        checkpoint=dict(type="CheckpointHook", interval=2, by_epoch=False)
    )
    assert config.custom_hooks == [dict(type="EMAHook", momentum=0.5)]
    for key in ("train_dataloader", "val_evaluator", "optim_wrapper", "train_cfg", "randomness"):
        assert config[key] == given[key]


def test_the_weights_are_slim(work, tmp_path):
    content = read_checkpoint(export_student(*work, tmp_path / "slim.pth"))
    assert set(content) == {"meta", "state_dict"}
    assert content["meta"]["dataset_meta"]["classes"] == ("class_0", "class_1")
    assert content["meta"]["iter"] == 2
    assert content["meta"]["cfg"] == (tmp_path / "slim.py").read_text()
    assert not [k for k in content["state_dict"] if k.startswith(("distill.", "ema_teacher."))]


def test_which_weights(work, tmp_path):
    full = read_checkpoint(work[0])
    key = "backbone.conv1.weight"
    averaged, raw = full["state_dict"][key], full["ema_state_dict"][f"module.{key}"]
    assert not torch.equal(averaged, raw)
    for ema, expected in ((None, averaged), (True, averaged), (False, raw)):
        out = export_student(*work, tmp_path / f"{ema}.pth", ema=ema)
        assert torch.equal(read_checkpoint(out)["state_dict"][key], expected)
    del full["ema_state_dict"]
    torch.save(full, tmp_path / "plain.pth")
    with pytest.raises(CheckpointError, match="no averaged weights"):
        export_student(tmp_path / "plain.pth", work[1], tmp_path / "x.pth", ema=True)
    assert export_student(tmp_path / "plain.pth", work[1], tmp_path / "x.pth").exists()


def test_from_a_distiller_itself(trained):
    model = trained[2].model
    weights = student_weights(model)
    assert list(weights) == list(model.student.state_dict())
    assert weights._metadata["backbone.bn1"] == {"version": 2}
    assert not [key for key in weights._metadata if key.startswith("distill")]


def tool(*args):
    command = [sys.executable, str(REPOSITORY / "tools" / "export_student.py"), *map(str, args)]
    return warm_python.run(command, args[0].parent)


def test_command_line(work, tmp_path):
    checkpoint, config = work
    done = tool(config, checkpoint, "--out", tmp_path / "s.pth", "--ema", "--sha")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.pth")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    assert path.name == f"s-{digest}.pth"
    assert path.with_suffix(".py").exists()
    assert str(path) in done.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"s-{digest}.pth", f"s-{digest}.py"]


def test_command_line_errors_are_one_line(work, tmp_path):
    done = tool(work[1], tmp_path / "missing.pth", "--out", tmp_path / "s.pth")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "missing.pth does not exist" in done.stderr
    assert not list(tmp_path.iterdir())


def test_default_name_is_nobodys_config(work):
    out = export_student(*work)
    assert out == work[0].with_name("tiny_distill-student.pth")
    assert out.stem not in own_configs()


def bad_checkpoint(change):
    def make(folder, checkpoint):
        content = read_checkpoint(checkpoint)
        change(content["state_dict"])
        torch.save(content, folder / "bad.pth")
        return folder / "bad.pth"

    return make


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("head.fc.weight"), "missing head.fc.weight"),
        (lambda state: state.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda state: state.update({"head.fc.bias": torch.zeros(3)}), "shape head.fc.bias"),
        (lambda state: state["head.fc.bias"].fill_(float("nan")), "NaN or infinite"),
    ],
)
def test_a_checkpoint_of_something_else(work, tmp_path, change, message):
    bad = bad_checkpoint(change)(tmp_path, work[0])
    with pytest.raises(CheckpointError, match=message):
        export_student(bad, work[1], tmp_path / "out.pth")
    assert [p.name for p in tmp_path.iterdir()] == ["bad.pth"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("tiny_distill.pth", "a config of that name already"), ("weights.pt", r"ends in \.pth")],
)
def test_refused_names(work, tmp_path, name, message):
    with pytest.raises(ValueError, match=message):
        export_student(*work, tmp_path / name)


def plain_of(text):
    return student_config(Config.fromstring(textwrap.dedent(text), ".py"))


def test_config_of_a_stock_model_is_refused():
    with pytest.raises(ValueError, match="its model is ImageClassifier, not a Distiller"):
        plain_of("model = dict(type='ImageClassifier')")


def test_config_details():
    plain, leftovers = plain_of("""
        default_scope = 'mmdet'
        custom_imports = dict(imports=['mmkd_ext.hooks', 'json'], allow_failed_imports=False)
        model = dict(
            type='mmkd_ext.Distiller', losses=dict(), data_preprocessor=dict(type='A'),
            student=dict(_scope_='mmdet', type='S',
                         backbone=dict(_scope_='mmpretrain', type='ResNet')))
        default_hooks = dict(checkpoint=dict(type='CheckpointHook', _scope_='mmkd_ext', interval=7),
                             logger=dict(type='LoggerHook', _scope_='mmkd_ext'))
        custom_hooks = [dict(type='TeacherCheckHook', _scope_='mmkd_ext')]
        work_dir = 'somewhere'
        resume = True
        """)
    assert leftovers == []
    assert plain.to_dict() == dict(
        default_scope="mmdet",
        custom_imports=dict(imports=["json"], allow_failed_imports=False),
        model=dict(
            type="S",
            backbone=dict(_scope_="mmpretrain", type="ResNet"),
            data_preprocessor=dict(type="A"),
        ),
        default_hooks=dict(
            checkpoint=dict(type="CheckpointHook", interval=7), logger=dict(type="LoggerHook")
        ),
    )


def test_a_student_of_our_own_keeps_the_import():
    plain, leftovers = plain_of("""
        custom_imports = dict(imports=['mmkd_ext'])
        model = dict(type='mmkd_ext.Distiller', losses=dict(),
                     student=dict(type='S', backbone=dict(type='mmkd_ext.MobileNetV1')))
        """)
    assert leftovers == ["model.backbone"]
    assert plain.custom_imports.imports == ["mmkd_ext"]
