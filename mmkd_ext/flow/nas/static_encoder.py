"""One genotype as a plain network, with nothing elastic in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import nn

from mmkd_ext.registry import MODELS

from .architecture import BlockShape, block_shapes
from .encoder import FlowNASEncoder, InvertedResidual, check_norm, conv_norm
from .genotype import Genotype
from .space import FlowNASSpace

BN_MODES = ("frozen", "batch", "tracked")


@MODELS.register_module()
class StaticFlowEncoder(FlowNASEncoder):
    """An encoder (N, 3, H, W) -> (N, output_dim, H / 8, W / 8) of one genotype.

    Its parts have the names that they have in :class:`ElasticFlowEncoder`; a shortcut convolution
    is there only where the channels change. :func:`export_encoder` makes it with the weights of a
    super-network.

    Args:
        genotype: Of the space.
        space: The search space, its config, or ``None`` for the published one. It says what the
            genotype does not: stem, strides, and which stages expand.
        norm: ``'instance'``, as in the feature encoder, or ``'batch'``, as in the context encoder.
        output_dim: Channels of the result.
        bn_mode: ``'frozen'``: batch norms stay in eval mode, with mean 0 and variance 1 unless a
            checkpoint says otherwise, as networks were trained with ``bn_mode='frozen01'``.
            ``'batch'``: they have no statistics but the batch's. ``'tracked'``: torch's batch norm.

    Raises:
        ValueError: Unknown names, or a genotype that is none of the space.
    """

    def __init__(
        self,
        genotype: Genotype,
        space: FlowNASSpace | Mapping[str, Any] | None = None,
        norm: Literal["instance", "batch"] = "instance",
        output_dim: int = 256,
        bn_mode: Literal["frozen", "batch", "tracked"] = "frozen",
    ) -> None:
        check_norm("StaticFlowEncoder", norm, bn_mode, BN_MODES)
        space = FlowNASSpace.of(space)
        genotype = space.check(genotype)

        def make_norm(channels: int) -> nn.Module:
            if norm == "instance":
                return nn.InstanceNorm2d(channels)
            return nn.BatchNorm2d(channels, track_running_stats=bn_mode != "batch")

        def make_block(shape: BlockShape) -> InvertedResidual:
            before, mid, out = shape.in_channels, shape.mid_channels, shape.out_channels
            kernel, stride = shape.kernel_size, shape.stride
            expand = shortcut = None
            if shape.expands:
                expand = conv_norm(nn.Conv2d(before, mid, 1, bias=False), make_norm(mid))
            depthwise = nn.Conv2d(mid, mid, kernel, stride, kernel // 2, groups=mid, bias=False)
            project = nn.Conv2d(mid, out, 1, bias=False)
            if before != out:
                shortcut = nn.Conv2d(before, out, 1, bias=False)
            return InvertedResidual(
                expand=expand,
                depthwise=conv_norm(depthwise, make_norm(mid)),
                project=conv_norm(project, make_norm(out), relu=False),
                shortcut=shortcut,
                stride=stride,
            )

        super().__init__(
            stages=block_shapes(space, genotype),
            stem_width=space.stem_width,
            norm=make_norm,
            block=make_block,
            last_conv=nn.Conv2d(genotype["width"][-1], output_dim, 1, bias=False),
        )
        self.space = space
        self.norm = norm
        self.bn_mode = bn_mode
        self.genotype = genotype
        self.train()  # a fresh module is in training mode; frozen norms are not to be

    def train(self, mode: bool = True) -> StaticFlowEncoder:
        """Set the mode; frozen norms stay in eval mode."""
        super().train(mode)
        if self.bn_mode == "frozen":
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self
