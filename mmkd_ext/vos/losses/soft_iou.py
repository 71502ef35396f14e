"""One minus the soft intersection over union.

Source: the auxiliary loss of SWEM, arXiv:2208.10128.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkd_ext.precision import at_least_float32
from mmkd_ext.registry import MODELS

from .checks import check_clip, valid_logits

EPS = 1e-6


def soft_iou(logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    r"""One minus the mean soft IoU of the channels, background included.

    .. math:: \mathrm{IoU}_c = \frac{\sum \min(p_c, t_c)}{\sum \max(p_c, t_c) + 10^{-6}}

    with p the softmax over the valid channels and t the one-hot target, for each frame and channel;
    the mean is taken over frames and valid channels, then over the batch.

    Args:
        logits: (B, T, C, H, W), background first.
        target: Class indices (B, T, H, W).
        valid: (B, C) bool; None: all are.

    Returns:
        Scalar in [0, 1].

    Raises:
        ValueError: Shapes that do not fit.
    """
    check_clip("soft_iou", logits, target, valid)
    probabilities = valid_logits(logits, valid).softmax(dim=2)
    truth = F.one_hot(target, logits.shape[2]).permute(0, 1, 4, 2, 3).to(probabilities.dtype)
    overlap = torch.minimum(probabilities, truth).sum(dim=(3, 4))
    iou = overlap / (torch.maximum(probabilities, truth).sum(dim=(3, 4)) + EPS)  # (B, T, C)
    iou = iou.mean(dim=1)
    if valid is None:
        return 1 - iou.mean()
    share = valid.to(iou.dtype)
    return 1 - ((iou * share).sum(dim=1) / share.sum(dim=1)).mean()


@MODELS.register_module()
class SoftIoULoss(nn.Module):
    """See :func:`soft_iou`.

    Args:
        loss_weight: Weight.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """The weighted loss; arguments as :func:`soft_iou` has them."""
        return self.loss_weight * soft_iou(at_least_float32(logits), target, valid)
