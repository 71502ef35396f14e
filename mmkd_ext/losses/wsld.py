"""Weighted soft label distillation.

Source: Zhou et al., "Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance Tradeoff
Perspective", ICLR 2021, arXiv:2102.00650.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd_ext.registry import MODELS

from .checks import check_choice, check_logits, check_target, check_temperature, check_weight
from .labels import distribution, hard_labels
from .logits import LogitLoss
from .maps import Resize

SoftLabels = Literal["argmax", "mix"]


def wsld_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    temperature: float = 2.0,
    alpha: float = 2.5,
    soft_labels: SoftLabels = "argmax",
) -> Tensor:
    r"""Logit distillation that trusts the teacher less on what the student already knows better.

    .. math:: L = \alpha T^2 \frac1N \sum_n w_n \Big(-\sum_c p^t_c \log p^s_c\Big),
        \qquad w = 1 - \exp\Big(-\frac{CE_s}{CE_t + 10^{-7}}\Big)

    with p = softmax(z / T), and CE the cross-entropy with the labels at temperature 1. The sample
    weight w is a constant for the gradient.

    Args:
        student_logits: (N, C).
        teacher_logits: (N, C), taken as constant.
        target: (N,) class indices or (N, C) label weights.
        temperature: T > 0.
        alpha: Weight of the loss.
        soft_labels: What a soft target means in CE. ``'argmax'``: its largest class is the label.
            ``'mix'``: cross-entropy with the label weights themselves. The released code knows
            hard labels only.

    Returns:
        Scalar, in nats times ``alpha``.
    """
    check_logits("wsld_loss", student_logits, teacher_logits)
    check_target("wsld_loss", target, student_logits)
    check_choice("wsld_loss", "soft_labels", soft_labels, ("argmax", "mix"))
    teacher_logits = teacher_logits.detach()
    labels = target if soft_labels == "mix" else hard_labels(target)
    labels = distribution(labels, student_logits.shape[1], student_logits.dtype)
    with torch.no_grad():
        student_ce = -(labels * F.log_softmax(student_logits, dim=1)).sum(dim=1)
        teacher_ce = -(labels * F.log_softmax(teacher_logits, dim=1)).sum(dim=1)
        weight = 1 - torch.exp(-student_ce / (teacher_ce + 1e-7))
    soft_target = F.softmax(teacher_logits / temperature, dim=1)
    log_student = F.log_softmax(student_logits / temperature, dim=1)
    return -alpha * temperature**2 * (weight * (soft_target * log_student).sum(dim=1)).mean()


@MODELS.register_module()
class WSLDLoss(LogitLoss):
    """Weighted soft label distillation, see :func:`wsld_loss`.

    Student and teacher tap: logits (N, C). Uses the labels.

    Args:
        temperature: T. Published: 2 (ImageNet), 4 (CIFAR-100).
        alpha: Weight of the loss. Published: 2.5 (ImageNet), 2.25 (CIFAR-100).
        soft_labels: ``'argmax'`` or ``'mix'``.
        loss_weight: A further weight.
        resize, ignore_index: Of pixel logits, see :class:`~mmkd_ext.losses.logits.LogitLoss`.
    """

    def __init__(
        self,
        temperature: float = 2.0,
        alpha: float = 2.5,
        soft_labels: SoftLabels = "argmax",
        loss_weight: float = 1.0,
        resize: Resize = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(loss_weight, resize, ignore_index)
        check_temperature(self.name, temperature)
        check_weight(self.name, alpha=alpha)
        check_choice(self.name, "soft_labels", soft_labels, ("argmax", "mix"))
        self.temperature, self.alpha, self.soft_labels = temperature, alpha, soft_labels

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
        """See :meth:`LogitLoss.compare`."""
        return wsld_loss(student, teacher, target, self.temperature, self.alpha, self.soft_labels)
