"""From one logit an object to one distribution over background and objects.

Source: Oh et al., "Fast User-Guided Video Object Segmentation by Interaction-and-Propagation
Networks", CVPR 2019, arXiv:1904.09791 (soft aggregation).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmkd_ext.precision import at_least_float32, full_precision

EPS = 1e-7  # the log-odds of 0 and 1 are finite, about -16.1 and 16.1
# Of an object that is not there. The published -16.1 would leave it a share of a softened
# distribution: in distillation, channels that stand for nothing would count.
ABSENT = -1e4


def soft_aggregation(probabilities: Tensor) -> Tensor:
    r"""Log-odds of the background and the objects.

    .. math:: q_0 = \prod_n (1 - p_n), \quad q_n = p_n, \quad L = \log \frac{q}{1 - q}

    with q clamped to [1e-7, 1 - 1e-7]. The class probabilities are the softmax of L.

    Args:
        probabilities: p, (B, N, H, W), each object on its own. float32 or float64: half precision
            cannot tell 1 - 1e-7 from 1.

    Returns:
        (B, N + 1, H, W), background first.
    """
    background = (1 - probabilities).prod(dim=1, keepdim=True)
    q = torch.cat([background, probabilities], dim=1).clamp(EPS, 1 - EPS)
    return (q / (1 - q)).log()


class Aggregation(nn.Module):
    """See :func:`soft_aggregation`; a module, so that its output can be tapped."""

    def forward(self, logits: Tensor, valid: Tensor | None = None) -> Tensor:
        """Aggregate the objects.

        Args:
            logits: (B, N, H, W), one an object.
            valid: (B, N) bool; an object that is not there has probability 0 and log-odds -1e4.
                None: all are there.

        Returns:
            Log-odds (B, N + 1, H, W), background first, float32 at least.
        """
        logits = at_least_float32(logits)
        with full_precision(logits):
            probabilities = logits.sigmoid()
            if valid is None:
                return soft_aggregation(probabilities)
            there = valid[:, :, None, None]
            log_odds = soft_aggregation(probabilities * there)
            absent = torch.cat([torch.zeros_like(there[:, :1]), ~there], dim=1)
            return log_odds.masked_fill(absent, ABSENT)
