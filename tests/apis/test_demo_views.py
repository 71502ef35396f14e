"""The pictures of the dense demos: what is drawn where, on samples of the digit world."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData
from PIL import Image

from mmkd_ext.apis.demo import figures, sheet
from mmkd_ext.apis.demo.views import ENLARGED, LABEL_HEIGHT, Drawer

from ..configs.cls_configs import ROOT

SIXES, EMPTY, STAIN = 0, 12, 0  # test images: two digits 6; no digit; one with a stain


def load(form, index):
    """A test image's drawer, sample and pixels (H, W, 3), read by mmdet's or mmseg's dataset."""
    cfg = Config.fromfile(ROOT / "configs" / "_base_" / "datasets" / f"{form}_digits.py")
    init_default_scope("mmseg" if form == "seg" else "mmdet")
    if form == "seg":
        from mmseg.registry import DATASETS
    else:
        from mmdet.registry import DATASETS
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    sample = dataset[index]["data_samples"]
    if form != "seg":
        sample.gt_instances.bboxes = sample.gt_instances.bboxes.tensor  # as a test leaves it
    return Drawer(dataset.metainfo), sample, Image.open(sample.img_path).convert("RGB")


def enlarged(image):
    size = (image.width * ENLARGED, image.height * ENLARGED)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC)).astype(int)


def large(pixels):
    return np.kron(np.asarray(pixels), np.ones((ENLARGED, ENLARGED), dtype=int))


def frames(boxes, shape, width=4):
    """Where the edges of enlarged boxes are, and where their labels may be, (H, W) bool each."""
    edges, labels = np.zeros(shape, bool), np.zeros(shape, bool)
    for box in boxes:
        left, top, right, bottom = (int(ENLARGED * value) for value in box)
        outer = np.zeros(shape, bool)
        outer[max(top - width, 0) : bottom + width, max(left - width, 0) : right + width] = True
        outer[top + width : bottom - width, left + width : right - width] = False
        edges |= outer
        labels[max(top - LABEL_HEIGHT - width, 0) : top + 6, max(left - 6, 0) : left + 60] = True
    return edges, labels


def test_boxes_stand_where_they_are_with_their_class_and_weak_ones_are_left_out():
    drawer, sample, image = load("det", SIXES)
    truth = sample.gt_instances.bboxes
    assert truth.tolist() == [[72, 56, 89, 82], [92, 12, 118, 50]]
    wrong = torch.tensor([[20.0, 60.0, 50.0, 100.0], [70.0, 90.0, 90.0, 120.0]])
    sample.pred_instances = InstanceData(
        bboxes=wrong, labels=torch.tensor([1, 2]), scores=torch.tensor([0.83, 0.2])
    )
    before = wrong.clone()
    views = drawer.draw(sample)
    plain = enlarged(image)
    for view, boxes, label in ((views[0], truth, 6), (views[1], wrong[:1], 1)):
        assert view.shape == plain.shape
        assert view.dtype == np.uint8
        changed = np.abs(view - plain).max(axis=-1) > 8
        edges, labels = frames(boxes.tolist(), changed.shape)
        assert not (changed & ~edges & ~labels).any()
        colour = np.asarray(drawer.metainfo["palette"][label])
        for left, top, _, bottom in (ENLARGED * boxes).int().tolist():
            side = view[(top + bottom) // 2, left - 3 : left + 4]  # across the left edge
            mixed = 0.7 * colour + 0.3 * plain[(top + bottom) // 2, left - 3 : left + 4]
            assert np.abs(side - mixed).max(axis=-1).min() < 12
            sign = view[max(top - LABEL_HEIGHT, 0) : top, left : left + 40]
            assert (sign.min(axis=-1) > 180).sum() > 15  # white letters
    assert torch.equal(sample.pred_instances.bboxes, before)  # only a copy is enlarged


def test_masks_are_drawn_over_their_pixels():
    drawer, sample, image = load("insseg", SIXES)
    masks = torch.from_numpy(sample.gt_instances.masks.to_ndarray()).bool()
    sample.pred_instances = InstanceData(
        bboxes=sample.gt_instances.bboxes[:1],
        labels=torch.tensor([6]),
        scores=torch.tensor([0.9]),
        masks=masks[:1],
    )
    plain = enlarged(image)
    for view, drawn in zip(drawer.draw(sample), (masks, masks[:1]), strict=True):
        changed = np.abs(view - plain).max(axis=-1) > 8
        inside = large(drawn.any(0)).astype(bool)
        assert changed[inside].mean() > 0.95
        edges, labels = frames(sample.gt_instances.bboxes[: len(drawn)].tolist(), changed.shape)
        outlines = large(torch.nn.functional.max_pool2d(drawn[None].any(1).float(), 3, 1, 1)[0])
        assert not (changed & ~edges & ~labels & ~outlines.astype(bool)).any()
    assert drawer.legend(sample) == []


@pytest.mark.parametrize("form", ["det", "insseg"])
def test_nothing_there_and_nothing_found_leaves_the_image(form):
    drawer, sample, image = load(form, EMPTY)
    assert len(sample.gt_instances) == 0
    found = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0).long(), scores=torch.zeros(0)
    )
    if form == "insseg":
        found.masks = torch.zeros(0, image.height, image.width, dtype=torch.bool)
    sample.pred_instances = found
    for view in drawer.draw(sample):
        assert np.abs(view - enlarged(image)).max() <= 2


