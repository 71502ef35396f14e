"""Operations on feature maps (N, C, H, W) that several losses share."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Resize = Literal["student", "teacher"] | None
RESIZE = (None, "student", "teacher")


def match_size(student: Tensor, teacher: Tensor, resize: Resize) -> tuple[Tensor, Tensor]:
    """Interpolate (bilinear) the named map to the other's height and width.

    Args:
        student: (N, C_s, H, W).
        teacher: (N, C_t, H', W').
        resize: Whose map to interpolate; None leaves both.
    """
    if resize is None or student.shape[2:] == teacher.shape[2:]:
        return student, teacher
    if resize == "student":
        return _interpolate(student, teacher), teacher
    return student, _interpolate(teacher, student)


def sse_per_sample(prediction: Tensor, target: Tensor) -> Tensor:
    """Sum of squared differences over every element, divided by the batch size N (axis 0)."""
    return F.mse_loss(prediction, target, reduction="sum") / prediction.shape[0]


def _interpolate(tensor: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(tensor, size=like.shape[2:], mode="bilinear", align_corners=False)
