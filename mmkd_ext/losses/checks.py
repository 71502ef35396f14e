"""Argument and shape checks: each failure is one line that says what to do.

Shapes: N batch, C channels or classes, H and W height and width in cells, L tokens.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor


def check_weight(loss: str, **weights: float) -> None:
    """Raise ``ValueError`` unless every weight is a finite number >= 0."""
    for name, value in weights.items():
        if not _is_number(value) or value < 0:
            raise ValueError(f"{loss}: {name} must be a finite number >= 0, not {value!r}")


def check_temperature(loss: str, temperature: float) -> None:
    """Raise ``ValueError`` unless the temperature is a finite number > 0."""
    if not _is_number(temperature) or temperature <= 0:
        raise ValueError(f"{loss}: temperature must be a finite number > 0, not {temperature!r}")


def check_ratio(loss: str, ratio: float, *, allow_zero: bool = True) -> None:
    """Raise ``ValueError`` unless ``mask_ratio`` is a fraction in [0, 1], or (0, 1]."""
    if not _is_number(ratio) or not 0 <= ratio <= 1 or (ratio == 0 and not allow_zero):
        interval = "[0, 1]" if allow_zero else "(0, 1]"
        raise ValueError(f"{loss}: mask_ratio must be in {interval}, not {ratio!r}")


def check_choice(loss: str, name: str, value: Any, choices: Collection[Any]) -> None:
    """Raise ``ValueError`` unless the value is one of the choices."""
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"{loss}: {name} must be one of {known}, not {value!r}")


def check_logits(loss: str, student: Tensor, teacher: Tensor | None = None) -> None:
    """Raise ``ValueError`` unless the logits are (N, C) with C >= 2, and equal in shape."""
    if student.ndim != 2 or student.shape[1] < 2:
        raise ValueError(
            f"{loss}: student logits must be (N, C) with C >= 2 classes, not "
            f"{tuple(student.shape)}; tap the classifier, such as 'head.fc'"
        )
    if teacher is not None and teacher.shape != student.shape:
        raise ValueError(
            f"{loss}: student logits {tuple(student.shape)} and teacher logits "
            f"{tuple(teacher.shape)} differ; tap the classifiers of two networks that were made "
            "for the same classes"
        )


def check_ndim(loss: str, side: str, tensor: Tensor, layout: str) -> None:
    """Raise ``ValueError`` unless a tap has as many axes as its layout, such as 'N, C, H, W'."""
    if tensor.ndim != layout.count(",") + 1:
        raise ValueError(
            f"{loss}: the {side} tap must be ({layout}), not {tuple(tensor.shape)}; "
            "choose another tap"
        )


def check_maps(loss: str, student: Tensor, teacher: Tensor, *, same_size: bool = True) -> None:
    """Raise ``ValueError`` unless both are (N, C, H, W), of one batch and, if asked, one size."""
    check_ndim(loss, "student", student, "N, C, H, W")
    check_ndim(loss, "teacher", teacher, "N, C, H, W")
    shapes = f"student map {tuple(student.shape)} and teacher map {tuple(teacher.shape)}"
    if student.shape[0] != teacher.shape[0]:
        raise ValueError(f"{loss}: {shapes} differ in batch size; tap both in the same forward")
    if same_size and student.shape[2:] != teacher.shape[2:]:
        raise ValueError(
            f"{loss}: {shapes} differ in height or width; tap layers of the same stride, or set "
            "resize='student' (or 'teacher') to interpolate that one to the other's size"
        )


def check_channels(loss: str, side: str, tensor: Tensor, channels: int, axis: int = 1) -> None:
    """Raise ``ValueError`` unless a tap has the channels that the loss was built for."""
    if tensor.shape[axis] != channels:
        raise ValueError(
            f"{loss}: built for {channels} {side} channels, but the {side} tap is "
            f"{tuple(tensor.shape)}; correct the number, or leave it out to have it inferred"
        )


def check_same_channels(loss: str, student: Tensor, teacher: Tensor) -> None:
    """Raise ``ValueError`` unless two maps, compared channel by channel, have as many of them."""
    if student.shape[1] != teacher.shape[1]:
        raise ValueError(
            f"{loss}: student map {tuple(student.shape)} and teacher map {tuple(teacher.shape)} "
            "differ in channels, which are compared one by one; tap layers of equal width (for "
            "logits, of networks made for the same classes), or use MGDLoss, which aligns them"
        )


def check_target(loss: str, target: Tensor, logits: Tensor) -> None:
    """Raise ``ValueError`` unless the target fits the logits (N, C).

    Args:
        loss: Name for the message.
        target: Class indices (N,) of an integer dtype, or label weights (N, C).
        logits: (N, C).
    """
    rows, classes = logits.shape
    hard = target.ndim == 1 and not target.is_floating_point() and target.dtype != torch.bool
    if (tuple(target.shape) != (rows,) or not hard) and tuple(target.shape) != (rows, classes):
        raise ValueError(
            f"{loss}: labels must be ({rows},) integers or ({rows}, {classes}) weights for logits "
            f"{tuple(logits.shape)}, not {tuple(target.shape)} {target.dtype}"
        )
    # A look at the values would stall an accelerator once a step; its own index checks must do.
    if hard and rows and target.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = int(target.min()), int(target.max())
        if low < 0 or high >= classes:
            raise ValueError(
                f"{loss}: labels run from {low} to {high}, but there are {classes} classes "
                f"(0 to {classes - 1}); correct num_classes or the annotations"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
