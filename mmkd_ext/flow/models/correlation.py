"""Correlation of two feature maps, looked up around moving points.

Shapes: B pairs, C channels, h, w = feature maps' height and width, N = h w, L levels, r radius,
K = 2 r + 1. Points are (x, y) in pixels of the feature maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmkd_ext.precision import at_least_float32, full_precision
from mmkd_ext.registry import MODELS

GIB = 2**30
METHODS = ("auto", "all_pairs", "on_demand")


@MODELS.register_module()
class Correlation(nn.Module):
    """Scaled inner products of features, over a pyramid of the second map.

    Level l is the correlation with the second map averaged over 2^l x 2^l pixels. Two ways lead to
    the same figures: the volume of all pairs, O(N^2) memory, in which is looked up; or the products
    that a lookup asks for, computed when it does, O(N) memory. Everything is computed in float32
    at least.

    Source: Teed and Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020,
    arXiv:2003.12039, section 3.2 and "Efficient Computation for High Resolution Images".

    Args:
        dim: C; filled in by :class:`~mmkd_ext.flow.models.raft.RAFT`.
        levels: L. A side of one pixel is not averaged any further, so that small images work.
        radius: r.
        method: ``'all_pairs'``, ``'on_demand'``, or ``'auto'``: all pairs as long as the volume is
            not larger than ``max_volume``.
        metric: Config of what the first features go through, such as
            ``dict(type='LearnableCostVolume')``; None: the plain inner product.
        max_volume: GiB that the volume of a batch may take.
        max_chunk: GiB that the features gathered at once may take, for ``'on_demand'``.

    Raises:
        ValueError: Numbers below 1, or an unknown method.
    """

    def __init__(
        self,
        dim: int,
        levels: int = 4,
        radius: int = 4,
        method: Literal["auto", "all_pairs", "on_demand"] = "auto",
        metric: Mapping[str, Any] | None = None,
        max_volume: float = 2.0,
        max_chunk: float = 0.125,
    ) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("levels", levels), ("radius", radius)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"Correlation: {name} is an integer >= 1, not {value!r}")
        for name, value in (("max_volume", max_volume), ("max_chunk", max_chunk)):
            if not value > 0:
                raise ValueError(f"Correlation: {name} is a number of GiB above 0, not {value!r}")
        if method not in METHODS:
            raise ValueError(f"Correlation: method is one of {', '.join(METHODS)}, not {method!r}")
        self.dim, self.levels, self.radius = dim, levels, radius
        self.method, self.max_volume, self.max_chunk = method, max_volume, max_chunk
        self.metric = None if metric is None else MODELS.build({"dim": dim, **metric})

    @property
    def out_channels(self) -> int:
        """Channels of a lookup, L K^2."""
        return self.levels * (2 * self.radius + 1) ** 2

    def volume_bytes(self, batch_size: int, height: int, width: int) -> int:
        """Bytes of the volume of all pairs with its pyramid, for maps of h x w, in float32."""
        sizes = level_sizes(height, width, self.levels)
        return 4 * batch_size * height * width * sum(h * w for h, w in sizes)

    def forward(self, first: Tensor, second: Tensor) -> AllPairs | OnDemand:
        """Compare two maps, (B, C, h, w) each.

        Returns:
            What can be looked up in: ``lookup(points)``, (B, 2, h, w) -> (B, L K^2, h, w). Channel
            (l K + a) K + b is level l at offset (a - r, b - r), x before y.

        Raises:
            ValueError: Shapes that differ, or other channels than ``dim``.
        """
        if first.ndim != 4 or first.shape != second.shape or first.shape[1] != self.dim:
            raise ValueError(
                f"Correlation({self.dim}) takes two maps (B, {self.dim}, h, w) of one shape, not "
                f"{tuple(first.shape)} and {tuple(second.shape)}"
            )
        with full_precision(first):
            first, second = at_least_float32(first), at_least_float32(second)
            if self.metric is not None:
                first = self.metric(first)
            first = first / self.dim**0.5
            if self._all_pairs(first):
                return AllPairs(first, second, self.levels, self.radius)
            return OnDemand(first, second, self.levels, self.radius, self.max_chunk * GIB)

    def _all_pairs(self, feature: Tensor) -> bool:
        if self.method != "auto":
            return self.method == "all_pairs"
        batch_size, _, height, width = feature.shape
        return self.volume_bytes(batch_size, height, width) <= self.max_volume * GIB


class AllPairs:
    """The volume of all pairs and its pyramid, to be looked up in.

    Args:
        first: (B, C, h, w), already scaled.
        second: The same.
        levels: L.
        radius: r.
    """

    def __init__(self, first: Tensor, second: Tensor, levels: int, radius: int) -> None:
        batch_size, _, height, width = first.shape
        products = first.flatten(2).transpose(1, 2) @ second.flatten(2)  # (B, N, N)
        volume = products.view(batch_size * height * width, 1, height, width)
        self.pyramid = pool_levels(volume, levels)
        offsets = torch.arange(-radius, radius + 1, device=first.device, dtype=first.dtype)
        pair = torch.meshgrid(offsets, offsets, indexing="ij")
        self.window = torch.stack(pair, dim=-1)  # (K, K, 2), [a, b] = (x, y) offset

    def lookup(self, points: Tensor) -> Tensor:
        """See :meth:`Correlation.forward`."""
        batch_size, _, height, width = points.shape
        with full_precision(points):
            centres = points.permute(0, 2, 3, 1).reshape(-1, 1, 1, 2)
            found = []
            for level, volume in enumerate(self.pyramid):
                size = centres.new_tensor([volume.shape[3], volume.shape[2]])
                # Of corners, not of centres: that also holds where a side has one pixel only.
                grid = (2 * (centres / 2**level + self.window) + 1) / size - 1
                values = F.grid_sample(volume, grid, mode="bilinear", align_corners=False)
                found.append(values.view(batch_size, height, width, -1))
            return torch.cat(found, dim=-1).permute(0, 3, 1, 2).contiguous()


class OnDemand:
    """The second map's pyramid; products are computed when they are looked up.

    All K^2 points of a window lie equally far from the pixels around them. So the products with
    (K + 1)^2 whole pixels are enough, and are then interpolated. Pixels are taken in chunks, which
    the backward pass computes once more.

    Args:
        first: (B, C, h, w), already scaled.
        second: The same.
        levels: L.
        radius: r.
        max_bytes: What the gathered features of a chunk may take.
    """

    def __init__(
        self, first: Tensor, second: Tensor, levels: int, radius: int, max_bytes: float
    ) -> None:
        self.radius = radius
        self.queries = first.flatten(2).transpose(1, 2)  # (B, N, C)
        pyramid = pool_levels(second, levels)
        self.sizes = [tuple(level.shape[2:]) for level in pyramid]
        self.pyramid = [level.flatten(2).transpose(1, 2).contiguous() for level in pyramid]
        batch_size, channels = first.shape[:2]
        taken = batch_size * channels * (2 * radius + 2) ** 2 * first.element_size()  # a pixel
        self.chunk = max(1, int(max_bytes // taken))

    def lookup(self, points: Tensor) -> Tensor:
        """See :meth:`Correlation.forward`."""
        height, width = points.shape[2:]
        with full_precision(points):
            centres = points.flatten(2).transpose(1, 2)  # (B, N, 2)
            levels = [
                self._level(centres / 2**level, rows, size)
                for level, (rows, size) in enumerate(zip(self.pyramid, self.sizes, strict=True))
            ]
            found = torch.cat(levels, dim=2)  # (B, N, L K^2)
            return found.transpose(1, 2).unflatten(2, (height, width)).contiguous()

    def _level(self, centres: Tensor, rows: Tensor, size: tuple[int, int]) -> Tensor:
        keep = torch.is_grad_enabled() and (self.queries.requires_grad or rows.requires_grad)
        parts = []
        for begin in range(0, centres.shape[1], self.chunk):
            part = slice(begin, begin + self.chunk)
            args = self.queries[:, part], rows, centres[:, part], size, self.radius
            if keep:
                parts.append(checkpoint(window_products, *args, use_reentrant=False))
            else:
                parts.append(window_products(*args))
        return torch.cat(parts, dim=1)


def window_products(
    queries: Tensor, rows: Tensor, centres: Tensor, size: tuple[int, int], radius: int
) -> Tensor:
    """Inner products of features with those in a window, bilinearly interpolated, 0 outside.

    Args:
        queries: (B, M, C).
        rows: (B, h w, C), the map that is looked up in.
        centres: (B, M, 2), where, (x, y).
        size: h, w.
        radius: r.

    Returns:
        (B, M, K^2), x offset before y offset.
    """
    (height, width), side = size, 2 * radius + 2
    batch_size, count, channels = queries.shape
    corner = centres.floor()
    share = centres - corner  # (B, M, 2) in [0, 1)
    steps = torch.arange(-radius, radius + 2, device=rows.device)
    # Far outside is outside; and NaN becomes a number, though its share stays NaN.
    corner = corner.clamp(-(2**20), 2**20).long()
    x, y = corner[..., :1] + steps, corner[..., 1:] + steps  # (B, M, K + 1)
    inside = ((y >= 0) & (y < height))[..., :, None] & ((x >= 0) & (x < width))[..., None, :]
    places = y.clamp(0, height - 1)[..., :, None] * width + x.clamp(0, width - 1)[..., None, :]
    first = torch.arange(batch_size, device=rows.device).view(-1, 1, 1, 1) * (height * width)
    gathered = rows.reshape(-1, channels).index_select(0, (places + first).flatten())
    products = torch.bmm(
        gathered.view(batch_size * count, side * side, channels),
        queries.reshape(batch_size * count, channels, 1),
    ).view(batch_size, count, side, side)
    products = products * inside
    u, v = share[..., 0, None, None], share[..., 1, None, None]
    across = (1 - u) * products[..., :-1] + u * products[..., 1:]
    found = (1 - v) * across[..., :-1, :] + v * across[..., 1:, :]  # (B, M, K, K), y before x
    return found.transpose(2, 3).flatten(2)


def pool_levels(maps: Tensor, levels: int) -> list[Tensor]:
    """A pyramid of (B, C, h, w), each level the one before averaged over 2 x 2 pixels."""
    pyramid = [maps]
    for _ in range(levels - 1):
        kernel = tuple(min(2, side) for side in pyramid[-1].shape[2:])
        pyramid.append(F.avg_pool2d(pyramid[-1], kernel_size=kernel, stride=kernel))
    return pyramid


def level_sizes(height: int, width: int, levels: int) -> list[tuple[int, int]]:
    """Height and width of the levels of :func:`pool_levels`."""
    return [(max(1, height >> level), max(1, width >> level)) for level in range(levels)]
