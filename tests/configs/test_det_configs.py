"""Every detection config builds, trains a step and predicts, with its real networks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmkd_ext import compat
from mmkd_ext.registry import MODELS

from .cls_configs import (
    ROOT,
    code_lines,
    copies,
    equal,
    optimizer_settings,
    record_inputs,
    shapes,
    terms_of,
)
from .det_configs import (
    CONFIGS,
    DISTILLED,
    FOLDERS,
    PADDED,
    check_gradients,
    load,
    made_batch,
    network_name,
    norm_after_clipping,
    runner_of,
    stock,
    stock_student,
    student_base,
)
from .det_expected import EXPECTED, Sides
from .slow_paths import by_path

pytestmark = pytest.mark.filterwarnings("ignore")

by_name = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
distilled_by_name = pytest.mark.parametrize("path", DISTILLED, ids=lambda path: path.stem)
TAUGHT = [path for path in DISTILLED if not path.stem.startswith("tf-")]
taught_by_name = pytest.mark.parametrize("path", TAUGHT, ids=lambda path: path.stem)
# mmdet's metafiles still name the old host; the libraries' own configs load from this one.
HOST = "https://mmassets.onedl.ai/"
# Students of our own, which no library has a recipe of.
NEW_RECIPES = ["faster-rcnn_vit-s_fpn_1x_coco"]


def test_every_config_in_the_folders_is_covered():
    files = [path for folder in FOLDERS for path in folder.rglob("*.py")]
    assert len(CONFIGS) == len(files) == len(EXPECTED) > 10
    assert {path.stem for path in CONFIGS} == set(EXPECTED)
    assert {path.stem for path in DISTILLED} == {n for n, e in EXPECTED.items() if e.taps}


# Not the ViT detectors: they are the student and the teacher of a distillation that is.
STEPPED = [path for path in CONFIGS if "_vit-" not in path.stem]
# Networks and losses that another one has, too.
REPEATED = {
    "mgd_faster-rcnn-r50_cascade-mask-rcnn-x101-32x4d-dcn_2x_coco",
    "mgd_retinanet-r50_retinanet-x101-64x4d-ms3x_2x_coco",
    "mgd_solo-r50_solo-r50-ms3x_1x_coco",
    "nkd_faster-rcnn-r50_faster-rcnn-r101_1x_coco",
    "pkd_retinanet-r50_retinanet-x101-64x4d_2x_coco",
    "solo_r101_fpn_3x_coco",
    "tf-nkd_mask-rcnn-r50_1x_coco",
}


@by_path(STEPPED, slow=REPEATED)
def test_it_trains_a_step_and_predicts(path, tmp_path):
    wanted = EXPECTED[path.stem]
    cfg = load(path)
    assert cfg.default_scope == "mmdet"
    runner = runner_of(cfg, tmp_path)
    model = runner.model
    assert network_name(model.student if wanted.taps else model) == wanted.student
    wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)

    # The optimizer holds each parameter once, the losses' own too; the student's as without us.
    held = [p for group in wrapper.optimizer.param_groups for p in group["params"]]
    assert len(held) == len(set(held))
    ours = optimizer_settings(model, wrapper)
    if wanted.taps:
        settings, keys = stock_student(student_base(path))
        assert {name for name, p in model.named_parameters() if p.requires_grad} <= set(ours)
        student = {name: s for name, s in ours.items() if not name.startswith("distill.")}
        assert student == settings
        assert {key for key in model.state_dict() if not key.startswith("distill.")} == keys
        check_distillation(model, wrapper, wanted)
    else:
        before = copies(model.neck)
        log = model.train_step(made_batch(wanted.masks), wrapper)
        assert torch.isfinite(log["loss"])
        assert not equal(before, copies(model.neck))
    check_predictions(model, wanted.masks)

    assert norm_after_clipping(wrapper) == (pytest.approx(35) if wanted.clip else None)


def check_distillation(model, wrapper, wanted):
    teachers = [member.model for member in model.teachers.values()]  # one, or none
    assert [network_name(teacher) for teacher in teachers] == [wanted.teacher] * bool(
        wanted.teacher
    )
    assert set(model.distill) == set(wanted.taps)
    for loss in model.distill.values():
        assert {key: getattr(loss, key) for key in wanted.settings} == wanted.settings
    parts = [part for teacher in teachers for part in teacher.named_children()]
    for name, module in parts:
        if name in ("neck", "bbox_head", "mask_head"):
            mine = copies(model.get_submodule(name)) if hasattr(model, name) else {}
            assert equal(mine, copies(module)) == (name in wanted.inherit), name

    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    frozen = [copies(teacher) for teacher in teachers]
    tapped = {name: [] for name in wanted.taps}
    for name, loss in model.distill.items():
        record_inputs(loss, tapped[name])
    student_images, teacher_images = [], []
    record_inputs(model.backbone, student_images)
    for teacher in teachers:
        record_inputs(teacher.backbone, teacher_images)
    model.train()

    # As model.train_step does it, with a look at the gradients before they are summed up.
    with wrapper.optim_context(model):
        data = model.data_preprocessor(made_batch(wanted.masks), training=True)
        losses = model(**data, mode="loss")
    calls = {name: seen[0][0] for name, seen in tapped.items()}
    assert all(len(seen) == 1 for seen in tapped.values())
    check_gradients(model, losses, calls)
    total, log = model.parse_losses(losses)
    wrapper.update_params(total)

    assert all(torch.isfinite(value).all() for value in log.values())
    terms = [key for name in wanted.taps for key in terms_of(log, name)]
    assert sorted(terms) == sorted(key for key in log if key.startswith("kd.loss_"))
    for name, shape in wanted.taps.items():
        student, from_teacher, samples = calls[name]
        expected = shape if isinstance(shape, Sides) else Sides(shape, shape)
        assert (shapes(student), shapes(from_teacher)) == expected, name
        assert [sample.batch_input_shape for sample in samples] == [PADDED] * 2
    [((images,), _)] = student_images
    assert images.shape == (2, 3, *PADDED)
    assert len(teacher_images) == len(teachers)
    assert all(torch.equal(images, seen) for (seen,), _ in teacher_images)  # all normalise alike

    # One step: student and loss modules moved, the teacher did not, batch norm included.
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    for name, loss in model.distill.items():
        own = {key for key, _ in loss.named_parameters(prefix=f"distill.{name}")}
        assert not own or own & moved
    assert any(name.startswith(("backbone.layer2.", "backbone.layers.2.")) for name in moved)
    assert not any(name.startswith(("backbone.conv1.", "backbone.layer1.")) for name in moved)
    for teacher, copied in zip(teachers, frozen, strict=True):
        assert not any(module.training for module in teacher.modules())
        assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
        assert equal(copied, copies(teacher))


def check_predictions(model, masks):
    model.eval()
    predictions = model.val_step(made_batch(masks))
    assert len(predictions) == 2
    for sample in predictions:
        found = sample.pred_instances
        assert len(found.scores) == len(found.labels) == len(found.bboxes)
        assert ("masks" in found) == masks
        if getattr(model, "bbox_head", None) is not None:  # SOLO has one that is None
            assert len(found) == 100  # the most that an image may have
            assert found.labels.max() < 80


@by_name
def test_all_but_the_model_and_the_clipping_is_the_student_s_stock_config(path):
    ours, alone = Config.fromfile(path), stock(student_base(path))
    wrapper = dict(ours.optim_wrapper)
    clip = wrapper.pop("clip_grad", None)
    assert clip == (dict(max_norm=35, norm_type=2) if EXPECTED[path.stem].clip else None)
    if path.stem in NEW_RECIPES:
        assert wrapper.pop("paramwise_cfg")
        assert wrapper.pop("optimizer").type == "AdamW"
        alone.optim_wrapper.pop("optimizer")
    assert wrapper == alone.optim_wrapper
    left_out = {"model", "optim_wrapper", "custom_imports"}
    rest = {key: value for key, value in ours.items() if key not in left_out}
    assert rest == {key: value for key, value in alone.items() if key not in left_out}
    assert ours.train_cfg.max_epochs == EXPECTED[path.stem].epochs
    assert ours.auto_scale_lr.base_batch_size == 16
    assert ours.train_dataloader.batch_size == 2
    if path in DISTILLED:
        assert ours.model.student == alone.model


@distilled_by_name
def test_it_is_short_and_plain(path):
    lines = code_lines(path)
    assert re.match(r'_base_ = "(mmdet::|\./)', lines[0])
    assert len(lines) - 1 <= 15, f"{len(lines) - 1} lines beyond the student's config"
    assert "mmkd_ext" in Config.fromfile(path).custom_imports.imports


def stock_entry(config):
    """What mmdet's metafile says of a config such as 'mmdet::solo/solo_r50_fpn_3x_coco.py'."""
    name = config.removeprefix("mmdet::")
    metafile = compat.package_configs("mmdet") / Path(name).parent / "metafile.yml"
    entries = yaml.safe_load(metafile.read_text())["Models"]
    [entry] = [entry for entry in entries if entry["Config"] == f"configs/{name}"]
    return entry


