"""What the elastic and the static encoder of FlowNAS share: how a map runs through them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .architecture import BlockShape
from .costs import STEM_KERNEL

NORMS = ("instance", "batch")


def conv_norm(conv: nn.Module, norm: nn.Module, relu: bool = True) -> nn.Sequential:
    """Convolution, norm and ReLU under the names ``conv``, ``norm`` and ``relu``."""
    parts = OrderedDict(conv=conv, norm=norm)
    if relu:
        parts["relu"] = nn.ReLU()
    return nn.Sequential(parts)


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution and projection, added to a shortcut.

    No activation follows the addition. The shortcut is average-pooled where the block has stride 2,
    and passes a 1x1 convolution where the channels change.

    Args:
        expand: 1x1 convolution, norm and ReLU, or ``None``.
        depthwise: Depthwise convolution of the stride, norm and ReLU.
        project: 1x1 convolution and norm.
        shortcut: 1x1 convolution, or ``None``.
        stride: 1 or 2.
    """

    def __init__(
        self,
        expand: nn.Module | None,
        depthwise: nn.Module,
        project: nn.Module,
        shortcut: nn.Module | None,
        stride: int,
    ) -> None:
        super().__init__()
        self.expand = expand
        self.depthwise = depthwise
        self.project = project
        self.shortcut = shortcut
        self.uses_shortcut = shortcut is not None
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / stride, W / stride)."""
        residual = x if self.expand is None else self.expand(x)
        residual = self.project(self.depthwise(residual))
        if self.stride == 2:
            x = F.avg_pool2d(x, 2)
        return residual + (self.shortcut(x) if self.uses_shortcut else x)


class Stage(nn.Module):
    """Blocks one after the other, of which the first ``depth`` run."""

    def __init__(self, blocks: Sequence[InvertedResidual]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.depth = len(blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / stride, W / stride)."""
        for block in self.blocks[: self.depth]:
            x = block(x)
        return x


class FlowNASEncoder(nn.Module):
    """Features at an eighth of the image size.

    Its parts, for taps: ``stem`` (1/2), ``stages.0`` onwards, and ``last_conv`` (1/8). The five
    feature levels of FlowNAS are ``stem``, ``stages.1``, ``stages.3``, ``stages.5`` and
    ``last_conv``.

    Args:
        stages: Shapes of the blocks of every stage.
        stem_width: Channels of the stem.
        norm: Makes a norm for a number of channels.
        block: Makes a block of a shape.
        last_conv: From the last stage to the result.
    """

    def __init__(
        self,
        stages: Sequence[Sequence[BlockShape]],
        stem_width: int,
        norm: Callable[[int], nn.Module],
        block: Callable[[BlockShape], InvertedResidual],
        last_conv: nn.Conv2d,
    ) -> None:
        super().__init__()
        stem = nn.Conv2d(3, stem_width, STEM_KERNEL, stride=2, padding=STEM_KERNEL // 2)
        self.stem = conv_norm(stem, norm(stem_width))
        self.stages = nn.ModuleList([Stage([block(shape) for shape in stage]) for stage in stages])
        self.last_conv = last_conv
        self.output_dim = last_conv.out_channels
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The published initialisation, with two peculiarities kept.

        The fan-out of a depthwise convolution is taken as that of a full one, so its weights start
        far too small for a variance of 1. Where norms have a scale, that of every projection starts
        at 0: the encoder starts with its shortcuts alone.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, InvertedResidual) and module.project.norm.weight is not None:
                nn.init.zeros_(module.project.norm.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Images to features.

        Args:
            images: (N, 3, H, W), normalised; H and W are multiples of 8.

        Returns:
            (N, output_dim, H / 8, W / 8).

        Raises:
            ValueError: Another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] % 8 or images.shape[3] % 8:
            raise ValueError(
                f"{type(self).__name__} takes images (N, 3, H, W) with H and W multiples of 8, "
                f"not {tuple(images.shape)}; the flow data preprocessor pads them"
            )
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
        return self.last_conv(x)


def check_norm(owner: str, norm: str, bn_mode: str, bn_modes: Sequence[str]) -> None:
    """Refuse unknown norms and modes."""
    for name, value, known in (("norm", norm, NORMS), ("bn_mode", bn_mode, bn_modes)):
        if value not in known:
            raise ValueError(f"{owner}: {name} is one of {', '.join(known)}, not {value!r}")
