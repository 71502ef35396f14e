"""Every segmentation config builds, trains a step and predicts, with its real networks."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmkd_ext.hooks.macs import counting_macs
from mmkd_ext.losses import MGDLoss
from mmkd_ext.registry import MODELS

from .cls_configs import (
    ROOT,
    base_of,
    code_lines,
    copies,
    equal,
    is_distilled,
    optimizer_settings,
    record_inputs,
    shapes,
    stock_configs,
    terms_of,
)
from .seg_configs import (
    CONFIGS,
    DISTILLED,
    FOLDER,
    IGNORED,
    check_gradients,
    check_predictions,
    load,
    made_batch,
    miou,
    own_models,
    runner_of,
    stock_models,
)
from .seg_expected import EXPECTED

pytestmark = pytest.mark.filterwarnings("ignore")

by_name = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
distilled_by_name = pytest.mark.parametrize("path", DISTILLED, ids=lambda path: path.stem)
NONE = "\N{EN DASH}"  # in a table
STUDENTS = [path for path in CONFIGS if path not in DISTILLED]


def student_of(path: Path) -> str:
    """The student's own config, behind our configs that are based on one another."""
    base = base_of(path)
    if base.startswith("./"):
        return student_of(path.parent / base)
    return base if "::" in base else str((path.parent / base).resolve())


TAUGHT = [path for path in DISTILLED if not path.stem.startswith("tf-")]
# One config for each student: its parameter groups do not depend on the losses. MGD's where there
# is one, for it has weights of its own.
BY_METHOD = sorted(TAUGHT, key=lambda path: path.stem.startswith("mgd"))
ONE_PER_STUDENT = list({student_of(path): path for path in BY_METHOD}.values())


def test_every_config_in_the_folder_is_covered():
    assert len(CONFIGS) == len(EXPECTED) == 14
    assert {path.stem for path in CONFIGS} == set(EXPECTED)
    assert {path.stem for path in DISTILLED} == {n for n, e in EXPECTED.items() if e.taps}


