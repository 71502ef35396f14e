"""A teacher's flow as the label of its student."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmkd_ext.losses.base import DistillLoss
from mmkd_ext.registry import MODELS

from .sequence import check_sequence, sequence_loss


@MODELS.register_module()
class FlowPseudoLabelLoss(DistillLoss):
    """The sequence loss against the teacher's last prediction.

    Every pixel has such a label but the padding, also where ground truth is sparse or absent. Taps:
    ``predictions`` of both networks, whose numbers of iterations may differ. Ours: no paper is
    reproduced.

    Args:
        gamma: As for :class:`~mmkd_ext.flow.losses.sequence.SequenceLoss`.
        max_flow: Labels as long as this, in pixels, and longer ones do not count.
        loss_weight: Weight.
    """

    tap_structure = "sequence"

    def __init__(
        self, gamma: float = 0.8, max_flow: float = 400.0, loss_weight: float = 1.0
    ) -> None:
        super().__init__(loss_weight)
        check_sequence(self.name, gamma, max_flow)
        self.gamma, self.max_flow = gamma, max_flow

    def compute(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], data_samples: object
    ) -> Tensor:
        """The loss of one firing: predictions (B, 2, H, W), n of the student, m of the teacher."""
        label = teacher[-1]
        inside = torch.ones_like(label[:, 0], dtype=torch.bool)
        for place, sample in enumerate(data_samples or ()):
            left, right, top, bottom = sample.get("pad", (0, 0, 0, 0))
            inside[place, :top] = inside[place, inside.shape[1] - bottom :] = False
            inside[place, :, :left] = inside[place, :, inside.shape[2] - right :] = False
        return sequence_loss(student, label, inside, self.gamma, self.max_flow)
