"""Cross-entropy of the hardest pixels.

Source: the training of STM and STCN (arXiv:1904.00607, arXiv:2106.05210) and SWEM.
"""

from __future__ import annotations

import torch.nn.functional as F
from mmengine.logging import MessageHub
from torch import Tensor, nn

from mmkd_ext.precision import at_least_float32
from mmkd_ext.registry import MODELS

from .checks import check_clip, valid_logits


def bootstrapped_ce(
    logits: Tensor, target: Tensor, valid: Tensor | None = None, ratio: float = 1.0
) -> Tensor:
    """Mean cross-entropy of the ``floor(H W ratio)`` worst pixels of each frame.

    Args:
        logits: (B, T, C, H, W), background first.
        target: Class indices (B, T, H, W), of valid channels only.
        valid: (B, C) bool; channels that are not valid are left out of the softmax. None: all are.
        ratio: Share of the pixels that count, in (0, 1].

    Returns:
        Scalar, in nats.

    Raises:
        ValueError: Shapes that do not fit.
    """
    check_clip("bootstrapped_ce", logits, target, valid)
    scores = valid_logits(logits, valid)
    pixels = F.cross_entropy(scores.flatten(0, 1), target.flatten(0, 1), reduction="none")
    pixels = pixels.flatten(1)
    if ratio < 1:
        pixels = pixels.topk(max(int(pixels.shape[1] * ratio), 1), dim=1, sorted=False).values
    return pixels.mean()


def kept_ratio(iteration: int, start: int = 20000, end: int = 70000, final: float = 0.3) -> float:
    """Share of the pixels that count: 1 until ``start``, then in a straight line to ``final``."""
    progress = min(max((iteration - start) / (end - start), 0.0), 1.0)
    return final + (1 - final) * (1 - progress)


@MODELS.register_module()
class BootstrappedCELoss(nn.Module):
    """Cross-entropy that turns to the hardest pixels in the course of training.

    See :func:`bootstrapped_ce` and :func:`kept_ratio`. The iteration is read from mmengine's
    message hub, which a runner keeps up to date; without a runner it is 0.

    Args:
        start, end: Iterations between which the share falls.
        final: Share in the end; 1 makes it plain cross-entropy. Published: 0.3 (STCN: 0.15).
        loss_weight: Weight.
    """

    def __init__(
        self,
        start: int = 20000,
        end: int = 70000,
        final: float = 0.3,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 <= start < end:
            raise ValueError(f"BootstrappedCELoss: 0 <= start < end, not {start!r} and {end!r}")
        if not 0 < final <= 1:
            raise ValueError(f"BootstrappedCELoss: final must be in (0, 1], not {final!r}")
        self.start, self.end, self.final, self.loss_weight = start, end, final, loss_weight

    def forward(self, logits: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        """The weighted loss; arguments as :func:`bootstrapped_ce` has them."""
        ratio = kept_ratio(current_iteration(), self.start, self.end, self.final)
        return self.loss_weight * bootstrapped_ce(at_least_float32(logits), target, valid, ratio)


def current_iteration() -> int:
    """Iterations done, as the runner tells; 0 without one."""
    return int(MessageHub.get_current_instance().get_info("iter", 0) or 0)