@by_name
def test_it_trains_a_step_and_predicts(path, tmp_path):
    expected = EXPECTED[path.stem]
    size, classes = expected.size, expected.classes
    cfg = load(path, size)
    assert cfg.default_scope == "mmseg"
    runner = runner_of(cfg, tmp_path)
    model = runner.model
    optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)

    # The optimizer holds each trained parameter once, the losses' own among them.
    held = [p for group in optim_wrapper.optimizer.param_groups for p in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {p for p in model.parameters() if p.requires_grad}

    # Images are padded to the crop, labels with 255, of which the maps have some already.
    data = model.data_preprocessor(made_batch(size, classes), training=True)
    assert data["inputs"].shape[2:] == size
    labels = torch.stack([sample.gt_sem_seg.data for sample in data["data_samples"]])
    assert (labels[..., -8:] == IGNORED).all()
    assert (labels[..., :-8] == IGNORED).any()
    assert (labels != IGNORED).any()

    student_before = copies(model.backbone)
    if not expected.taps:
        model.train()
        log = model.train_step(made_batch(size, classes), optim_wrapper)
        assert {key for key in log if "loss_" in key} == expected.student_losses
        assert torch.isfinite(log["loss"])
        assert not equal(student_before, copies(model.backbone))
        check_predictions(model, size, classes)
        return

    for name, wanted in expected.settings.items():
        assert {key: getattr(model.distill[name], key) for key in wanted} == wanted
    check_gradients(model, data, list(expected.taps))

    teacher = model.teacher
    assert (teacher is None) == all(pair[1] is None for pair in expected.taps.values())
    losses_before = copies(model.distill)
    tapped = {name: [] for name in expected.taps}
    for name, module in model.distill.items():
        record_inputs(module, tapped[name])
    student_images, teacher_images = [], []
    record_inputs(model.backbone, student_images)
    if teacher is not None:
        teacher_before = copies(teacher)
        record_inputs(teacher.backbone, teacher_images)

    log = model.train_step(made_batch(size, classes), optim_wrapper)

    assert all(torch.isfinite(value).all() for value in log.values())
    terms = {key for name in expected.taps for key in terms_of(log, name)}
    assert {key for key in log if "loss_" in key} == expected.student_losses | terms
    for name, (student, from_teacher) in expected.taps.items():
        [((got_student, got_teacher, _), _)] = tapped[name]
        assert (shapes(got_student), shapes(got_teacher)) == (student, from_teacher)

    # One step: student and loss modules moved, the teacher did not, batch norm included.
    assert not equal(student_before, copies(model.backbone))
    assert not losses_before or not equal(losses_before, copies(model.distill))
    [(images_s, _)] = student_images
    if teacher is not None:
        assert not any(module.training for module in teacher.modules())  # DropPath, dropout, too
        assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
        assert equal(teacher_before, copies(teacher))
        [(images_t, _)] = teacher_images
        assert torch.equal(images_s[0], images_t[0])
    # Tapped logits lie behind the student's dropout, which is on.
    if {"cwd", "kd", "nkd", "tf_nkd"} & set(expected.taps):
        assert model.decode_head.dropout.p == 0.1
        assert model.decode_head.dropout.training

    check_predictions(model, size, classes)


@pytest.mark.parametrize("path", ONE_PER_STUDENT, ids=lambda path: path.stem)
def test_student_parameters_get_the_groups_of_the_stock_config(path, tmp_path):
    def settings(cfg, work_dir):
        runner = runner_of(cfg, work_dir)
        return optimizer_settings(runner.model, runner.build_optim_wrapper(cfg.optim_wrapper))

    size = EXPECTED[path.stem].size
    stub = tmp_path / "stock_student.py"
    stub.write_text(f'_base_ = "{student_of(path)}"\n')
    stock_cfg, ours_cfg = load(stub, size), load(path, size)
    assert not is_distilled(stock_cfg)
    assert ours_cfg.optim_wrapper == stock_cfg.optim_wrapper
    # The sizes of the teacher and of the generators do not matter here.
    ours_cfg.model.teacher.config.model = ours_cfg.model.student
    for loss in ours_cfg.model.losses.values():
        if loss.type == "MGDLoss":
            loss.generator_channels = 8
    ours = settings(ours_cfg, tmp_path / "ours")
    stock = settings(stock_cfg, tmp_path / "stock")
    student_only = {name: s for name, s in ours.items() if not name.startswith("distill.")}
    assert student_only == stock
    if "swin" in path.stem or "segformer" in path.stem:  # else one setting is compared with itself
        assert len({str(setting) for setting in stock.values()}) > 1


@pytest.mark.parametrize("path", STUDENTS, ids=lambda path: path.stem)
def test_the_students_are_stock_networks_on_the_published_recipe(path, tmp_path):
    cfg = Config.fromfile(path)
    assert "custom_imports" not in cfg
    model = cfg.model
    assert (model.backbone.type, model.backbone.depth) == ("ResNetV1c", 18)
    assert (model.backbone.strides, model.backbone.dilations) == ((1, 2, 1, 1), (1, 1, 2, 4))
    assert (model.decode_head.in_channels, model.decode_head.channels) == (512, 128)
    assert (model.auxiliary_head.in_channels, model.auxiliary_head.channels) == (256, 64)
    assert model.auxiliary_head.loss_decode.loss_weight == 0.4
    parts = (model.backbone, model.decode_head, model.auxiliary_head)
    assert [part.norm_cfg.type for part in parts] == ["SyncBN"] * 3
    wanted = dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=5e-4)
    assert {key: cfg.optim_wrapper.optimizer[key] for key in wanted} == wanted
    assert cfg.optim_wrapper.clip_grad is None
    [poly] = cfg.param_scheduler
    assert (poly.type, poly.power, poly.eta_min, poly.end) == ("PolyLR", 0.9, 1e-4, 40_000)
    pipeline = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert list(pipeline) == [
        "LoadImageFromFile",
        "LoadAnnotations",
        "RandomResize",
        "RandomCrop",
        "RandomFlip",
        "PhotoMetricDistortion",
        "PackSegInputs",
    ]
    assert pipeline["RandomResize"].scale == (2048, 1024)
    assert pipeline["RandomResize"].ratio_range == (0.5, 2.0)
    assert pipeline["RandomCrop"].cat_max_ratio == 0.75
    assert pipeline["RandomFlip"].prob == 0.5
    assert model.test_cfg.mode == "whole"
    for dataloader in (cfg.val_dataloader, cfg.test_dataloader):
        [resize] = [step for step in dataloader.dataset.pipeline if step.type == "Resize"]
        assert (resize.scale, resize.keep_ratio) == ((2048, 1024), True)

    # Their checkpoints can be tested with the stock config for 512 x 1024 and 80k.
    net, stock = path.parent.name, tmp_path / "stock.py"
    stock.write_text(f'_base_ = "mmseg::{net}/{net}_r18-d8_4xb2-80k_cityscapes-512x1024.py"\n')
    assert Config.fromfile(stock).test_dataloader == cfg.test_dataloader
    assert Config.fromfile(stock).test_evaluator == cfg.test_evaluator
    ours, theirs = ({k: v.shape for k, v in _network(p).items()} for p in (path, stock))
    assert ours == theirs


