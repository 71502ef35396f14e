import math
import random
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch

from mmkd_ext.losses import box_masks, boxes_from_samples


def reference(boxes, image_shape, map_shape):
    """Foreground and scale, cell by cell and box by box, in exact arithmetic."""
    height, width = map_shape
    sizes = {}
    for x1, y1, x2, y2 in boxes:
        across = [Fraction(v) * width / image_shape[1] for v in (x1, x2)]
        down = [Fraction(v) * height / image_shape[0] for v in (y1, y2)]
        left = min(max(math.floor(across[0]), 0), width - 1)
        right = max(min(math.ceil(across[1]), width), left + 1)
        top = min(max(math.floor(down[0]), 0), height - 1)
        bottom = max(min(math.ceil(down[1]), height), top + 1)
        for y in range(top, bottom):
            for x in range(left, right):
                size = (bottom - top) * (right - left)
                sizes[y, x] = min(size, sizes.get((y, x), size))
    outside = height * width - len(sizes)
    foreground = [[(y, x) in sizes for x in range(width)] for y in range(height)]
    scale = [[1 / sizes.get((y, x), outside) for x in range(width)] for y in range(height)]
    return torch.tensor(foreground), torch.tensor(scale, dtype=torch.float64)


@pytest.mark.parametrize("image_shape", [(128, 192), (100, 150)])
@pytest.mark.parametrize("map_shape", [(8, 12), (5, 7), (1, 1)])
def test_plain_loops(image_shape, map_shape):
    """Boxes of all sizes, many of them overlapping and partly or altogether outside."""
    draw = random.Random(0)
    for count in (1, 2, 9):
        for _ in range(20):
            boxes = []
            for _ in range(count):
                x, y = draw.uniform(-60, 220), draw.uniform(-60, 160)
                boxes.append([x, y, x + draw.uniform(0, 90), y + draw.uniform(0, 70)])
            expected = reference(boxes, image_shape, map_shape)
            masks = box_masks(
                torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4), image_shape, map_shape
            )
            torch.testing.assert_close(masks, expected)


def test_by_hand():
    """The smaller box wins, whatever the order; weights of both and of the rest."""
    boxes = torch.tensor([[0.0, 0.0, 32.0, 16.0], [17.0, 9.0, 23.0, 31.0]])
    a, b, c = 1 / 8, 1 / 3, 1 / 6
    expected = torch.tensor([[a, a, a, a], [a, a, b, a], [c, c, b, c], [c, c, b, c]])
    for order in (boxes, boxes.flip(0)):
        foreground, scale = box_masks(order, (32, 32), (4, 4))
        assert foreground.dtype == torch.bool
        assert scale.dtype == torch.float32
        torch.testing.assert_close(scale, expected)
        assert torch.equal(foreground, expected != c)


@pytest.mark.parametrize(
    ("box", "cells"),
    [
        ([8, 8, 16, 16], {(1, 1)}),  # the very edges of a cell
        ([7.9, 8, 16, 16.1], {(1, 0), (1, 1), (2, 0), (2, 1)}),
        ([12, 12, 12, 12], {(1, 1)}),  # no extent
        ([8, 8, 8, 8], {(1, 1)}),
        ([-50, 20, 4, 30], {(2, 0), (3, 0)}),  # partly outside
        ([28, 28, 400, 400], {(3, 3)}),
        ([-50, -50, -10, -10], {(0, 0)}),  # altogether outside
        ([40, 10, 60, 15], {(1, 3)}),
        ([32, 32, 32, 32], {(3, 3)}),
        ([-9, -9, 99, 99], {(y, x) for y in range(4) for x in range(4)}),
    ],
)
def test_cells_of_a_box(box, cells):
    foreground, scale = box_masks(torch.tensor([box]), (32, 32), (4, 4))
    assert {tuple(cell) for cell in foreground.nonzero().tolist()} == cells
    assert scale[foreground].sum() == pytest.approx(1)
    assert scale[~foreground].sum() == pytest.approx(int(len(cells) < 16))


def test_no_boxes():
    foreground, scale = box_masks(torch.zeros(0, 4), (32, 48), (2, 3))
    assert not foreground.any()
    torch.testing.assert_close(scale, torch.full((2, 3), 1 / 6))


def test_a_box_that_is_no_number_covers_nothing():
    boxes = torch.tensor([[0.0, 0.0, math.nan, 8.0], [0.0, 0.0, 8.0, 8.0]])
    torch.testing.assert_close(
        box_masks(boxes, (32, 32), (4, 4)), box_masks(boxes[1:], (32, 32), (4, 4))
    )