def test_maps_are_coloured_over_grey_and_the_background_is_dark():
    drawer, sample, image = load("seg", STAIN)
    truth = sample.gt_sem_seg.data
    assert set(truth.unique().tolist()) == {0, 7, 255}
    sample.pred_sem_seg = PixelData(data=torch.where(truth == 255, 3, truth))
    views = drawer.draw(sample)
    grey = np.asarray(
        Image.fromarray(enlarged(image).astype(np.uint8)).convert("L").convert("RGB")
    ).astype(float)
    for view, pixels in zip(views, (truth, sample.pred_sem_seg.data), strict=True):
        classes = large(pixels[0])
        colours = np.asarray([*drawer.metainfo["palette"], *[(0, 0, 0)] * 245])
        assert colours[0].tolist() == [0, 0, 0]
        assert np.abs(view - (0.4 * grey + 0.6 * colours[classes])).max() <= 2
    assert set(truth.unique().tolist()) == {0, 7, 255}  # only a copy is changed
    assert drawer.legend(sample) == list(
        zip("0123456789", map(tuple, drawer.metainfo["palette"][1:]), strict=True)
    )


@pytest.mark.parametrize("legend", [[], [("0", (200, 0, 0)), ("1", (0, 200, 0))]])
def test_the_sheet_holds_every_view_pixel_for_pixel(legend):
    random = np.random.RandomState(0)

    def views():
        drawn = [[random.randint(0, 256, (48, 60, 3), np.uint8) for _ in "ab"] for _ in "tp"]
        return SimpleNamespace(answers=sheet.Views(["a.png", "b.png"], *drawn, legend))

    teacher, alone, taught = views(), views(), views()
    summary = SimpleNamespace(
        stock_teacher=teacher, stock_baseline=[alone], stock_distilled=[taught]
    )
    with Image.open(io.BytesIO(sheet.draw(summary))) as image:
        pixels = np.asarray(image.convert("RGB"))
    columns = (
        alone.answers.truth,
        teacher.answers.predicted,
        alone.answers.predicted,
        taught.answers.predicted,
    )
    assert pixels.shape[1] == sheet.LEFT + 4 * (60 + sheet.GAP)
    for column, shown in enumerate(columns):
        for row, view in enumerate(shown):
            x = sheet.LEFT + column * (60 + sheet.GAP)
            y = sheet.HEAD + row * (48 + sheet.GAP)
            np.testing.assert_array_equal(pixels[y : y + 48, x : x + 60], view)
    below = pixels[sheet.HEAD + 2 * (48 + sheet.GAP) :]
    for _, colour in legend:
        assert (below == colour).all(axis=-1).sum() > 200
    assert legend or not below.size


@pytest.mark.parametrize(
    ("count", "total", "chosen"),
    [(6, 200, [0, 40, 80, 119, 159, 199]), (6, 3, [0, 1, 2]), (2, 2, [0, 1]), (1, 9, [0])],
)
def test_images_are_taken_evenly(count, total, chosen):
    assert figures.evenly(count, total) == chosen