@taught_by_name
def test_teacher_checkpoints_are_published_ones_or_our_own_training(path):
    teacher = Config.fromfile(path).model.teacher
    if "://" not in teacher.checkpoint:
        ours = ROOT / "configs" / teacher.config.removeprefix("mmkd_ext::")
        epochs = Config.fromfile(ours).train_cfg.max_epochs
        assert teacher.checkpoint == f"work_dirs/{ours.stem}/epoch_{epochs}.pth"
        assert teacher.hint.endswith(f"python -m mmkd_ext train {ours.name}")
        return
    assert not teacher.get("hint")
    assert teacher.checkpoint == HOST + stock_entry(teacher.config)["Weights"].split("/", 3)[3]


def published(results, task):
    """The AP of one task in the results of a metafile's entry."""
    [metrics] = [result["Metrics"] for result in results if result["Task"] == task]
    [value] = [value for key, value in metrics.items() if " AP" in key]
    return float(value)


def row_of(path):
    """The numbers of a config's row in its README: student, teacher, distilled."""
    [row] = re.findall(
        rf"^\|.*\]\({re.escape(path.name)}\).*$",
        (path.parent / "README.md").read_text(),
        flags=re.MULTILINE,
    )
    cells = re.split(r"\s*\|\s*", row)[2:5]
    words = {"–": None, "none": "none"}  # noqa: RUF001
    return [words[cell] if cell in words else float(cell) for cell in cells]


