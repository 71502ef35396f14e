"""The super-network: one encoder that holds the weights of every genotype of a space.

Source: Lin et al., "FlowNAS", IJCV 132(4), 2024, arXiv:2207.01271, and its published code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from mmkd_ext.registry import MODELS

from .architecture import block_shapes
from .calibration import calibrating
from .elastic_layers import (
    ElasticBatchNorm2d,
    ElasticInvertedResidual,
    ElasticPointwise,
    elastic_norm,
)
from .encoder import FlowNASEncoder, check_norm
from .genotype import Genotype
from .space import FlowNASSpace
from .state_dict import rename_published_keys

BN_MODES = ("frozen01", "batch", "calibrated")


@MODELS.register_module()
class ElasticFlowEncoder(FlowNASEncoder):
    """An encoder (N, 3, H, W) -> (N, output_dim, H / 8, W / 8) that runs as any genotype.

    It is built with the largest choices, and starts as the largest network. A smaller genotype uses
    the first blocks of a stage, the first channels of a convolution or norm, and the centre of a
    depthwise kernel. Both encoders of a network are set together by :func:`set_genotype`.

    State dicts under the names of the published checkpoints load, too.

    Args:
        space: The search space, its config, or ``None`` for the published one.
        norm: ``'instance'``, as in the feature encoder, or ``'batch'``, as in the context encoder.
        output_dim: Channels of the result.
        bn_mode: What batch norms use as statistics, see :class:`ElasticBatchNorm2d`:
            ``'frozen01'`` (mean 0, variance 1), ``'batch'`` or ``'calibrated'``.

    Raises:
        ValueError: Unknown names.
    """

    def __init__(
        self,
        space: FlowNASSpace | Mapping[str, Any] | None = None,
        norm: Literal["instance", "batch"] = "instance",
        output_dim: int = 256,
        bn_mode: Literal["frozen01", "batch", "calibrated"] = "frozen01",
    ) -> None:
        check_norm("ElasticFlowEncoder", norm, bn_mode, BN_MODES)
        space = FlowNASSpace.of(space)
        largest = space.max()
        super().__init__(
            stages=block_shapes(space, largest),
            stem_width=space.stem_width,
            norm=lambda channels: elastic_norm(channels, norm, bn_mode),
            block=lambda shape: ElasticInvertedResidual(shape, norm, bn_mode),
            last_conv=ElasticPointwise(largest["width"][-1], output_dim),
        )
        self.space = space
        self.norm = norm
        self.bn_mode = bn_mode
        self._genotype = largest
        self.register_load_state_dict_pre_hook(_before_load)

    @property
    def genotype(self) -> Genotype:
        """The active one; :meth:`set_genotype` sets it."""
        return self._genotype

    def set_genotype(self, genotype: Genotype) -> None:
        """Run as this genotype from now on.

        Raises:
            ValueError: It is none of the space.
        """
        genotype = self.space.check(genotype)
        if genotype == self._genotype:
            return
        self._genotype = genotype
        shapes = block_shapes(self.space, genotype)
        for stage, stage_shapes in zip(self.stages, shapes, strict=True):
            stage.depth = len(stage_shapes)
            for block, shape in zip(stage.blocks, stage_shapes, strict=False):
                block.activate(shape)
        self.void_calibration()

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Take the statistics of the active genotype from batches of images.

        Args:
            batches: (N, 3, H, W) each, normalised, on the encoder's device.

        Raises:
            ValueError: No batch, or not ``bn_mode='calibrated'``.
        """
        with calibrating(self):
            for batch in batches:
                self(batch)

    def void_calibration(self) -> None:
        """Refuse to evaluate until statistics were calibrated anew."""
        for module in self.modules():
            if isinstance(module, ElasticBatchNorm2d):
                module.calibrated = False


def _before_load(encoder: ElasticFlowEncoder, state: dict[str, Any], prefix: str, *_: Any) -> None:
    encoder.void_calibration()
    rename_published_keys(state, prefix, [len(stage.blocks) for stage in encoder.stages])
