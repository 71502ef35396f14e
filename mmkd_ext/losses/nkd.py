"""Normalized knowledge distillation of logits.

Source: Yang et al., "From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach
with Normalized Loss and Customized Soft Labels", ICCV 2023, arXiv:2303.13005.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from mmkd_ext.registry import MODELS

from .checks import check_choice, check_logits, check_target, check_temperature, check_weight
from .labels import labels_by_policy, without_columns
from .logits import LogitLoss
from .maps import Resize

SoftLabels = Literal["argmax", "mix"]


def nkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    temperature: float = 1.0,
    gamma: float = 1.5,
    soft_labels: SoftLabels = "argmax",
) -> Tensor:
    r"""Teacher-weighted target loss plus distillation of the normalized non-target classes.

    With y the label, and q the softmax over the C - 1 classes that remain when column y is removed:

    .. math:: L = \frac1N \sum_n \Big[-p^t_y \log p^s_y
        - \gamma T^2 \sum_{i \ne y} q^t_i \log q^s_i\Big],
        \qquad p = \mathrm{softmax}(z),\ q = \mathrm{softmax}_{i \ne y}(z / T)

    The target part has neither temperature nor weight. The cross-entropy form keeps the teacher's
    entropy, so that the value is not 0 where both agree.

    Args:
        student_logits: (N, C).
        teacher_logits: (N, C), taken as constant.
        target: (N,) class indices or (N, C) label weights.
        temperature: T > 0, of the non-target part.
        gamma: Weight of the non-target part.
        soft_labels: What a soft target means. ``'argmax'`` (published): its largest class is the
            label, the other one a non-target class. ``'mix'``: the mean of the losses for its two
            largest classes, weighted by the label weights.

    Returns:
        Scalar, in nats.
    """
    check_logits("nkd_loss", student_logits, teacher_logits)
    check_target("nkd_loss", target, student_logits)
    check_choice("nkd_loss", "soft_labels", soft_labels, ("argmax", "mix"))
    teacher_logits = teacher_logits.detach()
    weights, labels = labels_by_policy(target, student_logits.dtype, soft_labels)

    teacher_prob = F.softmax(teacher_logits, dim=1).gather(1, labels)
    log_student = F.log_softmax(student_logits, dim=1).gather(1, labels)
    target_part = -(weights * teacher_prob * log_student).sum(dim=1)

    non_target_part = sum(
        -weights[:, k]
        * (
            F.softmax(without_columns(teacher_logits, label) / temperature, dim=1)
            * F.log_softmax(without_columns(student_logits, label) / temperature, dim=1)
        ).sum(dim=1)
        for k, label in enumerate(labels.split(1, dim=1))
    )
    return (target_part + gamma * temperature**2 * non_target_part).mean()


@MODELS.register_module()
class NKDLoss(LogitLoss):
    """Normalized logit distillation, see :func:`nkd_loss`.

    Student and teacher tap: logits (N, C). Uses the labels. The student's own cross-entropy stays
    at weight 1.

    Args:
        temperature: T. Published: 1 (ImageNet), 3 (CIFAR-100).
        gamma: Weight of the non-target part. Published: 1.5 (ImageNet CNNs), 1.0 (DeiT),
            3.5 (CIFAR-100).
        soft_labels: ``'argmax'`` (published) or ``'mix'``.
        loss_weight: Weight of the whole loss.
        resize, ignore_index: Of pixel logits, see :class:`~mmkd_ext.losses.logits.LogitLoss`.
    """

    def __init__(
        self,
        temperature: float = 1.0,
        gamma: float = 1.5,
        soft_labels: SoftLabels = "argmax",
        loss_weight: float = 1.0,
        resize: Resize = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(loss_weight, resize, ignore_index)
        check_temperature(self.name, temperature)
        check_weight(self.name, gamma=gamma)
        check_choice(self.name, "soft_labels", soft_labels, ("argmax", "mix"))
        self.temperature, self.gamma, self.soft_labels = temperature, gamma, soft_labels

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
        """See :meth:`LogitLoss.compare`."""
        return nkd_loss(student, teacher, target, self.temperature, self.gamma, self.soft_labels)
