"""Every classification config builds, trains a step and predicts, with its real networks."""

from __future__ import annotations

import re

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer

from mmkd_ext import compat

from .cls_configs import (
    CONFIGS,
    FOLDER,
    NUM_CLASSES,
    ROOT,
    code_lines,
    load,
    made_batch,
    runner_of,
    stock_configs,
)

pytestmark = pytest.mark.filterwarnings("ignore")

N = 4
R34_R18 = (N, 512, 2, 2)
TOKENS_T, TOKENS_S = (N, 197, 192), (N, 197, 384)  # 14 x 14 patches and the class token
LOGITS = (N, NUM_CLASSES)

# config -> image size, and for each loss what it gets: (student, teacher), teacher None if unused
EXPECTED = {
    "mgd_resnet18_resnet34_8xb32_in1k": (64, {"mgd": (R34_R18, R34_R18)}),
    "nkd_resnet18_resnet34_8xb32_in1k": (64, {"nkd": (LOGITS, LOGITS)}),
    "tf-nkd_resnet18_8xb32_in1k": (64, {"tf_nkd": (LOGITS, None)}),
    "uskd_resnet18_8xb32_in1k": (
        64,
        {"uskd": ({"logits": LOGITS, "feature": (N, 256, 4, 4)}, None)},
    ),
    "vitkd-nkd_deit-tiny_deit3-small_4xb256_in1k": (
        224,
        {"vitkd": ([TOKENS_T] * 3, [TOKENS_S] * 3), "nkd": (LOGITS, LOGITS)},
    ),
}
HYPER_PARAMETERS = {
    "mgd_resnet18_resnet34_8xb32_in1k": {
        "mgd": dict(mask="channel", mask_ratio=0.15, loss_weight=7e-5)
    },
    "nkd_resnet18_resnet34_8xb32_in1k": {"nkd": dict(temperature=1.0, gamma=1.5)},
    "tf-nkd_resnet18_8xb32_in1k": {"tf_nkd": dict(loss_weight=1.0)},
    "uskd_resnet18_8xb32_in1k": {
        "uskd": dict(alpha=1.0, beta=0.1, mu=0.005, rank="prob", channels=256)
    },
    "vitkd-nkd_deit-tiny_deit3-small_4xb256_in1k": {
        "vitkd": dict(
            loss_weight={"mimic": 3e-5, "generation": 3e-6}, mask_ratio=0.5, num_extra_tokens=1
        ),
        "nkd": dict(temperature=1.0, gamma=1.0, soft_labels="argmax"),
    },
}
by_name = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def _leave_no_trace():
    """The Runner makes itself the process's current logger, scope, visualizer: undo that."""
    kinds = (DefaultScope, MMLogger, MessageHub, Visualizer)
    before = {kind: kind._instance_dict.copy() for kind in kinds}
    yield
    for kind, instances in before.items():
        kind._instance_dict.clear()
        kind._instance_dict.update(instances)


def shapes(value):
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, dict):
        return {key: shapes(item) for key, item in value.items()}
    return None if value is None else [shapes(item) for item in value]


def copies(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def record_inputs(module, seen):
    return module.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((args, kwargs)), with_kwargs=True
    )


def test_every_config_in_the_folder_is_covered():
    assert CONFIGS
    assert {path.stem for path in CONFIGS} == set(EXPECTED) == set(HYPER_PARAMETERS)