def _network(path):
    model = load(path, (64, 64)).model
    with DefaultScope.overwrite_default_scope("mmseg"):
        return MODELS.build(model).state_dict()


@by_name
def test_no_setting_is_dead_and_the_name_tells_the_truth(path):
    """mmengine ignores keys that it does not know, so a schedule of the old style has no effect."""
    cfg, expected = Config.fromfile(path), EXPECTED[path.stem]
    # (mmseg's schedules have a variable `optimizer`, which nothing reads; it is not ours.)
    dead = {"optimizer_config", "lr_config", "runner", "data", "evaluation", "fp16"}
    assert not dead & set(cfg)
    assert not any(line.startswith("optimizer") for line in code_lines(path))
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_iters == expected.iterations
    gpus, images, thousands, data, crop = re.search(
        r"_(\d+)xb(\d+)-(\d+)k_(\w+)-(\d+x\d+)$", path.stem
    ).groups()
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=int(gpus) * int(images))
    assert cfg.train_dataloader.batch_size == int(images)
    assert int(thousands) * 1000 == expected.iterations
    assert tuple(map(int, crop.split("x"))) == expected.crop
    assert cfg.train_dataloader.dataset.type.lower().startswith(data)
    student = cfg.model.student if is_distilled(cfg) else cfg.model
    assert student.data_preprocessor.size == cfg.data_preprocessor.size == expected.crop
    [step] = [s for s in cfg.train_dataloader.dataset.pipeline if s.type == "RandomCrop"]
    assert step.crop_size == expected.crop
    assert student.decode_head.num_classes == expected.classes


