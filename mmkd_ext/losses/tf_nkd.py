"""Teacher-free normalized knowledge distillation.

Source: Yang et al., "Rethinking Knowledge Distillation via Cross-Entropy", 2022, arXiv:2208.10139.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd_ext.registry import MODELS

from .checks import check_choice, check_logits, check_target
from .labels import labels_by_policy
from .logits import LogitLoss
from .maps import Resize

SoftLabels = Literal["top2", "argmax"]


def tf_nkd_loss(student_logits: Tensor, target: Tensor, soft_labels: SoftLabels = "top2") -> Tensor:
    r"""Self-distillation: the student's own target probability, smoothed, weights its target loss.

    For each label j of a sample, of weight v_j (1 for a hard label), with p = softmax(z_s):

    .. math:: L = \frac1N \sum_n \sum_j -w_j \log p_j, \qquad
        w_j = p_j + v_j - \frac1N \sum_n p_j, \quad w_j = 0 \text{ where } v_j = 0

    w is a constant for the gradient; its mean is over the batch of this process.

    Args:
        student_logits: (N, C).
        target: (N,) class indices or (N, C) label weights.
        soft_labels: The labels of a soft target. ``'top2'`` (published): the two of largest
            weight. ``'argmax'``: the largest alone, with weight 1.

    Returns:
        Scalar, in nats; for two labels, the sum of both terms.
    """
    check_logits("tf_nkd_loss", student_logits)
    check_target("tf_nkd_loss", target, student_logits)
    check_choice("tf_nkd_loss", "soft_labels", soft_labels, ("top2", "argmax"))
    values, labels = labels_by_policy(target, student_logits.dtype, soft_labels)
    log_prob = F.log_softmax(student_logits, dim=1).gather(1, labels)
    prob = log_prob.detach().exp()
    weight = torch.where(values == 0, 0, prob + values - prob.mean(dim=0))
    return -(weight * log_prob).sum(dim=1).mean()


@MODELS.register_module()
class TFNKDLoss(LogitLoss):
    """Teacher-free normalized distillation, see :func:`tf_nkd_loss`.

    Student tap: logits (N, C). No teacher. Uses the labels. The student's own cross-entropy stays
    at weight 1.

    Args:
        soft_labels: ``'top2'`` (published) or ``'argmax'``.
        loss_weight: Weight of the loss. Published: 1.
        resize, ignore_index: Of pixel logits, see :class:`~mmkd_ext.losses.logits.LogitLoss`.
    """

    needs_teacher = False

    def __init__(
        self,
        soft_labels: SoftLabels = "top2",
        loss_weight: float = 1.0,
        resize: Resize = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(loss_weight, resize, ignore_index)
        check_choice(self.name, "soft_labels", soft_labels, ("top2", "argmax"))
        self.soft_labels = soft_labels

    def compare(self, student: Tensor, teacher: None, target: Tensor) -> Tensor:
        """See :meth:`LogitLoss.compare`."""
        return tf_nkd_loss(student, target, self.soft_labels)
