"""mmpretrain's mobile networks with less stride, as the CIFAR literature distils into them.

The published networks halve the image five times. On 32x32 pixels the distillation literature keeps
more: ShuffleNet has a 1x1 convolution of stride 1 for a stem, and no pooling, so its last map is
4x4; MobileNetV2 leaves out one halving, its last map is 2x2.
Source of these choices: Tian et al., "Contrastive Representation Distillation", ICLR 2020,
arXiv:1910.10699, whose networks later CIFAR-100 tables share.

Imports mmpretrain, so it is not imported with :mod:`mmkd_ext.models`: a config that wants it says
``custom_imports=dict(imports=['mmkd_ext.models.cifar_mobile'])``.
"""

from __future__ import annotations

from typing import Any

from mmcv.cnn import ConvModule
from mmpretrain.models.backbones import MobileNetV2, ShuffleNetV1, ShuffleNetV2
from torch import nn

from mmkd_ext.registry import MODELS


class _Fine:
    """A ShuffleNet whose stem keeps the image's size."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stem = self.conv1
        self.conv1 = ConvModule(
            stem.in_channels,
            stem.out_channels,
            kernel_size=1,
            norm_cfg=self.norm_cfg,
            act_cfg=self.act_cfg,
        )
        self.maxpool = nn.Identity()


@MODELS.register_module()
class ShuffleNetV1Cifar(_Fine, ShuffleNetV1):
    """mmpretrain's ``ShuffleNetV1`` (its arguments) with stride 8 in all: 32x32 to 4x4."""


@MODELS.register_module()
class ShuffleNetV2Cifar(_Fine, ShuffleNetV2):
    """mmpretrain's ``ShuffleNetV2`` (its arguments) with stride 8 in all: 32x32 to 4x4."""


@MODELS.register_module()
class MobileNetV2Cifar(MobileNetV2):
    """mmpretrain's ``MobileNetV2`` (its arguments) with stride 16 in all: 32x32 to 2x2."""

    # expand ratio, channels, blocks, stride
    arch_settings = [
        [1, 16, 1, 1],
        [6, 24, 2, 1],  # stride 2 in the original
        [6, 32, 3, 2],
        [6, 64, 4, 2],
        [6, 96, 3, 1],
        [6, 160, 3, 2],
        [6, 320, 1, 1],
    ]
