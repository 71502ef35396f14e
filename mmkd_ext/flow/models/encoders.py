"""Encoders of RAFT, from torchvision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn
from torchvision.models.optical_flow.raft import BottleneckBlock, FeatureEncoder, ResidualBlock

from mmkd_ext.registry import MODELS

BLOCKS = {"residual": ResidualBlock, "bottleneck": BottleneckBlock}
NORMS = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d, "none": None}


@MODELS.register_module()
class RAFTEncoder(FeatureEncoder):
    """Features at an eighth of the image size, (N, 3, H, W) -> (N, C, H / 8, W / 8).

    Its parts, for taps: ``convnormrelu`` (1/2), ``layer1`` (1/2), ``layer2`` (1/4), ``layer3``
    (1/8), ``conv`` (1/8).

    Args:
        layers: Channels of these five.
        block: ``'residual'`` as in the large network, ``'bottleneck'`` as in the small one.
        norm: ``'instance'``, ``'batch'`` or ``'none'``.

    Raises:
        ValueError: Not five layers, or unknown names.
    """

    def __init__(
        self,
        layers: Sequence[int] = (64, 64, 96, 128, 256),
        block: Literal["residual", "bottleneck"] = "residual",
        norm: Literal["instance", "batch", "none"] = "instance",
    ) -> None:
        for name, value, known in (("block", block, BLOCKS), ("norm", norm, NORMS)):
            if value not in known:
                raise ValueError(f"RAFTEncoder: {name} is one of {', '.join(known)}, not {value!r}")
        super().__init__(block=BLOCKS[block], layers=tuple(layers), norm_layer=NORMS[norm])
