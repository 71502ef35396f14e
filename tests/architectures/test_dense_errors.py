"""Bad input of dense tasks ends in one message, before any time is spent on training."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmkd_ext.apis.errors import main_guard
from mmkd_ext.apis.train import main, prepare_config, train
from mmkd_ext.registry import MODELS

from ..configs.cls_configs import record_inputs
from ..configs.det_configs import PADDED, made_batch, stock
from . import tiny_coco
from .detectors import ARCHITECTURES, STUDENT, TEACHER, mask_rcnn, mgd

pytestmark = pytest.mark.filterwarnings("ignore")

ANNOTATIONS = "annotations/instances_train2017.json"
KEEP_EMPTY = {"train_dataloader.dataset.filter_cfg.filter_empty_gt": False}
OTHER_CLASSES = {"train_dataloader.dataset.metainfo.classes": ("a", "b", "c")}


def config(name: str, **losses: dict) -> Config:
    """A tiny stock detector for the classes of the tiny data, with a teacher of COCO's."""
    architecture = ARCHITECTURES[name]
    cfg = tiny_coco.shrink(architecture.whole(STUDENT))
    cfg.model.bbox_head.num_classes = len(tiny_coco.CLASSES)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.metainfo = dict(classes=tiny_coco.CLASSES)
    cfg.model = dict(
        type="mmkd_ext.Distiller",
        student=cfg.model,
        teacher=dict(config=architecture.model(TEACHER)),
        losses=losses or architecture.losses,
        input_shape=(3, 64, 64),
    )
    cfg.update(log_level="ERROR", experiment_name=name)
    return Config(cfg.to_dict(), format_python_code=False)  # formatting takes seconds


@pytest.fixture
def message(tmp_path, capsys) -> Callable[..., str]:
    """Trains, as the command line does, and returns the one message that it ends with."""

    def fail(cfg: Config | Path, spoil: Callable[[str], str] = str) -> str:
        root = tiny_coco.write(tmp_path / "coco")
        file, work_dir = root / ANNOTATIONS, tmp_path / "work"
        file.write_text(spoil(file.read_text()))
        options = dict(work_dir=str(work_dir), data_root=str(root))

        @main_guard
        def run() -> None:
            if isinstance(cfg, Path):
                main([str(cfg), "--work-dir", str(work_dir), "--data-root", str(root)])
            else:
                train(prepare_config(cfg, **options))

        with pytest.raises(SystemExit) as stop:
            run()
        assert stop.value.code == 2
        assert not list(work_dir.rglob("*.pth"))
        found = re.fullmatch(r"error: (.{20,700})\n", capsys.readouterr().err)
        assert found
        return found[1].replace(str(file), "FILE")

    return fail


def changed(**changes: list) -> Callable[[str], str]:
    """Replaces entries of an annotation file."""
    return lambda text: json.dumps(json.loads(text) | changes)


def without(group: str, key: str) -> Callable[[str], str]:
    """Takes a key out of every entry of a group."""

    def spoil(text: str) -> str:
        content = json.loads(text)
        for entry in content[group]:
            del entry[key]
        return json.dumps(content)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "overrides", "says"),
    [
        (changed(images=[], annotations=[]), KEEP_EMPTY, "CocoDataset is empty: .* in FILE. Check"),
        (changed(annotations=[]), {}, "CocoDataset is empty: .*FILE.*'filter_empty_gt': True"),
        (
            changed(annotations=[]),
            KEEP_EMPTY,
            r"one of the 4 images of FILE has an annotation .*\(left, right, both\).* Check",
        ),
        (str, OTHER_CLASSES, "No category of FILE .* knows left, right, both, .* wants a, b, c. N"),
        (str, OTHER_CLASSES | KEEP_EMPTY, "No category of FILE .* metainfo=.*num_classes"),
        (lambda text: text[:200], {}, "FILE cannot be read .*: Expecting .*char 200.* Check"),
        (lambda text: "[]", {}, "FILE cannot be read .*: annotation file format <class 'list'>"),
        (without("images", "height"), {}, "FILE cannot be read .*: an entry 'height' is missing"),
        (
            str,
            {"train_dataloader.dataset.indices": [0, 7]},
            "has 4 usable images in FILE, but its `indices` ask for number 7",
        ),
    ],
    ids=[
        "no_images",
        "no_annotations",
        "no_annotations_unfiltered",
        "other_classes",
        "other_classes_unfiltered",
        "truncated",
        "another_form",
        "no_height",
        "too_few_images",
    ],
)
def test_annotations(message, spoil, overrides, says):
    cfg = config("retinanet")
    cfg.merge_from_dict(overrides)
    assert re.search(says, message(cfg, spoil))


def test_annotations_of_wrapped_and_of_validation_data(message):
    cfg = config("retinanet")
    dataset = cfg.train_dataloader.dataset
    dataset.filter_cfg.filter_empty_gt = False
    cfg.train_dataloader.dataset = dict(
        type="ConcatDataset", datasets=[dict(type="RepeatDataset", times=2, dataset=dataset)]
    )
    assert message(cfg, changed(annotations=[])).startswith("Not one of the 4 images of FILE")


def test_annotations_of_validation_data(message):
    cfg = config("retinanet")
    cfg.val_dataloader.dataset.metainfo.classes = ("a", "b", "c")
    said = message(cfg)
    assert re.search(r"No category of \S+/instances_val2017.json is a class", said)