@pytest.mark.parametrize(("pixels", "cells"), [(300, 100), (28, 4), (1344, 168)])
def test_no_rounding_adds_a_cell(pixels, cells):
    """A cell's own pixels cover that cell, though a pixel's width in cells has no exact value."""
    stride = pixels // cells
    for i in range(cells):
        box = torch.tensor([[i, i, i + 1, i + 1]], dtype=torch.float32) * stride
        foreground, _ = box_masks(box, (pixels, pixels), (cells, cells))
        assert foreground.nonzero().tolist() == [[i, i]]
    # 46 pixels in 14 cells: pixel 23 begins cell 7
    foreground, _ = box_masks(torch.tensor([[23.0, 23, 26, 26]]), (46, 46), (14, 14))
    assert foreground.nonzero().tolist() == [[7, 7]]


@pytest.mark.parametrize("dtype", [torch.int64, torch.bfloat16, torch.float16, torch.float64])
def test_dtypes(dtype):
    boxes = torch.tensor([[384, 384, 512, 448]], dtype=dtype)
    foreground, scale = box_masks(boxes, (512, 512), (8, 8))
    assert foreground.nonzero().tolist() == [[6, 6], [6, 7]]
    assert scale.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def sample(boxes=((0, 0, 8, 8),), **sizes):
    return SimpleNamespace(gt_instances=SimpleNamespace(bboxes=torch.tensor(boxes)), **sizes)


def test_size_of_the_image():
    sizes = {"batch_input_shape": (64, 96), "pad_shape": (48, 80, 3), "img_shape": (40, 70)}
    for name in list(sizes):
        [(boxes, size)] = boxes_from_samples([sample(**sizes)])
        assert size == tuple(sizes.pop(name))[:2]
        assert boxes.tolist() == [[0, 0, 8, 8]]


def test_samples_as_dicts():
    samples = [{"gt_instances": {"bboxes": torch.zeros(2, 4)}, "img_shape": (8, 9)}]
    [(boxes, size)] = boxes_from_samples(samples)
    assert boxes.shape == (2, 4)
    assert size == (8, 9)


def test_samples_of_mmdet():
    """The data preprocessor's own samples: the padded batch is what the map covers."""
    from mmdet.models import DetDataPreprocessor
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes
    from mmengine.structures import InstanceData

    samples = []
    for width, boxes in ((50, [[2.0, 3.0, 20.0, 30.0]]), (90, [])):
        data_sample = DetDataSample(metainfo={"img_shape": (40, width)})
        boxes = HorizontalBoxes(torch.tensor(boxes).reshape(-1, 4))
        data_sample.gt_instances = InstanceData(bboxes=boxes)
        samples.append(data_sample)
    images = [torch.zeros(3, *each.img_shape) for each in samples]
    batch = DetDataPreprocessor(pad_size_divisor=32)({"inputs": images, "data_samples": samples})
    first, second = boxes_from_samples(batch["data_samples"])
    assert first[0].tolist() == [[2, 3, 20, 30]]
    assert type(first[0]) is torch.Tensor
    assert first[1] == second[1] == (64, 96)
    assert second[0].shape == (0, 4)
    with pytest.raises(ValueError, match="sample 0 has no gt_instances"):
        boxes_from_samples([DetDataSample(metainfo={"img_shape": (40, 50)})])
    with pytest.raises(ValueError, match="sample 0 has no gt_instances"):
        boxes_from_samples([DetDataSample(gt_instances=InstanceData())])


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (None, "needs ground-truth boxes, but there are no data samples"),
        ([], "needs ground-truth boxes, but there are no data samples"),
        (torch.zeros(2, 4), "needs ground-truth boxes, but there are no data samples"),
        ([sample(img_shape=(8, 8)), SimpleNamespace()], "data sample 1 has no gt_instances.bboxes"),
        ([SimpleNamespace(gt_instances={"labels": 1})], "data sample 0 has no gt_instances.bboxes"),
        ([sample([[1, 2, 3, 4, 5]])], r"must be a tensor \(K, 4\) of x1, y1, x2, y2, not \(1, 5\)"),
        ([sample([1, 2, 3, 4])], r"must be a tensor \(K, 4\) of x1, y1, x2, y2, not \(4,\)"),
        ([{"gt_instances": {"bboxes": [1]}}], r"must be a tensor \(K, 4\) .* not list"),
        ([sample()], "data sample 0 has none of batch_input_shape, pad_shape, img_shape"),
    ],
)
def test_bad_samples(samples, message):
    with pytest.raises(ValueError, match=message):
        boxes_from_samples(samples)
