"""Thin-plate splines: each frame bent in its own way, as soft bodies bend.

Shapes: H, W pixels; G control points (a grid of 4 x 4). Coordinates are (x, y) in [-1, 1], -1 and 1
being the outer edges of the frame.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmkd_ext.registry import TRANSFORMS
from mmkd_ext.vos.transforms.base import ClipTransform

SIDE = 4


@TRANSFORMS.register_module()
class FrameTPS(ClipTransform):
    """Move the inner control points of each frame at random; the border stays.

    What is looked up outside the frame is black, and background in the mask.

    Args:
        margin: Each coordinate moves by ``-margin / 2 .. margin / 2`` of half a side.
        prob: Probability that a frame is bent.
    """

    per_frame = True

    def __init__(self, margin: float = 0.25, prob: float = 1.0) -> None:
        self.margin = margin
        self.prob = prob

    def draw(self, height: int, width: int) -> Tensor | None:
        """Where each control point is looked up, (G, 2); None for no change."""
        if np.random.random_sample() >= self.prob:
            return None
        inner = SIDE - 2
        moved = control_points().view(SIDE, SIDE, 2).clone()
        moved[1:-1, 1:-1] += (torch.rand(inner, inner, 2) - 0.5) * self.margin
        return moved.view(-1, 2)

    def apply(
        self, image: np.ndarray, mask: np.ndarray, drawn: Tensor | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Bend one frame."""
        if drawn is None:
            return image, mask
        height, width = mask.shape
        grid = (tps_weights(height, width) @ drawn).view(1, height, width, 2)
        planes = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        ids = torch.from_numpy(mask)[None, None].float()
        bent = F.grid_sample(planes, grid, mode="bilinear", align_corners=False)
        ids = F.grid_sample(ids, grid, mode="nearest", align_corners=False)
        picture = bent[0].round_().to(torch.uint8).permute(1, 2, 0).contiguous()
        return picture.numpy(), ids[0, 0].to(torch.uint8).numpy()


def control_points() -> Tensor:
    """The points at rest, (G, 2), row by row."""
    ticks = torch.linspace(-1, 1, SIDE)
    y, x = torch.meshgrid(ticks, ticks, indexing="ij")
    return torch.stack([x, y], dim=-1).view(-1, 2)


@lru_cache(maxsize=4)
def tps_weights(height: int, width: int) -> Tensor:
    """What each control point contributes to each pixel, (H W, G) float32.

    The spline through values at the control points is linear in them, so that with points at rest
    in fixed places a frame size has one matrix: ``tps_weights(h, w) @ values`` is the spline at the
    pixels' centres. Kernel ``d^2 log d^2`` (Bookstein 1989, up to a factor of 2), plus an affine
    part; solved in float64.
    """
    rest = control_points().double()
    count = len(rest)
    system = torch.zeros(count + 3, count + 3, dtype=torch.float64)
    affine = torch.cat([torch.ones(count, 1, dtype=torch.float64), rest], dim=1)
    system[:count, :count] = _kernel(rest, rest)
    system[:count, count:] = affine
    system[count:, :count] = affine.T
    y = (torch.arange(height, dtype=torch.float64) * 2 + 1) / height - 1
    x = (torch.arange(width, dtype=torch.float64) * 2 + 1) / width - 1
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    pixels = torch.stack([columns, rows], dim=-1).view(-1, 2)
    basis = torch.cat([_kernel(pixels, rest), torch.ones(len(pixels), 1), pixels], dim=1)
    return (basis @ torch.linalg.inv(system)[:, :count]).float()


def _kernel(points: Tensor, centres: Tensor) -> Tensor:
    squared = (points[:, None] - centres[None]).square().sum(dim=-1)
    return squared * torch.log(squared + 1e-9)
