"""From a genotype to the shapes of its blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .genotype import Genotype
    from .space import FlowNASSpace


@dataclass(frozen=True)
class BlockShape:
    """One inverted residual block.

    ``expands`` says that a 1x1 convolution and a norm stand before the depthwise convolution; they
    do so with an expand ratio of 1, too, if their stage can have a larger one. The stages hold the
    same parts in every genotype then, and weights can be shared.
    """

    in_channels: int
    mid_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    expands: bool


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of ``divisor``, not less than 0.9 times ``channels``."""
    rounded = max(1, int((channels + divisor / 2) // divisor) * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def block_shapes(space: FlowNASSpace, genotype: Genotype) -> list[list[BlockShape]]:
    """The blocks of every stage, for a genotype that ``space.check`` has passed."""
    stages, channels = [], space.stem_width
    for stage, stride in enumerate(space.strides):
        width, kernel_size, depth, expand_ratio = (genes[stage] for genes in genotype.values())
        expands = max(space.choices["expand_ratio"][stage]) > 1
        blocks = []
        for _ in range(depth):
            blocks.append(
                BlockShape(
                    in_channels=channels,
                    mid_channels=(make_divisible(channels * expand_ratio) if expands else channels),
                    out_channels=width,
                    kernel_size=kernel_size,
                    stride=1 if blocks else stride,
                    expands=expands,
                )
            )
            channels = width
        stages.append(blocks)
    return stages
