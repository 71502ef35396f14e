"""Softmax regression representation learning.

Source: Yang et al., "Knowledge Distillation via Softmax Regression Representation Learning",
ICLR 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkd_ext.registry import MODELS

from .aligned_maps import infer_map_channels
from .base import DistillLoss, run_module
from .checks import check_channels, check_maps


def srrl_loss(
    student_feature: Tensor, teacher_feature: Tensor, classifier: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    r"""Both terms: equal features, and equal logits of the teacher's own classifier.

    .. math:: L_f = \mathrm{mean}\,(GAP(S) - GAP(T))^2, \qquad
        L_l = \mathrm{mean}\,(W(GAP(S)) - W(GAP(T)))^2

    Args:
        student_feature: (N, C, H, W), behind the connector.
        teacher_feature: (N, C, H', W'), taken as constant.
        classifier: W, frozen: (N, C) -> (N, classes).

    Returns:
        Feature term and logit term, scalars, unweighted.
    """
    student = student_feature.mean(dim=(2, 3))
    teacher = teacher_feature.detach().mean(dim=(2, 3))
    with torch.no_grad():
        teacher_logits = classifier(teacher)
    return F.mse_loss(student, teacher), F.mse_loss(classifier(student), teacher_logits)


@MODELS.register_module()
class SRRLLoss(DistillLoss):
    """Feature and logit regression through the teacher's classifier, see :func:`srrl_loss`.

    The student's map passes a connector (1 x 1 convolution without bias, batch norm, ReLU) first.
    The gradient flows through the frozen classifier to the connector and the student.

    One tap suffices. Student and teacher tap: the last maps before pooling, (N, C_s, H, W) and
    (N, C_t, H', W'). The teacher's logits are computed again from its pooled map: for a head that
    is global average pooling and ``classifier``, as CNN classifiers have, these are the logits of
    the teacher's own forward. Uses no labels. Returns the terms ``feature`` and ``logits``.

    Args:
        student_channels: C_s; inferred by a Distiller.
        teacher_channels: C_t; inferred by a Distiller.
        classifier: Dotted name of the teacher's classifier.
        alpha: Weight of the feature term. Published: 1 (ImageNet and CIFAR-100).
        beta: Weight of the logit term. Published: 1 (ImageNet), 5 (CIFAR-100).
    """

    inferred_args = ("student_channels", "teacher_channels")
    teacher_modules = ("classifier",)

    def __init__(
        self,
        student_channels: int | None = None,
        teacher_channels: int | None = None,
        classifier: str = "head.fc",
        alpha: float = 1.0,
        beta: float = 1.0,
    ) -> None:
        super().__init__({"feature": alpha, "logits": beta})
        self.require(student_channels=student_channels, teacher_channels=teacher_channels)
        self.student_channels, self.teacher_channels = student_channels, teacher_channels
        self.classifier = classifier
        self.connector = nn.Sequential(
            nn.Conv2d(student_channels, teacher_channels, kernel_size=1, bias=False),
            nn.BatchNorm2d(teacher_channels),
            nn.ReLU(inplace=True),
        )

    @classmethod
    def infer_args(cls, student: Any, teacher: Any, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """Channels of both maps."""
        return infer_map_channels(cls, student, teacher)

    def compute(self, student: Tensor, teacher: Tensor, data_samples: object) -> dict[str, Tensor]:
        """Both terms of one firing."""
        check_maps(self.name, student, teacher, same_size=False)
        check_channels(self.name, "student", student, self.student_channels)
        check_channels(self.name, "teacher", teacher, self.teacher_channels)
        classifier = self.borrowed("classifier")
        feature, logits = srrl_loss(
            run_module(self.connector, student), teacher, lambda x: run_module(classifier, x)
        )
        return {"feature": feature, "logits": logits}
