"""Gated fusion of what the memory says with what the frame itself shows."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Fusion(nn.Module):
    """Gated linear unit: one 3 x 3 convolution, times the sigmoid of another.

    Args:
        in_channels: Of read-out, frame value and similarity together.
        channels: Width of the result.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.feature = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.gate = nn.Conv2d(in_channels, channels, 3, padding=1)
        for conv in (self.feature, self.gate):
            nn.init.orthogonal_(conv.weight)
            nn.init.zeros_(conv.bias)

    def forward(self, readout: Tensor, value: Tensor, similarity: Tensor) -> Tensor:
        """Context of M objects.

        Args:
            readout: (M, Cv, H, W).
            value: The frame's own value-like feature (M, Cv, H, W).
            similarity: (M, 2 topl, H, W).

        Returns:
            (M, channels, H, W).
        """
        z = torch.cat([readout, value, similarity], dim=1)
        return self.feature(z) * self.gate(z).sigmoid()