@by_name
def test_it_trains_a_step_and_predicts(path, tmp_path):
    size, expected = EXPECTED[path.stem]
    cfg = load(path, size)
    assert cfg.default_scope == "mmpretrain"
    runner = runner_of(cfg, tmp_path)
    model = runner.model
    optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)

    for name, wanted in HYPER_PARAMETERS[path.stem].items():
        assert {key: getattr(model.distill[name], key) for key in wanted} == wanted

    # The optimizer holds each trained parameter once, the losses' own among them.
    held = [p for group in optim_wrapper.optimizer.param_groups for p in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {p for p in model.parameters() if p.requires_grad}

    teacher = model.teacher
    teacher_before = copies(teacher) if teacher is not None else {}
    student_before = copies(model.student.backbone)
    losses_before = copies(model.distill)
    tapped = {name: [] for name in expected}
    for name, module in model.distill.items():
        record_inputs(module, tapped[name])
    entered, student_images, teacher_images = [], [], []
    record_inputs(model, entered)
    record_inputs(model.backbone, student_images)
    if teacher is not None:
        assert type(teacher.backbone).__module__ in (
            "mmpretrain.models.backbones.resnet",
            "mmkd_ext.models.deit3",  # not mmpretrain's, which leaves out a norm
        )
        record_inputs(teacher.backbone, teacher_images)

    model.train()
    log = model.train_step(made_batch(size), optim_wrapper)

    assert all(torch.isfinite(value).all() for value in log.values())
    terms = {key for key in log if key.startswith("kd.loss_")}
    assert {name for name in expected if any(name in key for key in terms)} == set(expected)
    for name, (student, from_teacher) in expected.items():
        [((got_student, got_teacher, _), _)] = tapped[name]
        assert (shapes(got_student), shapes(got_teacher)) == (student, from_teacher)

    # One step: student and loss modules moved, the teacher did not, batch norm included.
    assert not equal(student_before, copies(model.student.backbone))
    assert not losses_before or not equal(losses_before, copies(model.distill))
    if teacher is not None:
        assert not teacher.training
        assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
        assert equal(teacher_before, copies(teacher))
        [(images_s, _)], [(images_t, _)] = student_images, teacher_images
        assert torch.equal(images_s[0], images_t[0])

    # Mixup and CutMix: on where the student has them, and the losses see the mixed labels.
    augments = Config.fromfile(path).model.student.get("train_cfg")
    [(_, kwargs)] = entered
    soft = ["gt_score" in sample for sample in kwargs["data_samples"]]
    assert all(soft) if augments else not any(soft)
    if augments:
        assert [a.type for a in augments.augments] == ["Mixup", "CutMix"]
        labels = torch.stack([sample.gt_score for sample in kwargs["data_samples"]])
        assert ((labels > 0).sum(1) == 2).any()
        clean = model.data_preprocessor(made_batch(size), training=False)["inputs"]
        assert not torch.equal(kwargs["inputs"], clean)

    model.eval()
    for sample in model.val_step(made_batch(size)):
        assert sample.pred_score.shape == (NUM_CLASSES,)
        assert sample.pred_score.sum().item() == pytest.approx(1, abs=1e-4)


@by_name
def test_each_distillation_loss_reaches_the_student(path, tmp_path):
    size, expected = EXPECTED[path.stem]
    model = runner_of(load(path, size), tmp_path).model
    # A ViT head starts at zero, and passes no gradient on.
    for head in (model.head, getattr(model.teacher, "head", None)):
        for parameter in head.parameters() if head is not None else ():
            torch.nn.init.normal_(parameter, std=0.02)
    data = model.data_preprocessor(made_batch(size, count=2), training=True)
    model.train()
    log = model(**data, mode="loss")
    first = next(model.backbone.parameters())
    for name in expected:
        for key in (key for key in log if key.startswith(f"kd.loss_{name}")):
            (gradient,) = torch.autograd.grad(log[key], first, retain_graph=True)
            assert torch.isfinite(gradient).all()
            assert gradient.abs().sum() > 0, key


@by_name
def test_student_parameters_get_the_groups_of_the_stock_config(path, tmp_path):
    def settings(cfg, work_dir):
        runner = runner_of(cfg, work_dir)
        wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
        names = {p: name for name, p in runner.model.named_parameters()}
        options = ("lr", "weight_decay", "momentum", "betas", "eps", "nesterov")
        return {
            names[p]: {key: group[key] for key in options if key in group}
            for group in wrapper.optimizer.param_groups
            for p in group["params"]
        }

    [base] = re.findall(r'^_base_ = "(.*)"$', path.read_text(), flags=re.MULTILINE)
    stub = tmp_path / "stock_student.py"
    stub.write_text(f'_base_ = "{base}"\n')
    ours = settings(load(path, EXPECTED[path.stem][0]), tmp_path / "ours")
    stock = settings(Config.fromfile(stub), tmp_path / "stock")
    student_only = {name: s for name, s in ours.items() if not name.startswith("distill.")}
    assert student_only == stock
    if "deit" in path.stem:  # else this compares one setting with itself
        assert len({str(setting) for setting in stock.values()}) > 1


@by_name
def test_it_is_short_and_plain(path):
    lines = code_lines(path)
    assert lines[0].startswith('_base_ = "mmpretrain::')
    assert len(lines) - 1 <= 15, f"{len(lines) - 1} lines beyond the student's config"
    # mmengine takes a config with an import for a lazy one.
    assert not any(re.match(r"(import|from)\s", line) for line in lines)
    assert 'custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)' in lines


@by_name
def test_teacher_checkpoints_are_published_ones(path):
    cfg = Config.fromfile(path)
    if "teacher" not in cfg.model:
        return
    teacher = cfg.model.teacher
    # mmpretrain's metafiles pair each URL with the config that its weights were trained with.
    wanted = teacher.config
    if wanted.startswith("mmkd_ext::"):
        base = (ROOT / "configs" / wanted.removeprefix("mmkd_ext::")).read_text()
        [wanted] = re.findall(r'^_base_ = "(.*)"$', base, flags=re.MULTILINE)
    wanted = wanted.replace("mmpretrain::", "configs/")
    pairs = {
        (entry.get("Weights"), entry["Config"])
        for metafile in compat.package_configs("mmpretrain").rglob("metafile.yml")
        for entry in yaml.safe_load(metafile.read_text()).get("Models", ())
    }
    known = {(url.rpartition("/")[2], config) for url, config in pairs if url}
    assert (teacher.checkpoint.rpartition("/")[2], wanted) in known


def test_base_names_are_unique_here_and_against_the_stock_ones():
    ours = [path for path in (ROOT / "configs").rglob("*.py")]
    names = [path.name for path in ours if "_base_" not in path.parts]
    assert len(names) == len(set(names))
    stock = {path.name for path in stock_configs()}
    assert len(stock) > 1000
    assert not stock & set(names)


def test_metafiles_describe_each_config_once(tmp_path):
    from modelindex.load_model_index import load as load_index

    metafiles = sorted(FOLDER.rglob("metafile.yml"))
    described = []
    for metafile in metafiles:
        raw = yaml.safe_load(metafile.read_text())
        collections = {entry["Name"] for entry in raw["Collections"]}
        for entry in raw["Collections"]:
            assert entry["Paper"]["URL"].startswith("https://arxiv.org/abs/")
            assert (ROOT / entry["README"]).is_file()
        for entry in raw["Models"]:
            assert entry["In Collection"] in collections
            assert entry["Name"] == (ROOT / entry["Config"]).stem
            assert "Weights" not in entry  # nothing was trained for this release
            assert entry["Metadata"]["Source Of Results"].startswith("published")
            for result in entry["Results"]:
                assert all(key.endswith("(published)") for key in result["Metrics"])
            described.append(ROOT / entry["Config"])
    assert sorted(described) == CONFIGS

    # As `mim search` reads them: through an index at the root, which their paths are relative to.
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    imports = [str(metafile.relative_to(ROOT)) for metafile in metafiles]
    (tmp_path / "model-index.yml").write_text(yaml.safe_dump({"Import": imports}))
    index = load_index(str(tmp_path / "model-index.yml"))
    index.build_models_with_collections()
    assert len(index.models) == len(CONFIGS)
    # Its own check takes README paths for relative to the metafile; OpenMMLab's are to the root.
    assert not [error for error in index.check(silent=True) if "README" not in error]


@by_name
def test_the_readme_of_its_folder_names_it(path):
    text = (path.parent / "README.md").read_text()
    assert f"]({path.name})" in text
    assert f"configs/{path.relative_to(ROOT / 'configs')}" in text  # in a command line
