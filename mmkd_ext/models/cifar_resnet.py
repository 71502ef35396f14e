"""The residual networks of the CIFAR literature: three stages on 32x32 images.

Sources: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv:1512.03385,
section 4.2 (ResNet, depth 6n + 2). Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016,
arXiv:1605.07146 (WRN, depth 6n + 4). Where the width changes, the shortcut is a 1x1 convolution,
as in the networks that the distillation literature compares on. mmpretrain's ``ResNet_CIFAR`` is
another family: an ImageNet ResNet of four stages without the pooling in its stem.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmkd_ext.registry import MODELS

STRIDES = (1, 2, 2)  # of the first block of each stage
INIT = [
    dict(type="Kaiming", layer="Conv2d"),
    dict(type="Constant", val=1, layer="BatchNorm2d"),
]


@MODELS.register_module()
class ResNetCifar(BaseModule):
    """ResNet-(6n + 2) for 32x32 images: (N, 3, H, W) to maps of stride 1, 2 and 4.

    Modules to tap: ``layer1`` to ``layer3``, each after its last ReLU.

    Args:
        depth: 6n + 2: 8, 14, 20, 32, 56, 110 ...
        channels: Of the stem and of the three stages. ``(32, 64, 128, 256)`` is what the
            literature calls ``x4``.
        out_indices: Stages whose maps are returned, in 0..2.
        init_cfg: Of mmengine's ``BaseModule``.
    """

    def __init__(
        self,
        depth: int,
        channels: Sequence[int] = (16, 16, 32, 64),
        out_indices: Sequence[int] = (2,),
        init_cfg: Any = INIT,
    ) -> None:
        super().__init__(init_cfg)
        blocks = blocks_per_stage(type(self).__name__, depth, 2)
        check_stages(type(self).__name__, channels, out_indices)
        self.out_indices = tuple(out_indices)
        self.conv1 = nn.Conv2d(3, channels[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        for i, stride in enumerate(STRIDES):
            self.add_module(
                f"layer{i + 1}", stage(Block, channels[i], channels[i + 1], stride, blocks)
            )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) to the maps of ``out_indices``."""
        x = F.relu(self.bn1(self.conv1(x)))
        maps = []
        for layer in (self.layer1, self.layer2, self.layer3):
            x = layer(x)
            maps.append(x)
        return tuple(maps[i] for i in self.out_indices)


@MODELS.register_module()
class WideResNet(BaseModule):
    """WRN-(6n + 4)-k for 32x32 images: (N, 3, H, W) to maps of stride 1, 2 and 4.

    Its blocks norm before they convolve, so the last map is normed and rectified at the end.
    Modules to tap: ``layer1`` to ``layer3`` (raw sums) and ``relu`` (what the head gets).

    Args:
        depth: 6n + 4: 10, 16, 28, 40 ...
        widen_factor: k; the stages have 16k, 32k and 64k channels.
        out_indices: Stages whose maps are returned, in 0..2; only the last is normed.
        init_cfg: Of mmengine's ``BaseModule``.
    """

    def __init__(
        self,
        depth: int,
        widen_factor: int = 1,
        out_indices: Sequence[int] = (2,),
        init_cfg: Any = INIT,
    ) -> None:
        super().__init__(init_cfg)
        blocks = blocks_per_stage(type(self).__name__, depth, 4)
        channels = (16, 16 * widen_factor, 32 * widen_factor, 64 * widen_factor)
        check_stages(type(self).__name__, channels, out_indices)
        self.out_indices = tuple(out_indices)
        self.conv1 = nn.Conv2d(3, channels[0], 3, padding=1, bias=False)
        for i, stride in enumerate(STRIDES):
            self.add_module(
                f"layer{i + 1}", stage(PreActBlock, channels[i], channels[i + 1], stride, blocks)
            )
        self.bn1 = nn.BatchNorm2d(channels[-1])
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) to the maps of ``out_indices``."""
        x = self.conv1(x)
        maps = []
        for layer in (self.layer1, self.layer2, self.layer3):
            x = layer(x)
            maps.append(x)
        maps[-1] = self.relu(self.bn1(x))
        return tuple(maps[i] for i in self.out_indices)


class Block(nn.Module):
    """Two 3x3 convolutions, each normed; ReLU after the sum."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / stride, W / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class PreActBlock(nn.Module):
    """Norm and ReLU before each 3x3 convolution; the sum stays raw."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.shortcut = None
        if in_channels != channels:
            self.shortcut = nn.Conv2d(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / stride, W / stride)."""
        normed = F.relu(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(self.conv1(normed))))
        return out + (x if self.shortcut is None else self.shortcut(normed))


def stage(
    block: type[nn.Module], in_channels: int, channels: int, stride: int, count: int
) -> nn.Sequential:
    """``count`` blocks, the first of which changes width and stride."""
    first = block(in_channels, channels, stride)
    return nn.Sequential(first, *(block(channels, channels, 1) for _ in range(count - 1)))


def blocks_per_stage(name: str, depth: int, rest: int) -> int:
    """Blocks of each stage: n, where the depth is 6n + rest.

    Raises:
        ValueError: There is no such n.
    """
    blocks, odd = divmod(depth - rest, 6)
    if odd or blocks < 1:
        raise ValueError(f"{name}: depth is 6n + {rest} with n >= 1, but got {depth}")
    return blocks


def check_stages(name: str, channels: Sequence[int], out_indices: Sequence[int]) -> None:
    """Raise ValueError for other than a stem and three stages, or a stage that is not there."""
    if len(channels) != 4 or min(channels) < 1:
        raise ValueError(f"{name}: channels are of the stem and three stages, but got {channels}")
    if not out_indices or not set(out_indices) <= {0, 1, 2}:
        raise ValueError(f"{name}: out_indices are of 0, 1, 2, but got {out_indices}")
