"""Closed-form parameters and multiply-accumulates of an encoder.

No network is built, so that a search can turn a candidate down in microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from .architecture import BlockShape

Stages = Sequence[Sequence[BlockShape]]

STEM_KERNEL = 7


def encoder_params(stages: Stages, stem_width: int, output_dim: int, affine: bool) -> int:
    """Parameters of a :class:`StaticFlowEncoder`.

    Args:
        stages: The blocks, from ``block_shapes``.
        stem_width: Channels of the stem.
        output_dim: Channels of the result.
        affine: Norms have a scale and a shift (batch norm), or have not (instance norm).
    """
    norm = 2 if affine else 0
    total = (3 * STEM_KERNEL**2 + 1 + norm) * stem_width
    for block in (block for stage in stages for block in stage):
        mid, out = block.mid_channels, block.out_channels
        if block.expands:
            total += (block.in_channels + norm) * mid
        total += (block.kernel_size**2 + norm) * mid + (mid + norm) * out
        if block.in_channels != out:
            total += block.in_channels * out
    return total + stages[-1][-1].out_channels * output_dim


def published_encoder_params(stages: Stages, stem_width: int, output_dim: int, affine: bool) -> int:
    """Parameters as the authors count them, on a static encoder of their own.

    It holds a shortcut convolution in blocks that pass their input on as it is, too, and, unlike
    their super-network, no convolution for an expand ratio of 1.
    """
    total = encoder_params(stages, stem_width, output_dim, affine)
    for block in (block for stage in stages for block in stage):
        if block.in_channels == block.out_channels:
            total += block.in_channels * block.out_channels
        if block.expands and block.mid_channels == block.in_channels:
            total -= (block.in_channels + (2 if affine else 0)) * block.mid_channels
    return total


def encoder_macs(
    stages: Stages, stem_width: int, output_dim: int, image_size: tuple[int, int]
) -> int:
    """Multiply-accumulates of the convolutions, for one image in one encoder.

    Norms, activations and pooling are not counted.

    Args:
        stages: The blocks, from ``block_shapes``.
        stem_width: Channels of the stem.
        output_dim: Channels of the result.
        image_size: (H, W) in pixels, counted as padded to multiples of 8.
    """
    height, width = (-(-side // 8) * 8 for side in image_size)
    area = height // 2 * (width // 2)
    total = 3 * STEM_KERNEL**2 * stem_width * area
    for block in (block for stage in stages for block in stage):
        mid, out = block.mid_channels, block.out_channels
        if block.expands:
            total += block.in_channels * mid * area
        area //= block.stride**2
        total += (block.kernel_size**2 * mid + mid * out) * area
        if block.in_channels != out:
            total += block.in_channels * out * area
    return total + stages[-1][-1].out_channels * output_dim * area
