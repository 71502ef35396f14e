"""From the context of an object at stride 16 to its logit at stride 4."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..objects import ObjectIndex
from .blocks import ResBlock, conv3x3


class UpBlock(nn.Module):
    """Add a finer map of the frame to the enlarged map of an object.

    Args:
        skip_channels: Width of the frame's map.
        in_channels: Width of the object's map.
        channels: Width of the result.
    """

    def __init__(self, skip_channels: int, in_channels: int, channels: int) -> None:
        super().__init__()
        self.skip = conv3x3(skip_channels, in_channels)
        self.out = ResBlock(in_channels, channels)

    def forward(self, skip: Tensor, x: Tensor, index: ObjectIndex) -> Tensor:
        """(B, skip_channels, 2H, 2W) and (M, in_channels, H, W) to (M, channels, 2H, 2W)."""
        x = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=False)
        return self.out(index.expand(self.skip(skip)) + x)


class Decoder(nn.Module):
    """Refine the context with the key encoder's maps; ``up_8_4`` gives the stride-4 feature.

    Args:
        context_channels: Width of the context.
        f8_channels, f4_channels: Widths of the key encoder's maps.
        channels: Width at strides 8 and 4.
    """

    def __init__(
        self, context_channels: int, f8_channels: int, f4_channels: int, channels: int = 256
    ) -> None:
        super().__init__()
        self.compress = ResBlock(context_channels, context_channels)
        self.up_16_8 = UpBlock(f8_channels, context_channels, channels)
        self.up_8_4 = UpBlock(f4_channels, channels, channels)
        self.pred = conv3x3(channels, 1)

    def forward(self, context: Tensor, f8: Tensor, f4: Tensor, index: ObjectIndex) -> Tensor:
        """Logits of M objects.

        Args:
            context: (M, context_channels, H / 16, W / 16).
            f8: (B, f8_channels, H / 8, W / 8).
            f4: (B, f4_channels, H / 4, W / 4).
            index: Which objects the M are.

        Returns:
            (M, 1, H / 4, W / 4).
        """
        x = self.up_16_8(f8, self.compress(context), index)
        return self.pred(F.relu(self.up_8_4(f4, x, index)))
