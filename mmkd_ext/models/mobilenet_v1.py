"""MobileNetV1, which mmpretrain lacks.

Source: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision
Applications", 2017, arXiv:1704.04861, table 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmkd_ext.registry import MODELS

# Channels of the depthwise-separable blocks of each stage; the first block of a stage after the
# first halves the map. The stem halves it before them.
STAGES = ((64,), (128, 128), (256, 256), (512,) * 6, (1024, 1024))
INIT = [
    dict(type="Kaiming", layer="Conv2d"),
    dict(type="Constant", val=1, layer="BatchNorm2d"),
]


@MODELS.register_module()
class MobileNetV1(BaseModule):
    """MobileNetV1: (N, 3, H, W) to maps of stride 2, 4, 8, 16 and 32.

    The modules ``conv1`` (the stem) and ``layer1`` to ``layer5`` can be tapped; ``layer4`` has 512
    channels and ``layer5`` 1024, at a ``widen_factor`` of 1.

    Args:
        widen_factor: Scales all widths.
        out_indices: Stages whose maps are returned, in 0..4.
        frozen_stages: -1 trains all. 0 freezes the stem, and k the first k stages as well.
        norm_eval: Keep batch norms in eval mode while training.
        init_cfg: Of mmengine's ``BaseModule``.
    """

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (4,),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: Any = INIT,
    ) -> None:
        super().__init__(init_cfg)
        stages = range(len(STAGES))
        if not out_indices or not set(out_indices) <= set(stages):
            raise ValueError(f"MobileNetV1: out_indices are of 0..4, but got {out_indices}")
        if not -1 <= frozen_stages <= len(STAGES):
            raise ValueError(f"MobileNetV1: frozen_stages is -1..5, but got {frozen_stages}")
        self.out_indices = tuple(out_indices)
        self.frozen_stages, self.norm_eval = frozen_stages, norm_eval
        width = round(32 * widen_factor)
        self.conv1 = conv_norm(3, width, 3, stride=2)
        for i in stages:
            blocks = []
            for j, channels in enumerate(STAGES[i]):
                stride = 2 if i > 0 and j == 0 else 1
                out = round(channels * widen_factor)
                depthwise = conv_norm(width, width, 3, stride, groups=width)
                blocks.append(nn.Sequential(depthwise, conv_norm(width, out, 1)))
                width = out
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Images (N, 3, H, W) to the maps of ``out_indices``."""
        x = self.conv1(x)
        maps = []
        for i in range(len(STAGES)):
            x = getattr(self, f"layer{i + 1}")(x)
            maps.append(x)
        return tuple(maps[i] for i in self.out_indices)

    def train(self, mode: bool = True) -> MobileNetV1:
        """Set the mode; frozen stages, and with ``norm_eval`` all batch norms, stay in eval."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze(self) -> None:
        names = ["conv1", *(f"layer{i + 1}" for i in range(len(STAGES)))]
        for name in names[: self.frozen_stages + 1]:
            module = getattr(self, name).eval()
            module.requires_grad_(False)


def conv_norm(
    in_channels: int, channels: int, size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )
