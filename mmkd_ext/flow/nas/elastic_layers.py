"""Layers that hold their largest form and run as a smaller one.

A smaller layer uses the first channels of the stored weights, and the centre of the stored kernel.
Source: the published code of FlowNAS, which follows Cai et al., "Once-for-All", ICLR 2020,
arXiv:1908.09791, without its kernel transformations.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .architecture import BlockShape
from .encoder import InvertedResidual, conv_norm


class ElasticPointwise(nn.Conv2d):
    """A 1x1 convolution without bias, of ``active_channels`` outputs.

    The inputs are as many as the map has.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1, bias=False)
        self.active_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, active_channels, H, W)."""
        return F.conv2d(x, self.weight[: self.active_channels, : x.shape[1]])


class ElasticDepthwise(nn.Conv2d):
    """A depthwise convolution without bias, of ``active_kernel`` pixels squared.

    The channels are as many as the map has.
    """

    def __init__(self, channels: int, kernel_size: int, stride: int) -> None:
        super().__init__(
            channels, channels, kernel_size, stride, kernel_size // 2, groups=channels, bias=False
        )
        self.active_kernel = kernel_size

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H / stride, W / stride)."""
        channels, kernel = x.shape[1], self.active_kernel
        edge = (self.kernel_size[0] - kernel) // 2
        centre = slice(edge, edge + kernel)
        weight = self.weight[:channels, :, centre, centre]
        return F.conv2d(x, weight, None, self.stride, kernel // 2, groups=channels)


class ElasticInstanceNorm2d(nn.Module):
    """Instance norm without scale and shift, of any number of channels."""

    weight = None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return F.instance_norm(x)


class ElasticBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose scale, shift and statistics are those of the first channels.

    Statistics of a batch depend on the active sub-network, so shared running statistics would fit
    none. The mode says which are used instead:

    - ``'frozen01'``: the stored statistics, in training, too, which nothing updates. They are
      mean 0 and variance 1 unless a checkpoint says otherwise; the layer is then a scale and a
      shift. This is what the published code evaluates.
    - ``'batch'``: those of the batch, in training and evaluation. A result then depends on the
      other images of its batch.
    - ``'calibrated'``: those of the batch in training; in evaluation the stored ones, which
      :func:`calibrating` takes for the active sub-network. They are void once a module trains,
      loads weights or changes its genotype, and an evaluation without them is refused.

    Eval mode while the rest trains (``freeze_bn`` of RAFT) thus changes nothing in the first two
    modes, and is refused in the third, where there are no statistics to keep.

    mmengine's ``sync_bn`` would replace this layer by one of a fixed size: do not set it.

    Args:
        channels: The most there are.
        mode: One of the three.
    """

    def __init__(self, channels: int, mode: str) -> None:
        super().__init__(channels)
        self.mode = mode
        self.calibrated = False

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape.

        Raises:
            RuntimeError: Mode ``'calibrated'`` in evaluation without calibration.
        """
        weight, bias = self.weight[: x.shape[1]], self.bias[: x.shape[1]]
        mean, variance = self.running_mean[: x.shape[1]], self.running_var[: x.shape[1]]
        if self.mode == "batch" or (self.mode == "calibrated" and self.training):
            if self.momentum is not None:
                return F.batch_norm(x, None, None, weight, bias, True, 0.0, self.eps)
            # Without a momentum, as while calibrating: the mean of all batches so far.
            self.num_batches_tracked.add_(1)
            self.calibrated = True
            momentum = 1 / float(self.num_batches_tracked)
            return F.batch_norm(x, mean, variance, weight, bias, True, momentum, self.eps)
        if self.mode == "calibrated" and not self.calibrated:
            raise RuntimeError(
                "ElasticBatchNorm2d: the statistics were not calibrated for the active genotype "
                "and weights; call calibrate() in eval mode, or build the encoder with "
                "bn_mode='frozen01'"
            )
        return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, self.eps)

    def train(self, mode: bool = True) -> ElasticBatchNorm2d:
        """Set the mode; training voids calibrated statistics."""
        if mode and self.momentum is not None:  # without one it is calibrating
            self.calibrated = False
        return super().train(mode)


class ElasticInvertedResidual(InvertedResidual):
    """A block that can run in any smaller shape of the same stride.

    Args:
        shape: The largest.
        norm: ``'instance'`` or ``'batch'``.
        bn_mode: Mode of batch norms.
    """

    def __init__(self, shape: BlockShape, norm: str, bn_mode: str) -> None:
        mid, out = shape.mid_channels, shape.out_channels
        expand = None
        if shape.expands:
            expand = conv_norm(
                ElasticPointwise(shape.in_channels, mid), elastic_norm(mid, norm, bn_mode)
            )
        super().__init__(
            expand=expand,
            depthwise=conv_norm(
                ElasticDepthwise(mid, shape.kernel_size, shape.stride),
                elastic_norm(mid, norm, bn_mode),
            ),
            project=conv_norm(
                ElasticPointwise(mid, out), elastic_norm(out, norm, bn_mode), relu=False
            ),
            shortcut=ElasticPointwise(shape.in_channels, out),
            stride=shape.stride,
        )
        self.activate(shape)

    def activate(self, shape: BlockShape) -> None:
        """Run in this shape from now on."""
        if self.expand is not None:
            self.expand.conv.active_channels = shape.mid_channels
        self.depthwise.conv.active_kernel = shape.kernel_size
        self.project.conv.active_channels = shape.out_channels
        self.shortcut.active_channels = shape.out_channels
        self.uses_shortcut = shape.in_channels != shape.out_channels


def elastic_norm(channels: int, norm: str, bn_mode: str) -> nn.Module:
    """A norm for up to ``channels`` channels."""
    if norm == "batch":
        return ElasticBatchNorm2d(channels, bn_mode)
    return ElasticInstanceNorm2d()
