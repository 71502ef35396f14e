"""How much each position at stride 16 counts for each class when a frame is memorised."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def class_weights(hard: Tensor, soft: Tensor, size: Sequence[int]) -> Tensor:
    """Weights of background and foreground from hard and soft object masks.

    ``m_fg = hard * soft`` and ``m_bg = (1 - hard) * (1 - soft)``: where both masks disagree, a
    position counts little in either class. Hard masks are resized by nearest neighbour, which takes
    a cell's top-left pixel; soft masks bilinearly, which looks at its centre. That half cell of
    difference is the published code's.

    Args:
        hard: One-hot masks of the objects, background excluded, (B, N, H, W); 0 or 1.
        soft: Their probabilities, (B, N, H', W'), not necessarily of the same size.
        size: Height and width of the key map.

    Returns:
        (B, N, 2, *size): background, foreground.
    """
    hard = F.interpolate(hard.to(soft.dtype), size=tuple(size), mode="nearest")
    soft = F.interpolate(soft, size=tuple(size), mode="bilinear", align_corners=False)
    return torch.stack([(1 - hard) * (1 - soft), hard * soft], dim=2)
