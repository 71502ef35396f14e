"""Universal self-knowledge distillation.

Source: Yang et al., "From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach
with Normalized Loss and Customized Soft Labels", ICCV 2023, arXiv:2303.13005.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkd_ext.registry import MODELS

from .base import DistillLoss, run_module
from .checks import check_channels, check_choice, check_logits, check_target, check_weight
from .labels import distribution, labels_by_policy, without_columns

SoftLabels = Literal["top2", "argmax"]
Tokens = Literal["class", "mean"]
Rank = Literal["prob", "log"]


def uskd_loss(
    student_logits: Tensor,
    weak_logits: Tensor,
    target: Tensor,
    alpha: float = 1.0,
    beta: float = 0.1,
    mu: float = 0.005,
    rank: Rank = "prob",
    soft_labels: SoftLabels = "top2",
) -> Tensor:
    r"""Self-distillation with customised soft labels: :math:`\alpha L_t + \beta L_{nt} + L_{weak}`.

    For the labels j of a sample (weights v_j, 1 for a hard label), p = softmax(z_s):

    - Target: :math:`L_t = -\frac1N \sum_n \sum_j P_j \log p_j` with
      :math:`P_j = p_j^2 + v_j - \frac1N \sum_n p_j^2`, and 0 where v_j = 0.
    - Weak branch: cross-entropy of the weak logits with the labels smoothed by 0.1, times
      :math:`\mu`.
    - Non-target: the classes, ranked by :math:`w / (1 - \sum_j w_j) + p / (1 - \sum_j p_j)` with
      w the weak branch's softmax, get Zipf's 1 / rank as soft labels; the label columns are
      removed, the rest renormalised, and :math:`L_{nt}` is the cross-entropy over the rest.

    The soft labels are constants for the gradient.

    Args:
        student_logits: (N, C).
        weak_logits: (N, C), of the weak branch on a middle feature of the student.
        target: (N,) class indices or (N, C) label weights.
        alpha: Weight of the target part.
        beta: Weight of the non-target part.
        mu: Weight of the weak branch.
        rank: What p is in the ranking: ``'prob'``, the probabilities, as in the first release;
            ``'log'``, the log-probabilities, as in the code released since July 2023.
        soft_labels: The labels of a soft target. ``'top2'`` (published): the two of largest weight;
            both columns leave the non-target set even if the second has weight 0 (an image mixed
            with its own class, or not mixed), and then it is an arbitrary class. ``'argmax'``: the
            largest alone, with weight 1, in the target and non-target parts.

    Returns:
        Scalar, in nats.
    """
    check_logits("uskd_loss", student_logits, weak_logits)
    check_target("uskd_loss", target, student_logits)
    check_choice("uskd_loss", "rank", rank, ("prob", "log"))
    check_choice("uskd_loss", "soft_labels", soft_labels, ("top2", "argmax"))
    classes, dtype = student_logits.shape[1], student_logits.dtype
    values, labels = labels_by_policy(target, student_logits.dtype, soft_labels)
    if classes <= labels.shape[1]:
        raise ValueError(
            f"uskd_loss: {classes} classes leave no non-target class beside {labels.shape[1]} "
            "labels; use soft_labels='argmax'"
        )
    log_prob = F.log_softmax(student_logits, dim=1)
    squared = (2 * log_prob.detach().gather(1, labels)).exp()
    target_weight = torch.where(values == 0, 0, squared + values - squared.mean(dim=0))
    target_part = -(target_weight * log_prob.gather(1, labels)).sum(dim=1).mean()

    smooth = 0.9 * distribution(target, classes, dtype) + 0.1 / classes
    weak_part = -mu * (smooth * F.log_softmax(weak_logits, dim=1)).sum(dim=1).mean()

    with torch.no_grad():
        opinion = log_prob if rank == "log" else log_prob.exp()
        score = _per_rest(F.softmax(weak_logits, dim=1), labels) + _per_rest(opinion, labels)
        position = score.argsort(dim=1, descending=True).argsort(dim=1)
        zipf = without_columns(1 / (1 + position).to(dtype), labels)
        zipf = zipf / zipf.sum(dim=1, keepdim=True)
    log_rest = F.log_softmax(without_columns(student_logits, labels), dim=1)
    non_target_part = -(zipf * log_rest).sum(dim=1).mean()
    return alpha * target_part + beta * non_target_part + weak_part


def _per_rest(opinion: Tensor, labels: Tensor) -> Tensor:
    """Opinion (N, C) relative to what the label columns (N, K) leave; 1e-6 as published."""
    return opinion / (1 - opinion.gather(1, labels).sum(dim=1, keepdim=True) + 1e-6)


def pool_feature(feature: Tensor, tokens: Tokens = "class") -> Tensor:
    """One vector per image, (N, C).

    Args:
        feature: A map (N, C, H, W), averaged over its positions; tokens (N, L, C); or vectors
            (N, C).
        tokens: ``'class'`` takes the first token, the class token of a ViT; ``'mean'`` averages
            them, as for a Swin, which has none.
    """
    if feature.ndim == 4:
        return feature.mean(dim=(2, 3))
    if feature.ndim == 3:
        return feature.mean(dim=1) if tokens == "mean" else feature[:, 0]
    return feature


@MODELS.register_module()
class USKDLoss(DistillLoss):
    """Universal self-knowledge distillation, see :func:`uskd_loss`.

    Student tap: ``dict(logits=..., feature=...)``. The logits are (N, C); the feature is that of a
    middle layer, the second-to-last stage of a CNN (N, channels, H, W) or the tokens after half of
    a ViT's blocks (N, L, channels), see ``tokens``; vectors (N, channels) do, too. No teacher.
    Uses the labels. The student's own cross-entropy stays at weight 1.

    Args:
        channels: Channels of the middle feature; inferred by a Distiller.
        num_classes: C; inferred by a Distiller.
        alpha: Weight of the target part. Published: 1 (ImageNet), 0.1 (CIFAR-100).
        beta: Weight of the non-target part. Published: 0.1 (both).
        mu: Weight of the weak branch. Published: 0.005 (ImageNet), 0.1 (CIFAR-100).
        rank: ``'prob'`` or ``'log'`` (the released code).
        soft_labels: ``'top2'`` (published) or ``'argmax'``.
        tokens: ``'class'`` takes the first token of a token map, a ViT's class token; ``'mean'``
            averages them (Swin).
        loss_weight: Weight of the whole loss.
    """

    needs_teacher = False
    tap_structure = "dict"
    tap_keys = ("logits", "feature")
    inferred_args = ("channels", "num_classes")

    def __init__(
        self,
        channels: int | None = None,
        num_classes: int | None = None,
        alpha: float = 1.0,
        beta: float = 0.1,
        mu: float = 0.005,
        rank: Rank = "prob",
        soft_labels: SoftLabels = "top2",
        tokens: Tokens = "class",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        self.require(channels=channels, num_classes=num_classes)
        check_weight(self.name, alpha=alpha, beta=beta, mu=mu)
        check_choice(self.name, "rank", rank, ("prob", "log"))
        check_choice(self.name, "soft_labels", soft_labels, ("top2", "argmax"))
        check_choice(self.name, "tokens", tokens, ("class", "mean"))
        self.channels, self.num_classes = channels, num_classes
        self.alpha, self.beta, self.mu = alpha, beta, mu
        self.rank, self.soft_labels, self.tokens = rank, soft_labels, tokens
        self.fc = nn.Linear(channels, num_classes)

    @classmethod
    def infer_args(cls, student: Any, teacher: Any, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """Channels of the feature and the number of classes."""
        taps = cls.firings(student, "student")[0]
        _check_feature(cls.__name__, taps["feature"])
        check_logits(cls.__name__, taps["logits"])
        channels = pool_feature(taps["feature"]).shape[1]
        return {"channels": channels, "num_classes": taps["logits"].shape[1]}

    def compute(self, student: dict[str, Tensor], teacher: None, data_samples: object) -> Tensor:
        """The loss of one firing."""
        logits, feature = student["logits"], student["feature"]
        check_logits(self.name, logits)
        check_channels(self.name, "student logit", logits, self.num_classes)
        _check_feature(self.name, feature)
        feature = pool_feature(feature, self.tokens)
        check_channels(self.name, "student feature", feature, self.channels)
        if feature.shape[0] != logits.shape[0]:
            raise ValueError(
                f"{self.name}: logits {tuple(logits.shape)} and feature of {feature.shape[0]} "
                "images differ in batch size; tap both in the same forward"
            )
        target = self.labels(data_samples, logits)
        weak = run_module(self.fc, feature)
        return uskd_loss(
            logits, weak, target, self.alpha, self.beta, self.mu, self.rank, self.soft_labels
        )


def _check_feature(loss: str, feature: Tensor) -> None:
    if feature.ndim not in (2, 3, 4):
        raise ValueError(
            f"{loss}: the feature must be (N, C, H, W), (N, L, C) or (N, C), not "
            f"{tuple(feature.shape)}; choose another tap"
        )
