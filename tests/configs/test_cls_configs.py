"""Every classification config builds, trains a step and predicts, with its real networks."""

from __future__ import annotations

import re

import pytest
import torch
import yaml
from mmengine.config import Config

from mmkd_ext import compat

from .cls_configs import (
    CONFIGS,
    DISTILLED,
    FOLDER,
    ROOT,
    base_of,
    check_gradients,
    check_predictions,
    code_lines,
    copies,
    equal,
    is_distilled,
    load,
    made_batch,
    optimizer_settings,
    record_inputs,
    runner_of,
    shapes,
    stock_configs,
    terms_of,
)
from .cls_expected import EXPECTED
from .slow_paths import by_path

pytestmark = pytest.mark.filterwarnings("ignore")

REAL_TEACHERS = (
    "mmpretrain.models.backbones.resnet",
    "mmpretrain.models.backbones.resnet_cifar",
    "mmpretrain.models.backbones.vision_transformer",
    "mmkd_ext.models.cifar_resnet",
    "mmkd_ext.models.deit3",  # not mmpretrain's, which leaves out a norm
)
by_name = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
distilled_by_name = pytest.mark.parametrize("path", DISTILLED, ids=lambda path: path.stem)
# One config for each student: its parameter groups do not depend on the losses.
ONE_PER_STUDENT = list({base_of(path): path for path in DISTILLED}.values())


def test_every_config_in_the_folder_is_covered():
    assert len(CONFIGS) == len(EXPECTED) > 70
    assert {path.stem for path in CONFIGS} == set(EXPECTED)
    assert {path.stem for path in DISTILLED} == {n for n, e in EXPECTED.items() if e.taps}


# Large networks, smaller ones of whose kind are trained with the same losses.
LARGE = {
    "nkd_deit-base_deit3-large_16xb64_in1k",
    "tf-nkd_swin-small_16xb64_in1k",
    "vitkd-nkd_deit-base_deit3-large_16xb64_in1k",
    "vitkd_deit-base_deit3-large_16xb64_in1k",
}


