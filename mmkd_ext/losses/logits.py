"""Logits of images, and of pixels: what the logit losses share.

A classifier puts out (N, C), a segmentation head (N, C, H, W). To a logit loss every valid pixel of
the latter is a sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import DistillLoss
from .checks import check_choice, check_logits, check_maps, check_same_channels
from .labels import field_of
from .maps import RESIZE, Resize, match_size


class LogitLoss(DistillLoss):
    """Base of losses between class logits; a subclass writes :meth:`compare`.

    Student and teacher tap: logits (N, C) of a classifier, or (N, C, H, W) of a segmentation head
    (``'decode_head.conv_seg'``). Of the latter each pixel whose label is not ``ignore_index`` is a
    sample; the labels are the data samples' ``gt_sem_seg``, taken to the size of the student's
    logits by nearest neighbour.

    The labels of anything else, such as the regions of a two-stage detector, are tapped in the
    student: ``tap=dict(student=dict(logits='...fc_cls', target='...loss_cls(label)'),
    teacher='...fc_cls')``, a target of (N,) class indices or (N, C) label weights.

    Args:
        loss_weight: Weight of the loss.
        resize: Whose logits to interpolate where those of a segmentation differ in size:
            ``'student'`` or ``'teacher'``; None makes a difference an error.
        ignore_index: Label of the pixels that are left out.
    """

    tap_keys = ("logits", "target")
    uses_labels: ClassVar[bool] = True

    def __init__(
        self, loss_weight: float = 1.0, resize: Resize = None, ignore_index: int = 255
    ) -> None:
        super().__init__(loss_weight)
        check_choice(self.name, "resize", resize, RESIZE)
        self.resize, self.ignore_index = resize, ignore_index

    def compare(self, student: Tensor, teacher: Tensor | None, target: Tensor | None) -> Tensor:
        """The raw loss.

        Args:
            student: (N, C), N images or valid pixels.
            teacher: (N, C), or None for self-distillation.
            target: (N,) or (N, C); None where the loss uses no labels.
        """
        raise NotImplementedError

    def compute(
        self, student: Tensor | dict[str, Tensor], teacher: Tensor | None, data_samples: Any
    ) -> Tensor:
        """The loss of one firing."""
        if isinstance(student, Mapping):
            student, data_samples = student["logits"], student["target"]
        if student.ndim != 4:
            check_logits(self.name, student, teacher)
            target = self.labels(data_samples, student) if self.uses_labels else None
            return self.compare(student, teacher, target)
        if teacher is not None:
            check_maps(self.name, student, teacher, same_size=self.resize is None)
            check_same_channels(self.name, student, teacher)
            student, teacher = match_size(student, teacher, self.resize)
        target, where = self._pixel_labels(data_samples, student)
        student, teacher = _pixels(student, where), _pixels(teacher, where)
        if not len(student):
            return student.sum()  # not one valid pixel: nothing to learn, but a graph to follow
        check_logits(self.name, student, teacher)
        return self.compare(student, teacher, target)

    def _pixel_labels(
        self, data_samples: Any, logits: Tensor
    ) -> tuple[Tensor | None, tuple[Tensor, ...] | None]:
        """Labels (M,) of the valid pixels, and where those are, (M,) n, y and x each; None: all."""
        try:
            labels = pixel_labels(data_samples, logits.shape[2:])
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None
        if labels is None and not self.uses_labels:
            return None, None
        if labels is None:
            raise ValueError(
                f"{self.name}: logits {tuple(logits.shape)} need label maps, but a data sample has "
                "no gt_sem_seg; is the batch unlabelled, or the tap no segmentation head?"
            )
        if len(labels) != len(logits):
            raise ValueError(
                f"{self.name}: {len(labels)} label maps for logits {tuple(logits.shape)}"
            )
        labels = labels.to(logits.device, non_blocking=True)
        # Once: on a GPU each count of the valid pixels waits for the device.
        where = (labels != self.ignore_index).nonzero(as_tuple=True)
        labels = labels[where]
        classes = logits.shape[1]
        if labels.device.type == "cpu" and labels.numel() and int(labels.max()) >= classes:
            raise ValueError(
                f"{self.name}: gt_sem_seg holds class {int(labels.max())}, but there are {classes} "
                f"(0 to {classes - 1}) and {self.ignore_index} to ignore; correct num_classes, "
                "reduce_zero_label or ignore_index"
            )
        return labels if self.uses_labels else None, where


def pixel_labels(data_samples: Any, size: Sequence[int]) -> Tensor | None:
    """Label maps of a batch, at the size of the logits.

    Args:
        data_samples: A sequence of N samples with ``gt_sem_seg``, as mmseg's are (its ``data`` is
            (1, H, W)), or the label maps themselves as one tensor (N, H, W).
        size: Height and width to take them to, by nearest neighbour.

    Returns:
        (N, *size) int64; None if a data sample has none, or there are no samples.

    Raises:
        ValueError: They are of unequal size.
    """
    if isinstance(data_samples, Tensor) and data_samples.ndim == 3:
        maps = data_samples
    else:
        samples = data_samples if isinstance(data_samples, Sequence) else ()
        fields = [field_of(sample, "gt_sem_seg") for sample in samples]
        if not fields or any(field is None for field in fields):
            return None
        found = [getattr(field, "data", field) for field in fields]
        found = [field.reshape(field.shape[-2:]) for field in found]
        if len({tuple(field.shape) for field in found}) > 1:
            raise ValueError("gt_sem_seg differs in size within the batch; pad the batch")
        maps = torch.stack(found)
    # Indices as float32 are exact up to 2^24.
    return F.interpolate(maps[:, None].float(), size=tuple(size), mode="nearest")[:, 0].long()


def _pixels(logits: Tensor | None, where: tuple[Tensor, ...] | None) -> Tensor | None:
    """(N, C, H, W) to (M, C), the valid pixels' rows."""
    if logits is None:
        return None
    rows = logits.permute(0, 2, 3, 1)
    return rows.flatten(0, 2) if where is None else rows[where]