@distilled_by_name
def test_the_readme_gives_the_published_figures(path):
    [ours] = [entry for entry in described() if entry["Name"] == path.stem]
    task = "Instance Segmentation" if EXPECTED[path.stem].masks else "Object Detection"
    student, teacher, distilled = row_of(path)
    base = student_base(path)
    alone = published(stock_entry(base)["Results"], task) if base.startswith("mmdet::") else None
    assert student == alone
    if path not in TAUGHT:
        assert teacher == "none"
    elif (config := Config.fromfile(path).model.teacher.config).startswith("mmdet::"):
        assert teacher == published(stock_entry(config)["Results"], task)
    if "Results" in ours:
        assert distilled == published(ours["Results"], task)
    else:
        assert distilled is None


def described():
    """Every entry of the metafiles in the folders."""
    return [
        entry
        for folder in FOLDERS
        for metafile in folder.rglob("metafile.yml")
        for entry in yaml.safe_load(metafile.read_text())["Models"]
    ]


def test_metafiles_describe_each_config_once():
    collections = set()
    for metafile in sorted((ROOT / "configs").rglob("metafile.yml")):
        for entry in yaml.safe_load(metafile.read_text())["Collections"]:
            assert entry["Name"] not in collections  # mim would take the one for the other
            collections.add(entry["Name"])
            if any(folder in metafile.parents for folder in FOLDERS):
                assert entry["Paper"]["URL"].startswith("https://arxiv.org/abs/")
                assert entry["README"] == f"{metafile.parent.relative_to(ROOT)}/README.md"
    for entry in described():
        path = ROOT / entry["Config"]
        cfg, meta = Config.fromfile(path), entry["Metadata"]
        assert entry["Name"] == path.stem
        assert entry["In Collection"] in collections
        assert (meta["Epochs"], meta["Batch Size"]) == (EXPECTED[path.stem].epochs, 16)
        if path in DISTILLED:
            assert meta["Student"] == Path(student_base(path)).stem
            taught = path in TAUGHT
            assert meta["Teacher"] == (Path(cfg.model.teacher.config).stem if taught else "none")
        else:
            assert (meta["Student"], meta["Teacher"]) == (path.stem, "none")
        assert "Weights" not in entry  # nothing was trained for this release
        source = meta["Source Of Results"]
        assert source.startswith("published" if "Results" in entry else "none")
        for result in entry.get("Results", ()):
            assert all(key.endswith("(published)") for key in result["Metrics"])
    assert sorted(ROOT / entry["Config"] for entry in described()) == CONFIGS


def test_vit_detectors_are_stock_parts_and_read_the_published_weights():
    """Each backbone has the names and shapes of the classifier whose weights its config names."""
    metafile = compat.package_configs("mmpretrain") / "deit" / "metafile.yml"
    entries = {e["Name"]: e for e in yaml.safe_load(metafile.read_text())["Models"]}
    [folder] = {path.parent for path in CONFIGS if path.stem in NEW_RECIPES}
    for detector, classifier in (
        ("faster-rcnn_vit-s_fpn_1x_coco", "deit-small_4xb256_in1k"),
        ("faster-rcnn_vit-b_fpn_1x_coco", "deit-base_16xb64_in1k"),
    ):
        cfg = Config.fromfile(folder / f"{detector}.py")
        entry = entries[classifier]
        assert cfg.model.backbone.init_cfg.checkpoint == entry["Weights"]
        theirs = Config.fromfile(metafile.parent / f"{classifier}.py")
        assert "data_preprocessor" in theirs
        with torch.device("meta"), DefaultScope.overwrite_default_scope("mmdet"):
            ours = MODELS.build(cfg.model)
        with torch.device("meta"), DefaultScope.overwrite_default_scope("mmpretrain"):
            classifier = MODELS.build(theirs.model)
        libraries = {type(module).__module__.partition(".")[0] for module in ours.modules()}
        assert libraries == {"mmdet", "mmpretrain", "mmseg", "mmcv", "mmengine", "torch"}
        sizes = [
            {key: value.shape for key, value in model.backbone.state_dict().items()}
            for model in (ours, classifier)
        ]
        assert sizes[0] == sizes[1]
        seen = cfg.model.data_preprocessor
        assert (seen.mean, seen.std) == (
            theirs.data_preprocessor.mean,
            theirs.data_preprocessor.std,
        )


@by_name
def test_the_readme_of_its_folder_links_it(path):
    assert f"]({path.name})" in (path.parent / "README.md").read_text()
