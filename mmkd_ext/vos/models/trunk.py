"""The part of a ResNet that SWEM uses: stem and three stages, to stride 16.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv:1512.03385; the
blocks are torchvision's.
"""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmkd_ext.registry import MODELS

# Blocks of the three stages; bottlenecks from 50 layers on.
DEPTHS = {18: (2, 2, 2), 34: (3, 4, 6), 50: (3, 4, 6), 101: (3, 4, 23)}


@MODELS.register_module()
class ResNetTrunk(BaseModule):
    """Stem, ``layer1``, ``layer2`` and ``layer3`` of a ResNet under torchvision's names.

    ``init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')`` (or a file) reads
    ImageNet weights when ``init_weights`` is called. A first kernel with fewer input channels than
    this trunk has gets the missing ones appended, orthogonally initialised, whichever way a
    checkpoint is loaded: so a mask becomes a further channel of an ImageNet network, and a network
    of one object one of several.

    Args:
        depth: 18, 34, 50 or 101.
        in_channels: Channels of the input.
        width: Channels of the stem; 64 in every published network.
        conv_bias: Give the convolutions a bias, though batch norms follow. It starts at 0.
        norm_eval: Keep the batch norms in eval mode while training. Their scale and shift train.
        init_cfg: Of mmengine's ``BaseModule``.
    """

    def __init__(
        self,
        depth: int = 50,
        in_channels: int = 3,
        width: int = 64,
        conv_bias: bool = False,
        norm_eval: bool = True,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        if depth not in DEPTHS:
            raise ValueError(f"ResNetTrunk: depth is one of {sorted(DEPTHS)}, not {depth!r}")
        # It takes seconds to import, and the registry imports this file for every user.
        from torchvision.models.resnet import BasicBlock, Bottleneck

        block = Bottleneck if depth >= 50 else BasicBlock
        self.norm_eval = norm_eval
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        before = width
        for stage, blocks in enumerate(DEPTHS[depth]):
            planes, stride = width * 2**stage, 1 if stage == 0 else 2
            after = planes * block.expansion
            shortcut = None
            if stride > 1 or before != after:
                shortcut = nn.Sequential(
                    nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
                )
            layers = [block(before, planes, stride, shortcut)]
            layers += [block(after, planes) for _ in range(1, blocks)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
            before = after
        self.out_channels = tuple(width * 2**stage * block.expansion for stage in range(3))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if conv_bias:
                    module.bias = nn.Parameter(torch.zeros(module.out_channels))
        self.train()  # a fresh module is in training mode; its norms are not to be

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, in_channels, H, W) to the maps of stride 4, 8 and 16."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        f4 = self.layer1(x)
        f8 = self.layer2(f4)
        return f4, f8, self.layer3(f8)

    def train(self, mode: bool = True) -> ResNetTrunk:
        """Set the mode; with ``norm_eval`` the batch norms stay in eval mode."""
        super().train(mode)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        name = f"{prefix}conv1.weight"
        kernel, own = state_dict.get(name), self.conv1.weight
        if isinstance(kernel, Tensor) and kernel.ndim == 4 and kernel.shape[1] < own.shape[1]:
            extra = kernel.new_empty(len(own), own.shape[1] - kernel.shape[1], *own.shape[2:])
            if kernel.shape[0] == own.shape[0] and kernel.shape[2:] == own.shape[2:]:
                nn.init.orthogonal_(extra)
                state_dict[name] = torch.cat([kernel, extra], dim=1)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
