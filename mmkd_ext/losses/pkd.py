"""Distillation of feature maps by their correlation.

Source: Cao et al., "PKD: General Distillation Framework for Object Detectors via Pearson
Correlation Coefficient", NeurIPS 2022, arXiv:2207.02039.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd_ext.registry import MODELS

from .base import DistillLoss
from .checks import check_choice, check_maps, check_same_channels
from .maps import RESIZE, Resize, match_size

# On the variance, so that a constant channel becomes zeros. A gradient passes a channel at most
# 1 / sqrt(1e-6) = 1000 times larger, where a mere division by the deviation has no bound. A channel
# of standard deviation 0.1 is off by 5e-5 of its value.
_EPSILON = 1e-6


def pkd_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    r"""Half the mean squared error of maps whose channels are standardised.

    With z a channel of zero mean and unit variance over the P = N H W values it has in the batch,

    .. math:: L = \frac1{2 C P} \sum_{c, p} (z^s_{c, p} - z^t_{c, p})^2
        = \frac1C \sum_c (1 - \rho_c)

    where :math:`\rho_c` is the Pearson correlation of the two maps' channel c. It does not depend
    on the scale and mean of any channel of either map. The variance is the population's, sum / P,
    plus 1e-6. A constant channel of one map counts 1/2 (no correlation), one of both maps 0.

    Args:
        student_map: (N, C, H, W).
        teacher_map: (N, C, H, W), taken as constant.

    Returns:
        Scalar in [0, 2].

    Raises:
        ValueError: The shapes differ.
    """
    check_maps("pkd_loss", student_map, teacher_map)
    check_same_channels("pkd_loss", student_map, teacher_map)
    return F.mse_loss(_standardised(student_map), _standardised(teacher_map.detach())) / 2


def _standardised(feature: Tensor) -> Tensor:
    variance, mean = torch.var_mean(feature, dim=(0, 2, 3), correction=0, keepdim=True)
    return (feature - mean) * (variance + _EPSILON).rsqrt()


@MODELS.register_module()
class PKDLoss(DistillLoss):
    """Correlation of feature maps, channel by channel, see :func:`pkd_loss`.

    Student and teacher tap: (N, C, H, W), one level of a feature pyramid, such as
    'neck.fpn_convs.{0-3}.conv'. There is no layer that aligns them: the channels must be as many
    on both sides. The statistics are those of the batch of one process. Uses no labels.

    Args:
        loss_weight: Weight of the loss. Published by mmrazor, on each of the first four levels of
            the neck's output: 6 (Faster R-CNN R101 to R50, Mask R-CNN Swin-S to RetinaNet R50) and
            10 (RetinaNet X101 to R50, FCOS X101 to RetinaNet R50, RepPoints X101 to R50).
        resize: Whose map to interpolate where sizes differ; None makes a difference an error.
    """

    def __init__(self, loss_weight: float = 6.0, resize: Resize = None) -> None:
        super().__init__(loss_weight)
        check_choice(self.name, "resize", resize, RESIZE)
        self.resize = resize

    def compute(self, student: Tensor, teacher: Tensor, data_samples: object) -> Tensor:
        """The loss of one firing."""
        check_maps(self.name, student, teacher, same_size=self.resize is None)
        check_same_channels(self.name, student, teacher)
        return pkd_loss(*match_size(student, teacher, self.resize))
