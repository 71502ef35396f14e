"""Decoupled knowledge distillation of logits.

Source: Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, arXiv:2203.08679.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd_ext.registry import MODELS

from .checks import check_choice, check_logits, check_target, check_temperature, check_weight
from .labels import labels_by_policy, without_columns
from .logits import LogitLoss
from .maps import Resize

SoftLabels = Literal["argmax", "mix"]


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    alpha: float = 1.0,
    beta: float = 0.5,
    temperature: float = 1.0,
    soft_labels: SoftLabels = "argmax",
) -> Tensor:
    r"""KL divergence split into its target-class and its non-target-class part.

    With p = softmax(z / T), b = (p_y, 1 - p_y) and q the softmax over the C - 1 non-target classes:

    .. math:: L = T^2 \frac1N \sum_n [\alpha\, KL(b^t \| b^s) + \beta\, KL(q^t \| q^s)]

    Args:
        student_logits: (N, C).
        teacher_logits: (N, C), taken as constant.
        target: (N,) class indices or (N, C) label weights.
        alpha: Weight of the target-class part (TCKD).
        beta: Weight of the non-target-class part (NCKD).
        temperature: T > 0.
        soft_labels: What a soft target means. ``'argmax'``: its largest class is the label.
            ``'mix'``: the mean of the losses for its two largest classes, weighted by the label
            weights, which is linear in the mixing ratio as Mixup's own cross-entropy is. The
            released code knows hard labels only.

    Returns:
        Scalar, in nats.
    """
    check_logits("dkd_loss", student_logits, teacher_logits)
    check_target("dkd_loss", target, student_logits)
    check_choice("dkd_loss", "soft_labels", soft_labels, ("argmax", "mix"))
    student = student_logits / temperature
    teacher = teacher_logits.detach() / temperature
    weights, labels = labels_by_policy(target, student_logits.dtype, soft_labels)
    per_sample = sum(
        weights[:, k]
        * (
            alpha * _kl(_binary(teacher, label), _binary(student, label))
            + beta * _kl(_others(teacher, label), _others(student, label))
        )
        for k, label in enumerate(labels.split(1, dim=1))
    )
    return temperature**2 * per_sample.mean()


def _kl(log_teacher: Tensor, log_student: Tensor) -> Tensor:
    """KL divergence of each row, (N, K) -> (N,)."""
    return (log_teacher.exp() * (log_teacher - log_student)).sum(dim=1)


def _binary(logits: Tensor, label: Tensor) -> Tensor:
    """Log-probability of target and non-target, (N, 2).

    The second is a logsumexp, and not log(1 - p), which is -inf where p rounds to 1.
    """
    pair = [logits.gather(1, label), without_columns(logits, label).logsumexp(1, keepdim=True)]
    return torch.cat(pair, dim=1) - logits.logsumexp(dim=1, keepdim=True)


def _others(logits: Tensor, label: Tensor) -> Tensor:
    """Log-probability among the non-target classes, (N, C - 1)."""
    return F.log_softmax(without_columns(logits, label), dim=1)


@MODELS.register_module()
class DKDLoss(LogitLoss):
    """Decoupled logit distillation, see :func:`dkd_loss`.

    Student and teacher tap: logits (N, C). Uses the labels.

    Args:
        alpha: Weight of the target-class part. Published: 1 (ImageNet and CIFAR-100).
        beta: Weight of the non-target-class part. Published: 0.5 (ImageNet), 8 (CIFAR-100).
        temperature: T. Published: 1 (ImageNet), 4 (CIFAR-100).
        soft_labels: ``'argmax'`` or ``'mix'``.
        loss_weight: Weight of the whole loss.
        resize, ignore_index: Of pixel logits, see :class:`~mmkd_ext.losses.logits.LogitLoss`.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 0.5,
        temperature: float = 1.0,
        soft_labels: SoftLabels = "argmax",
        loss_weight: float = 1.0,
        resize: Resize = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(loss_weight, resize, ignore_index)
        check_weight(self.name, alpha=alpha, beta=beta)
        check_temperature(self.name, temperature)
        check_choice(self.name, "soft_labels", soft_labels, ("argmax", "mix"))
        self.alpha, self.beta = alpha, beta
        self.temperature, self.soft_labels = temperature, soft_labels

    def compare(self, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
        """See :meth:`LogitLoss.compare`."""
        return dkd_loss(
            student, teacher, target, self.alpha, self.beta, self.temperature, self.soft_labels
        )