def test_annotations_on_the_command_line(message, tmp_path):
    cfg = config("retinanet")
    cfg.merge_from_dict(OTHER_CLASSES | KEEP_EMPTY)
    cfg.custom_imports = dict(imports=["mmkd_ext"], allow_failed_imports=False)
    cfg.dump(tmp_path / "tiny_run.py")
    assert message(tmp_path / "tiny_run.py").startswith("No category of FILE")


FOUR_LEVELS = {
    "model.teacher.config.neck.num_outs": 4,
    "model.teacher.config.bbox_head.anchor_generator.strides": [8, 16, 32, 64],
}
CLASS_LOGITS = dict(cwd=dict(type="CWDLoss", tap="bbox_head.gfl_cls"))


@pytest.mark.parametrize(
    ("losses", "overrides", "says"),
    [
        (
            mgd("neck.fpn_convs.{0-4}.conv"),
            FOUR_LEVELS,
            r"losses\['mgd'\]: tap 'neck.fpn_convs.4.conv': the teacher has no such module; .* "
            "'neck.fpn_convs' has 0, 1, 2, 3$",
        ),
        (
            mgd("neck.fpn_convs.*.conv"),
            FOUR_LEVELS,
            r"losses\['mgd'\]: the pattern matches 5 modules of the student .* but 4 of the "
            "teacher .*; name them apart with tap=dict",
        ),
        (
            CLASS_LOGITS,
            FOUR_LEVELS | {"model.teacher.config.bbox_head.num_classes": 3},
            r"losses\['cwd'\]: tap 'bbox_head.gfl_cls' of the teacher fired 4 times in one "
            "forward, its partner 5 times",
        ),
        (
            mgd("neck.fpn_convs.{0-4}.conv"),
            {"model.teacher.config.neck.start_level": 0},
            r"losses\['mgd_0'\] .*student map \(2, 8, 8, 8\) and teacher map \(2, 16, 16, 16\) "
            "differ in height or width; tap layers of the same stride",
        ),
        (
            CLASS_LOGITS,
            {},
            r"losses\['cwd'\] \(student tap bbox_head.gfl_cls; .*\(2, 3, 8, 8\) and teacher map "
            r"\(2, 80, 8, 8\) differ in channels.*networks made for the same classes",
        ),
    ],
    ids=[
        "levels_by_brace",
        "levels_by_glob",
        "levels_of_a_head",
        "levels_of_another_stride",
        "classes",
    ],
)
def test_a_teacher_that_does_not_pair_up(message, losses, overrides, says):
    cfg = config("gfl", **losses)
    cfg.merge_from_dict(overrides)
    assert re.search(says, message(cfg))


# --- maps that differ by a pixel ------------------------------------------------------------------


def convnext() -> Config:
    """A stock teacher that halves 15 to 7; a ResNet makes 8 of it."""
    cfg = stock("mmdet::convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco.py")
    heads = {key: value for key, value in mask_rcnn(TEACHER).items() if "backbone" not in key}
    arch = dict(
        _delete_=True, depths=[1, 1, 1, 1], channels=[TEACHER * 2**stage for stage in range(4)]
    )
    cfg.merge_from_dict(heads | {"model.backbone.arch": arch, "model.backbone.init_cfg": None})
    return cfg.model


def one_pixel_apart(**args: str):
    """Losses of a step on images of 120 x 160 pixels, and what the third level's was given."""
    init_default_scope("mmdet")
    torch.manual_seed(0)
    architecture = ARCHITECTURES["mask_rcnn"]
    student = architecture.model(STUDENT)
    student.data_preprocessor.pad_size_divisor = 1  # the stock 32 avoids the trouble
    model = MODELS.build(
        dict(
            type="mmkd_ext.Distiller",
            student=student,
            teacher=dict(config=convnext()),
            losses=mgd("neck.fpn_convs.{0-3}.conv", **args),
            input_shape=(3, *PADDED),
        )
    )
    model.init_weights()
    seen: list = []
    record_inputs(model.distill["mgd_2"], seen)
    data = model.train().data_preprocessor(made_batch(True), training=True)
    return model, model(**data, mode="loss"), seen[0][0]


def test_odd_image_sizes_are_an_error():
    says = (
        r"losses\['mgd_2'\] .*student map \(2, 8, 8, 10\) and teacher map \(2, 16, 7, 10\) differ "
        r"in height or width; .* set resize='student' \(or 'teacher'\)"
    )
    with pytest.raises(ValueError, match=says):
        one_pixel_apart()


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_odd_image_sizes_are_resized_on_request(side):
    model, results, (student, teacher, _) = one_pixel_apart(resize=side)
    assert (student.shape, teacher.shape) == ((2, 8, 8, 10), (2, 16, 7, 10))
    total, _ = model.parse_losses(results)
    total.backward()
    for index in range(4):
        gradient = model.neck.fpn_convs[index].conv.weight.grad
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0
    if side == "teacher":
        larger = F.interpolate(teacher, (8, 10), mode="bilinear", align_corners=False)
        values = []
        for given in (teacher, larger):
            torch.manual_seed(5)
            values.append(model.distill["mgd_2"](student, given))
        torch.testing.assert_close(*values)
