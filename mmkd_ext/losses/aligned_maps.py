"""What losses share that compare a map with the teacher's once its channels and size are equal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .base import DistillLoss, run_module
from .checks import check_channels, check_choice, check_maps, check_ndim
from .maps import RESIZE, Resize, match_size


class AlignedMapLoss(DistillLoss):
    """Base of losses that see the student's map behind a 1 x 1 convolution, ``align``.

    There is none where the channels are equal. A subclass writes :meth:`compute`, and begins it
    with :meth:`matched`.

    Student and teacher tap: (N, C_s, H, W) and (N, C_t, H, W).

    Args:
        student_channels: C_s; inferred by a Distiller.
        teacher_channels: C_t; inferred by a Distiller.
        loss_weight: As for :class:`DistillLoss`.
        resize: Whose map to interpolate where sizes differ (after ``align``); None makes a
            difference an error.
    """

    inferred_args = ("student_channels", "teacher_channels")

    def __init__(
        self,
        student_channels: int | None,
        teacher_channels: int | None,
        loss_weight: float | dict[str, float],
        resize: Resize,
    ) -> None:
        super().__init__(loss_weight)
        self.require(student_channels=student_channels, teacher_channels=teacher_channels)
        check_choice(self.name, "resize", resize, RESIZE)
        self.student_channels, self.teacher_channels = student_channels, teacher_channels
        self.resize = resize
        self.align = (
            nn.Conv2d(student_channels, teacher_channels, kernel_size=1)
            if student_channels != teacher_channels
            else None
        )

    @classmethod
    def infer_args(cls, student: Any, teacher: Any, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """Channels of both maps."""
        return infer_map_channels(cls, student, teacher)

    def matched(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """Both maps with the teacher's channels and one size.

        Raises:
            ValueError: They have other channels than expected, or sizes that differ.
        """
        check_maps(self.name, student, teacher, same_size=self.resize is None)
        check_channels(self.name, "student", student, self.student_channels)
        check_channels(self.name, "teacher", teacher, self.teacher_channels)
        if self.align is not None:
            student = run_module(self.align, student)
        return match_size(student, teacher, self.resize)


def infer_map_channels(cls: type[DistillLoss], student: Any, teacher: Any) -> dict[str, int]:
    """``student_channels`` and ``teacher_channels`` of two taps that give maps (N, C, H, W)."""
    sides = {"student": student, "teacher": teacher}
    found = {}
    for side, tapped in sides.items():
        feature = cls.firings(tapped, side)[0]
        check_ndim(cls.__name__, side, feature, "N, C, H, W")
        found[f"{side}_channels"] = feature.shape[1]
    return found
