"""From a frame and the mask of one object to the object's value map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor

from ..objects import ObjectIndex
from .blocks import CBAM, ResBlock
from .trunk import ResNetTrunk


class Fuser(BaseModule):
    """Merge the value trunk's map with the key encoder's: two residual blocks, CBAM between."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.block1 = ResBlock(in_channels, channels)
        self.attention = CBAM(channels)
        self.block2 = ResBlock(channels, channels)

    def forward(self, x: Tensor, f16: Tensor) -> Tensor:
        """Maps of equal size (M, C, H, W) and (M, C16, H, W) to (M, channels, H, W)."""
        x = self.block1(torch.cat([x, f16], dim=1))
        return self.block2(x + self.attention(x))


class ValueEncoder(BaseModule):
    """A second, smaller trunk that sees the image, an object's mask and the other objects' sum.

    Args:
        key_channels: C16, width of the key encoder's last map.
        channels: Width of the value map.
        trunk: Arguments of :class:`ResNetTrunk`; ResNet-18 with biased convolutions, as published.
        single_object: Leave out the channel of the other objects.
    """

    def __init__(
        self,
        key_channels: int,
        channels: int,
        trunk: Mapping[str, Any],
        single_object: bool = False,
    ) -> None:
        super().__init__()
        self.single_object = single_object
        options = {"depth": 18, "conv_bias": True, **trunk}
        self.trunk = ResNetTrunk(in_channels=4 if single_object else 5, **options)
        self.fuser = Fuser(self.trunk.out_channels[-1] + key_channels, channels)

    def forward(self, image: Tensor, masks: Tensor, f16: Tensor, index: ObjectIndex) -> Tensor:
        """Values of the objects.

        Args:
            image: (B, 3, H, W), normalised.
            masks: Probabilities (B, N + 1, H, W), background first, not normalised.
            f16: Last map of the key encoder (B, C16, H / 16, W / 16).
            index: Which of the B x N objects there are.

        Returns:
            (B, N, channels, H / 16, W / 16); 0 for objects that are not there.
        """
        background, objects = masks[:, :1], masks[:, 1:]
        planes = [index.expand(image), index.gather(objects).unsqueeze(1)]
        if not self.single_object:
            planes.append(index.gather(1 - objects - background).unsqueeze(1))
        planes = [plane.to(image.dtype) for plane in planes]
        values = self.fuser(self.trunk(torch.cat(planes, dim=1))[-1], index.expand(f16))
        return index.scatter(values)
