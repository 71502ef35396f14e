"""Residual block and attention of SWEM's fuser and decoder.

Sources: Oh et al., "Video Object Segmentation using Space-Time Memory Networks" (STM), ICCV 2019,
arXiv:1904.00607; Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018,
arXiv:1807.06521.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv3x3(in_channels: int, channels: int) -> nn.Conv2d:
    """3 x 3, with bias, size kept."""
    return nn.Conv2d(in_channels, channels, 3, padding=1)


class ResBlock(nn.Module):
    """Two pre-activated 3 x 3 convolutions without norm, added to the input.

    Where widths differ, the input goes through a 3 x 3 convolution of its own, not activated.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, channels)
        self.conv2 = conv3x3(channels, channels)
        self.shortcut = conv3x3(in_channels, channels) if in_channels != channels else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, channels, H, W)."""
        residual = self.conv2(F.relu(self.conv1(F.relu(x))))
        return residual + (x if self.shortcut is None else self.shortcut(x))


class CBAM(nn.Module):
    """Gate the channels by their mean and maximum, then the positions by theirs.

    Args:
        channels: Width.
        reduction: The channel gate's hidden layer is narrower by this.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(channels // reduction, 1)
        self.channel_gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels)
        )
        self.spatial_gate = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W), gated."""
        pooled = self.channel_gate(x.mean(dim=(2, 3))) + self.channel_gate(x.amax(dim=(2, 3)))
        x = x * pooled.sigmoid()[:, :, None, None]
        summary = torch.stack([x.amax(dim=1), x.mean(dim=1)], dim=1)
        return x * self.spatial_gate(summary).sigmoid()
