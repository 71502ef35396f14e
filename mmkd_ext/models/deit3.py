"""DeiT-III as its published weights mean it.

Touvron et al., "DeiT III: Revenge of the ViT", ECCV 2022, arXiv:2204.07118. A block is
``x + attn(ln1(x))``, then ``x + ffn(ln2(x))``. mmpretrain (seen in 1.3.6 of the forks) applies
``ln1`` both times and ``ln2`` never, which no published weights were trained for; its
predecessor mmcls, which they were converted for, had it right. The 35.26 % top-1 that a user
measured where 81.35 % is published (open-mmlab/mmpretrain issue 1614) fits that.

Imports mmpretrain, so it is not imported with :mod:`mmkd_ext.models`: a config that wants it says
``custom_imports=dict(imports=['mmkd_ext.models.deit3'])``.
"""

from __future__ import annotations

from typing import Any

from mmpretrain.models.backbones.deit3 import DeiT3 as StockDeiT3
from mmpretrain.models.backbones.deit3 import DeiT3TransformerEncoderLayer
from torch import Tensor

from mmkd_ext.registry import MODELS


class DeiT3Layer(DeiT3TransformerEncoderLayer):
    """One encoder layer; parameters and their names are mmpretrain's."""

    def forward(self, x: Tensor) -> Tensor:
        """Token maps (N, L, D) to (N, L, D)."""
        x = x + self.attn(self.ln1(x))
        return self.ffn(self.ln2(x), identity=x)


@MODELS.register_module()
class DeiT3(StockDeiT3):
    """mmpretrain's DeiT-III with the second norm of each layer in its place.

    Arguments, parameters and checkpoints are those of ``mmpretrain.DeiT3``; config name
    ``mmkd_ext.DeiT3``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for layer in self.layers:
            # The constructor names its layer class outright; building the layers anew would
            # draw other initial weights. Same attributes, another forward.
            layer.__class__ = DeiT3Layer
