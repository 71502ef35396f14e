"""Knowledge distillation of logits.

Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmkd_ext.registry import MODELS

from .checks import check_logits, check_temperature, check_weight
from .logits import LogitLoss
from .maps import Resize


def kd_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0, alpha: float = 0.5
) -> Tensor:
    r"""Cross-entropy between the softened class probabilities of teacher and student.

    .. math:: L = \alpha T^2 \frac1N \sum_n -\sum_c p^t_c \log p^s_c,
        \qquad p = \mathrm{softmax}(z / T)

    The teacher's entropy is not subtracted, as in the released code, so that the value is not 0
    where both agree; the gradient is that of the KL divergence.

    Args:
        student_logits: (N, C).
        teacher_logits: (N, C), taken as constant.
        temperature: T > 0.
        alpha: Weight of the loss.

    Returns:
        Scalar, in nats times ``alpha``.
    """
    check_logits("kd_loss", student_logits, teacher_logits)
    target = F.softmax(teacher_logits.detach() / temperature, dim=1)
    log_student = F.log_softmax(student_logits / temperature, dim=1)
    return -alpha * temperature**2 * (target * log_student).sum(dim=1).mean()


@MODELS.register_module()
class KDLoss(LogitLoss):
    """Logit distillation, see :func:`kd_loss`.

    As released, the student's own loss is scaled by ``1 - alpha``: set the Distiller's
    ``student_loss_weight`` so.

    Student and teacher tap: logits (N, C). Uses no labels.

    Args:
        temperature: T. Published: 1 (ImageNet), 3 (CIFAR-100).
        alpha: Weight of the loss. Published: 0.5.
        loss_weight: A further weight.
        resize, ignore_index: Of pixel logits, see :class:`~mmkd_ext.losses.logits.LogitLoss`.
    """

    uses_labels = False

    def __init__(
        self,
        temperature: float = 1.0,
        alpha: float = 0.5,
        loss_weight: float = 1.0,
        resize: Resize = None,
        ignore_index: int = 255,
    ) -> None:
        super().__init__(loss_weight, resize, ignore_index)
        check_temperature(self.name, temperature)
        check_weight(self.name, alpha=alpha)
        self.temperature, self.alpha = temperature, alpha

    def compare(self, student: Tensor, teacher: Tensor, target: None) -> Tensor:
        """See :meth:`LogitLoss.compare`."""
        return kd_loss(student, teacher, self.temperature, self.alpha)
