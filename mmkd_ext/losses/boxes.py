"""Ground-truth boxes of detection data samples, and the cells of a feature map that they cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .labels import field_of

# The first is the size of the batched network input, which a feature map covers, padding included.
_SIZES = ("batch_input_shape", "pad_shape", "img_shape")


def boxes_from_samples(data_samples: Any) -> list[tuple[Tensor, tuple[int, int]]]:
    """Boxes of each image, and the size of the network input that they are measured in.

    Args:
        data_samples: A sequence of samples as mmdet's are: with ``gt_instances.bboxes``, (K, 4)
            x1, y1, x2, y2 in pixels of the network input, a tensor or an object with a ``tensor``;
            and with ``batch_input_shape``, or else ``pad_shape``, or else ``img_shape``.

    Returns:
        For each image the boxes (K, 4), K may be 0, and (height, width) in pixels.

    Raises:
        ValueError: There are no data samples, no boxes, boxes of another form, or no size.
    """
    if not isinstance(data_samples, Sequence) or not len(data_samples):
        raise ValueError(
            "this loss needs ground-truth boxes, but there are no data samples; is the batch "
            "unlabelled?"
        )
    found = []
    for index, sample in enumerate(data_samples):
        boxes = field_of(field_of(sample, "gt_instances"), "bboxes")
        if boxes is None:
            raise ValueError(
                f"this loss needs ground-truth boxes, but data sample {index} has no "
                "gt_instances.bboxes; use a detection data set with annotations"
            )
        boxes = getattr(boxes, "tensor", boxes)
        if not isinstance(boxes, Tensor) or boxes.ndim != 2 or boxes.shape[1] != 4:
            got = tuple(boxes.shape) if isinstance(boxes, Tensor) else type(boxes).__name__
            raise ValueError(
                f"gt_instances.bboxes of data sample {index} must be a tensor (K, 4) of x1, y1, "
                f"x2, y2, not {got}; rotated boxes and others are not supported"
            )
        sizes = [size for size in (field_of(sample, name) for name in _SIZES) if size is not None]
        if not sizes:
            raise ValueError(
                f"data sample {index} has none of {', '.join(_SIZES)}, the image size that its "
                "boxes refer to; add one to meta_keys of PackDetInputs"
            )
        found.append((boxes, (int(sizes[0][0]), int(sizes[0][1]))))
    return found


def box_masks(
    boxes: Tensor, image_shape: tuple[int, int], map_shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Which cells of a map lie in a box, and how much a cell weighs.

    A box covers the cells from the floor of its top-left corner to the ceiling of its bottom-right
    corner, in units of cells and clamped to the map, but at least one cell: one that lies outside
    altogether covers a cell at the border.

    Args:
        boxes: (K, 4) x1, y1, x2, y2 in pixels; K may be 0.
        image_shape: Height and width in pixels of the image that the map covers.
        map_shape: Height H and width W in cells.

    Returns:
        Foreground, (H, W) bool, and scale, (H, W) float32 or float64 as the boxes are: the inverse
        number of cells of the smallest box that covers the cell, or of all background cells where
        none does. The weights of the background, and those of a box that overlaps no other, sum
        to 1.
    """
    height, width = map_shape
    # Half precision cannot tell the pixels beyond 256 (bfloat16) or 2048 (float16) apart.
    boxes = boxes.detach().to(torch.promote_types(boxes.dtype, torch.float32))
    left, right = _cells(boxes[:, 0], boxes[:, 2], image_shape[1], width)
    top, bottom = _cells(boxes[:, 1], boxes[:, 3], image_shape[0], height)
    row = torch.arange(height, device=boxes.device)
    column = torch.arange(width, device=boxes.device)
    rows = (row >= top[:, None]) & (row < bottom[:, None])
    columns = (column >= left[:, None]) & (column < right[:, None])
    inside = rows[:, :, None] & columns[:, None, :]
    inverse = 1 / ((bottom - top) * (right - left))
    weights = torch.where(inside, inverse[:, None, None], 0)
    # The plane of zeros lets the maximum stand without any box.
    scale = torch.cat([weights.new_zeros(1, height, width), weights]).amax(dim=0)
    foreground = scale > 0
    background = (~foreground).sum().to(scale.dtype)  # where it is 0, nothing takes its inverse
    return foreground, torch.where(foreground, scale, 1 / background)


def _cells(low: Tensor, high: Tensor, pixels: int, cells: int) -> tuple[Tensor, Tensor]:
    """First cell, and the one behind the last, along one axis."""
    # Multiplied before divided: exact for whole numbers, so that no rounding adds a cell.
    first = (low * cells / pixels).floor().clamp(0, cells - 1)
    last = (high * cells / pixels).ceil().clamp(max=cells)
    return first, torch.maximum(last, first + 1)