@pytest.mark.parametrize(
    "name", [name for name, expected in EXPECTED.items() if "cwd" in expected.taps]
)
def test_the_logit_loss_is_the_published_one(name):
    """w T^2 / (C N) sum q_t (log q_t - log q_s), q a softmax over the positions of each channel."""
    [path] = [path for path in CONFIGS if path.stem == name]
    args = Config.fromfile(path).model.losses.cwd
    wanted = EXPECTED[name].settings["cwd"]
    temperature, weight = wanted["temperature"], wanted["loss_weight"]
    assert args.pop("tap") == "decode_head.conv_seg"
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        5 * torch.randn(2, 19, 3, 4, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    total = 0.0
    for of_student, of_teacher in zip(student.flatten(0, 1), teacher.flatten(0, 1), strict=True):
        q_s, q_t = (
            [math.exp(value / temperature) for value in plane.flatten().tolist()]
            for plane in (of_student, of_teacher)
        )
        q_s, q_t = ([value / sum(q) for value in q] for q in (q_s, q_t))
        total += sum(t * (math.log(t) - math.log(s)) for s, t in zip(q_s, q_t, strict=True))
    value = weight * temperature**2 * total / (19 * 2)
    assert MODELS.build(args)(student, teacher).item() == pytest.approx(value, rel=1e-9)


def test_vitkd_takes_crops_that_are_not_square(tmp_path):
    [path] = [path for path in CONFIGS if path.stem.startswith("vitkd")]
    cfg = load(path, (48, 64))
    runner = runner_of(cfg, tmp_path)
    model = runner.model.train()
    data = model.data_preprocessor(made_batch((48, 64), 150), training=True)
    with pytest.raises(ValueError, match=r"12 patch tokens are no square; set grid_size"):
        model(**data, mode="loss")
    model.distill["vitkd"].grid_size = (3, 4)
    log = model(**data, mode="loss")
    assert all(log[key] > 0 for key in terms_of(log, "vitkd"))


def test_the_readme_s_costs_of_the_generator():
    """Its table, counted again; the override that it names narrows the generator of the config."""
    readme = (FOLDER / "mgd" / "README.md").read_text()
    rows = re.findall(r"^\| (\d+)[^|]*\| ([\d,]+) \| ([\d.]+) \|", readme, flags=re.MULTILINE)
    assert [int(width) for width, _, _ in rows] == [2048, 512, 256]
    override = "model.losses.mgd.generator_channels=256"
    assert override in readme
    for width, parameters, gmacs in rows:
        with torch.device("meta"):
            loss = MGDLoss(512, 2048, generator_channels=int(width))
            with counting_macs() as count:
                loss(torch.empty(1, 512, 64, 64), torch.empty(1, 2048, 64, 64))
        assert sum(p.numel() for p in loss.parameters()) == int(parameters.replace(",", ""))
        assert count.macs / 1e9 == pytest.approx(float(gmacs), abs=0.05)
    [path] = [path for path in CONFIGS if path.stem.startswith("mgd_pspnet-r18")]
    cfg = Config.fromfile(path)
    assert "generator_channels" not in cfg.model.losses.mgd  # the published default
    key, _, value = override.partition("=")
    cfg.merge_from_dict({key: int(value)})
    args = {k: v for k, v in cfg.model.losses.mgd.items() if k != "tap"}
    loss = MODELS.build(dict(args, student_channels=512, teacher_channels=2048))
    assert loss.generation[0].out_channels == 256


@distilled_by_name
def test_it_is_short_and_plain(path):
    lines = code_lines(path)
    assert re.match(r'_base_ = "(mmseg::|\.)', lines[0])
    base = base_of(path)
    beyond = len(lines) - 1
    if base.startswith("./"):
        beyond += len(code_lines(path.parent / base)) - 1
    assert beyond <= 15, f"{beyond} lines beyond the student's config"
    # mmengine takes a config with an import for a lazy one.
    assert not any(re.match(r"(import|from)\s", line) for line in lines)
    assert "mmkd_ext" in Config.fromfile(path).custom_imports.imports


@pytest.mark.parametrize("path", TAUGHT, ids=lambda path: path.stem)
def test_teacher_checkpoints_are_those_of_mmseg(path):
    """mmseg's metafiles pair each URL with the config that its weights were trained with."""
    teacher = Config.fromfile(path).model.teacher
    entry = stock_models()[Path(teacher.config.removeprefix("mmseg::")).stem]
    assert f"configs/{teacher.config.removeprefix('mmseg::')}" == entry["Config"]
    assert teacher.checkpoint == entry["Weights"]


def test_base_names_are_unique_here_and_against_the_stock_ones():
    ours = [path for path in (ROOT / "configs").rglob("*.py") if "_base_" not in path.parts]
    names = [path.name for path in ours]
    assert len(names) == len(set(names))
    assert not {path.name for path in stock_configs()} & {path.name for path in CONFIGS}


def test_metafiles_describe_each_config_once():
    described = []
    for metafile in sorted(FOLDER.rglob("metafile.yml")):
        raw = yaml.safe_load(metafile.read_text())
        [collection] = raw["Collections"]
        assert collection["Paper"]["URL"].startswith("https://arxiv.org/abs/")
        assert (ROOT / collection["README"]) == metafile.parent / "README.md"
        for entry in raw["Models"]:
            assert entry["In Collection"] == collection["Name"]
            assert entry["Name"] == (ROOT / entry["Config"]).stem
            cfg, meta = Config.fromfile(ROOT / entry["Config"]), entry["Metadata"]
            assert meta["Iterations"] == cfg.train_cfg.max_iters
            assert meta["Batch Size"] == cfg.auto_scale_lr.base_batch_size
            if is_distilled(cfg):
                teacher = cfg.model.get("teacher", dict(config="none"))
                assert meta["Teacher"] == Path(teacher["config"]).stem
                assert meta["Student"] == Path(student_of(ROOT / entry["Config"])).stem
            assert "Weights" not in entry  # nothing was trained for this release
            source = meta["Source Of Results"]
            assert source.startswith("published" if "Results" in entry else "none")
            for result in entry.get("Results", ()):
                assert result["Task"] == "Semantic Segmentation"
                assert list(result["Metrics"]) == ["mIoU (published)"]
            described.append(ROOT / entry["Config"])
    assert sorted(described) == CONFIGS
    index = yaml.safe_load((ROOT / "model-index.yml").read_text())["Import"]
    assert {str(m.relative_to(ROOT)) for m in FOLDER.rglob("metafile.yml")} <= set(index)


@by_name
def test_the_readme_of_its_folder_links_it(path):
    assert f"]({path.name})" in (path.parent / "README.md").read_text()


@distilled_by_name
def test_the_readme_s_figures_are_the_metafiles(path):
    readme = (path.parent / "README.md").read_text()
    [row] = [line for line in readme.splitlines() if f"]({path.name}) |" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")][-3:]
    entries = stock_models() | own_models()
    own = entries[path.stem]["Metadata"]
    for cell, name in zip(cells, (own["Student"], own["Teacher"], path.stem), strict=True):
        if name == "none":
            assert cell == "none"
            continue
        figure = miou(entries[name])
        assert cell.removesuffix(" (inferred)") == (NONE if figure is None else f"{figure:.2f}")