@by_path(CONFIGS, slow=LARGE)
def test_it_trains_a_step_and_predicts(path, tmp_path):
    size, classes, expected, settings, student_weight = EXPECTED[path.stem]
    cfg = load(path, size)
    assert cfg.default_scope == "mmpretrain"
    assert cfg.data_preprocessor.num_classes == classes
    runner = runner_of(cfg, tmp_path)
    model = runner.model
    optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)

    # The optimizer holds each trained parameter once, the losses' own among them.
    held = [p for group in optim_wrapper.optimizer.param_groups for p in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {p for p in model.parameters() if p.requires_grad}

    if not expected:
        before = copies(model.backbone)
        log = model.train_step(made_batch(size, classes), optim_wrapper)
        assert torch.isfinite(log["loss"])
        assert not equal(before, copies(model.backbone))
        check_predictions(model, size, classes)
        return

    assert model.student_loss_weight == student_weight
    for name, wanted in settings.items():
        assert {key: getattr(model.distill[name], key) for key in wanted} == wanted
    check_gradients(model, size, classes, expected)

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
        assert type(teacher.backbone).__module__ in REAL_TEACHERS
        record_inputs(teacher.backbone, teacher_images)

    model.train()
    log = model.train_step(made_batch(size, classes), optim_wrapper)

    assert all(torch.isfinite(value).all() for value in log.values())
    terms = [key for name in expected for key in terms_of(log, name)]
    assert sorted(terms) == sorted(key for key in log if key.startswith("kd.loss_"))
    for name, (student, from_teacher) in expected.items():
        [((got_student, got_teacher, _), _)] = tapped[name]
        assert (shapes(got_student), shapes(got_teacher)) == (student, from_teacher)

    # One step: student and loss modules moved, the teacher did not, batch norm included.
    assert not equal(student_before, copies(model.student.backbone))
    assert not losses_before or not equal(losses_before, copies(model.distill))
    if teacher is not None:
        assert not any(module.training for module in teacher.modules())  # DropPath included
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
        clean = model.data_preprocessor(made_batch(size, classes), training=False)["inputs"]
        assert not torch.equal(kwargs["inputs"], clean)

    check_predictions(model, size, classes)


@by_path(ONE_PER_STUDENT, slow=LARGE)
def test_student_parameters_get_the_groups_of_the_stock_config(path, tmp_path):
    def settings(cfg, work_dir):
        runner = runner_of(cfg, work_dir)
        return optimizer_settings(runner.model, runner.build_optim_wrapper(cfg.optim_wrapper))

    base = base_of(path)
    base = base if "::" in base else str((path.parent / base).resolve())
    stub = tmp_path / "stock_student.py"
    stub.write_text(f'_base_ = "{base}"\n')
    stock_cfg = Config.fromfile(stub)
    if is_distilled(stock_cfg):  # the methods of one pair share its first config
        stock_cfg.model = stock_cfg.model.student
    ours = settings(load(path, EXPECTED[path.stem].size), tmp_path / "ours")
    stock = settings(stock_cfg, tmp_path / "stock")
    student_only = {name: s for name, s in ours.items() if not name.startswith("distill.")}
    assert student_only == stock
    if "deit" in path.stem:  # else this compares one setting with itself
        assert len({str(setting) for setting in stock.values()}) > 1


# What the authors' port to mmengine lost without a word, beside Mixup and the channels above.


@by_name
def test_no_setting_is_dead(path):
    """mmengine ignores keys that it does not know, so a schedule of the old style has no effect."""
    cfg = Config.fromfile(path)
    dead = {"optimizer", "optimizer_config", "lr_config", "runner", "data", "evaluation", "fp16"}
    assert not dead & set(cfg)
    assert cfg.optim_wrapper.optimizer.lr > 0
    assert cfg.param_scheduler
    assert cfg.auto_scale_lr.base_batch_size == batch_size_in_the_name(path)
    assert cfg.train_dataloader.batch_size == images_per_gpu(path)


@pytest.mark.parametrize(
    ("name", "ratio"),
    [
        ("kd_resnet20_resnet56_1xb64_cifar100", 1),
        ("mgd_resnet18_resnet34_8xb16_cifar100", 1 / 8),
        ("vitkd-nkd_deit-tiny_deit3-small_4xb256_in1k", 1 / 4),
        ("tf-nkd_shufflenet-v2_16xb64_in1k", 1 / 16),
    ],
)
def test_auto_scale_lr_fits_every_rate_to_one_gpu(name, ratio, tmp_path):
    [path] = [path for path in CONFIGS if path.stem == name]
    cfg = load(path, EXPECTED[name].size)
    cfg.auto_scale_lr.enable = True
    runner = runner_of(cfg, tmp_path)
    wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    before = [group["lr"] for group in wrapper.optimizer.param_groups]
    runner.scale_lr(wrapper, cfg.auto_scale_lr)
    after = [group["lr"] for group in wrapper.optimizer.param_groups]
    assert after == pytest.approx([lr * ratio for lr in before])


def settings_of(cfg):
    """Without the scope that a base in another package leaves behind."""
    return {key: value for key, value in cfg.items() if key != "_scope_"}


def batch_size_in_the_name(path):
    gpus, images = re.search(r"_(\d+)xb(\d+)_", path.stem).groups()
    return int(gpus) * int(images)


def images_per_gpu(path):
    return int(re.search(r"xb(\d+)_", path.stem).group(1))


@by_name
def test_gradients_are_clipped_where_published(path):
    cfg = Config.fromfile(path)
    clipped = path.stem in (
        "mgd_mobilenet-v1_resnet50_8xb32_in1k",
        "nkd_mobilenet-v1_resnet50_8xb32_in1k",
    ) or re.search("deit|swin", path.stem)
    wanted = dict(max_norm=5.0) if clipped else None
    assert cfg.optim_wrapper.get("clip_grad") == wanted


@pytest.mark.parametrize(
    "path", [path for path in CONFIGS if path.stem.endswith("8xb16_cifar100")], ids=lambda p: p.stem
)
def test_the_cifar_100_schedule_is_the_published_one(path):
    # The port trained with weight decay 1e-4 and steps at 100 and 150: 77.91 instead of 79.90.
    cfg = Config.fromfile(path)
    assert settings_of(cfg.optim_wrapper.optimizer) == dict(
        type="SGD", lr=0.1, momentum=0.9, weight_decay=5e-4
    )
    assert settings_of(cfg.param_scheduler) == dict(
        type="MultiStepLR", by_epoch=True, milestones=[60, 120, 160], gamma=0.2
    )
    assert cfg.train_cfg.max_epochs == 200


@pytest.mark.parametrize(
    "path",
    [path for path in CONFIGS if path.stem.endswith("1xb64_cifar100")],
    ids=lambda path: path.stem,
)
def test_the_schedule_of_the_literature_s_pairs(path):
    cfg = Config.fromfile(path)
    mobile = re.search(r"shufflenet|mobilenet", path.stem)
    assert settings_of(cfg.optim_wrapper.optimizer) == dict(
        type="SGD", lr=0.01 if mobile else 0.05, momentum=0.9, weight_decay=5e-4
    )
    assert cfg.param_scheduler.milestones == [150, 180, 210]
    assert (cfg.param_scheduler.gamma, cfg.train_cfg.max_epochs) == (0.1, 240)
    if path.stem.startswith("dkd"):
        assert cfg.model.losses.dkd.schedule == dict(type="warmup", end=20)


def test_the_teacher_s_drop_path_is_off(tmp_path):
    [path] = [path for path in CONFIGS if path.stem == "vitkd_deit-small_deit3-base_4xb256_in1k"]
    model = runner_of(load(path, 64), tmp_path).model.train()
    rates = [
        module.drop_prob
        for module in model.teacher.modules()
        if type(module).__name__ == "DropPath" and not module.training
    ]
    assert max(rates) == pytest.approx(0.2)  # there are some to be kept off
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        first, second = (model.teacher.backbone(images)[-1] for _ in range(2))
    assert torch.equal(first, second)


@distilled_by_name
def test_it_is_short_and_plain(path):
    lines = code_lines(path)
    assert re.match(r'_base_ = "(mmpretrain::|\.)', lines[0])
    assert len(lines) - 1 <= 15, f"{len(lines) - 1} lines beyond the student's config"
    # mmengine takes a config with an import for a lazy one.
    assert not any(re.match(r"(import|from)\s", line) for line in lines)
    assert "mmkd_ext" in Config.fromfile(path).custom_imports.imports


WITH_TEACHER = [path for path in DISTILLED if "teacher" in Config.fromfile(path).model]


@pytest.mark.parametrize("path", WITH_TEACHER, ids=lambda path: path.stem)
def test_teacher_checkpoints_are_published_ones_or_our_own_trainings(path):
    teacher = Config.fromfile(path).model.teacher
    if "://" not in teacher.checkpoint:
        ours = ROOT / "configs" / teacher.config.removeprefix("mmkd_ext::")
        epochs = Config.fromfile(ours).train_cfg.max_epochs
        assert teacher.checkpoint == f"work_dirs/{ours.stem}/epoch_{epochs}.pth"
        assert teacher.hint.endswith(f"python -m mmkd_ext train {ours.name}")
        return
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
            assert entry["Paper"]["URL"].startswith(
                ("https://arxiv.org/abs/", "https://openreview.net/forum?id=")
            )
            assert (ROOT / entry["README"]).is_file()
        for entry in raw["Models"]:
            assert entry["In Collection"] in collections
            assert entry["Name"] == (ROOT / entry["Config"]).stem
            cfg = Config.fromfile(ROOT / entry["Config"])
            assert entry["Metadata"]["Epochs"] == cfg.train_cfg.max_epochs
            assert entry["Metadata"]["Batch Size"] == cfg.auto_scale_lr.base_batch_size
            assert "Weights" not in entry  # nothing was trained for this release
            source = entry["Metadata"]["Source Of Results"]
            assert source.startswith("published" if "Results" in entry else "none")
            for result in entry.get("Results", ()):
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
def test_the_readme_of_its_folder_links_it(path):
    assert f"]({path.name})" in (path.parent / "README.md").read_text()
