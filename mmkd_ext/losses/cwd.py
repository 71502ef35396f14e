"""Channel-wise distillation of dense predictions.

Source: Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", ICCV 2021,
arXiv:2011.13256.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mmkd_ext.registry import MODELS

from .base import DistillLoss
from .checks import check_choice, check_maps, check_same_channels, check_temperature
from .maps import RESIZE, Resize, match_size


def cwd_loss(
    student_map: Tensor, teacher_map: Tensor, temperature: float = 4.0, loss_weight: float = 3.0
) -> Tensor:
    r"""KL divergence between where teacher and student look, channel by channel.

    Each channel is made a distribution over the P = H W positions, q = softmax_p(z / T):

    .. math:: L = w T^2 \frac1{N C} \sum_{n, c} KL(q^t_{n, c} \| q^s_{n, c})

    Args:
        student_map: (N, C, H, W), segmentation logits or features.
        teacher_map: (N, C, H, W), taken as constant.
        temperature: T > 0.
        loss_weight: w.

    Returns:
        Scalar, in nats times ``loss_weight``.
    """
    check_maps("cwd_loss", student_map, teacher_map)
    check_same_channels("cwd_loss", student_map, teacher_map)
    log_student = F.log_softmax(student_map.flatten(2) / temperature, dim=2)
    log_teacher = F.log_softmax(teacher_map.detach().flatten(2) / temperature, dim=2)
    divergence = (log_teacher.exp() * (log_teacher - log_student)).sum(dim=2)
    return loss_weight * temperature**2 * divergence.mean()


@MODELS.register_module()
class CWDLoss(DistillLoss):
    """Channel-wise distillation, see :func:`cwd_loss`.

    Student and teacher tap: (N, C, H, W), segmentation logits (as in MGD's segmentation recipe,
    where every position counts, ignored labels too) or feature maps. Uses no labels.

    Args:
        temperature: T. Published: 4.
        loss_weight: Weight of the loss. Published in MGD's recipe: 3.
        resize: Whose map to interpolate where sizes differ; None makes a difference an error.
    """

    def __init__(
        self, temperature: float = 4.0, loss_weight: float = 3.0, resize: Resize = None
    ) -> None:
        super().__init__(loss_weight)
        check_temperature(self.name, temperature)
        check_choice(self.name, "resize", resize, RESIZE)
        self.temperature, self.resize = temperature, resize

    def compute(self, student: Tensor, teacher: Tensor, data_samples: object) -> Tensor:
        """The loss of one firing."""
        check_maps(self.name, student, teacher, same_size=self.resize is None)
        check_same_channels(self.name, student, teacher)
        student, teacher = match_size(student, teacher, self.resize)
        return cwd_loss(student, teacher, self.temperature, loss_weight=1.0)
