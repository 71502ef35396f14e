"""Size, place and side of an image pair; images, flow and masks move together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmkd_ext.flow.transforms.checks import check_probabilities, check_whole_pair
from mmkd_ext.flow.transforms.resizing import resize_pair
from mmkd_ext.registry import TRANSFORMS

ARRAYS = ("img1", "img2", "gt_flow", "gt_valid", "gt_occluded")
# By so many pixels the image is larger than the crop at least, once it is resized (published).
DENSE_ROOM, SPARSE_ROOM = 8, 1


@TRANSFORMS.register_module()
class FlowResizeCrop(BaseTransform):
    """Resize a pair at random, then cut a random part of fixed size out of it.

    Dense ground truth (item's ``sparse`` is False): both sides scale by ``2^U(scale_range)``, and
    each, with ``stretch_prob``, by another ``2^U(-max_stretch, max_stretch)``. Flow is interpolated
    where all that it is interpolated from is known; see
    :func:`mmkd_ext.flow.transforms.resizing.resize_dense`.

    Sparse: no stretch; the known vectors move to the nearest pixels, see
    :func:`mmkd_ext.flow.transforms.resizing.move_points`. Offsets of the crop are drawn from a
    range that is larger than the image by ``sparse_margin`` and clamped, so that parts along the
    borders come often: at the bottom, where the ground truth of driving scenes is, left and right.

    No side becomes smaller than the crop plus 8 pixels (dense) or 1 pixel (sparse). An image that
    is smaller than the crop is enlarged to that, also where nothing else is resized.

    Source: RAFT (Teed and Deng, ECCV 2020), released code; the defaults are its values for
    FlyingChairs.

    Args:
        crop_size: (h, w) of the result in pixels.
        scale_range: Smallest and largest scale as powers of two.
        spatial_prob: Probability of resizing.
        stretch_prob: Probability that a pair which is resized is stretched, too.
        max_stretch: Largest stretch of a side as a power of two.
        sparse_margin: (y, x) in pixels.

    Raises:
        ValueError: An argument out of its range.
    """

    def __init__(
        self,
        crop_size: Sequence[int],
        scale_range: Sequence[float] = (-0.1, 1.0),
        spatial_prob: float = 0.8,
        stretch_prob: float = 0.8,
        max_stretch: float = 0.2,
        sparse_margin: Sequence[int] = (20, 50),
    ) -> None:
        owner = type(self).__name__
        check_probabilities(owner, spatial_prob=spatial_prob, stretch_prob=stretch_prob)
        if len(scale_range) != 2 or not -np.inf < scale_range[0] <= scale_range[1] < np.inf:
            raise ValueError(
                f"{owner}: scale_range is (smallest, largest) power of two, not {scale_range!r}"
            )
        if not 0 <= max_stretch < np.inf:
            raise ValueError(f"{owner}: max_stretch is a power of two from 0 on, not {max_stretch}")
        self.crop_size = check_whole_pair(owner, "crop_size", crop_size, least=1)
        self.sparse_margin = check_whole_pair(owner, "sparse_margin", sparse_margin, least=0)
        self.scale_range = tuple(scale_range)
        self.spatial_prob = spatial_prob
        self.stretch_prob = stretch_prob
        self.max_stretch = max_stretch

    def transform(self, results: dict) -> dict:
        """Replace the images and what there is of the ground truth."""
        scale = self._draw_scale(results["img1"].shape[:2], results["sparse"])
        if scale is not None:
            resize_pair(results, scale)
        top, left = self._draw_offset(results["img1"].shape[:2], results["sparse"])
        part = (slice(top, top + self.crop_size[0]), slice(left, left + self.crop_size[1]))
        for name in ARRAYS:
            if name in results:
                # A copy, so that the large array is not kept.
                results[name] = results[name][part].copy()
        return results

    def _draw_scale(self, shape: tuple[int, int], sparse: bool) -> tuple[float, float] | None:
        x = y = 1.0
        if np.random.random_sample() < self.spatial_prob:
            x = y = 2 ** np.random.uniform(*self.scale_range)
            if not sparse and np.random.random_sample() < self.stretch_prob:
                x *= 2 ** np.random.uniform(-self.max_stretch, self.max_stretch)
                y *= 2 ** np.random.uniform(-self.max_stretch, self.max_stretch)
        elif shape[0] >= self.crop_size[0] and shape[1] >= self.crop_size[1]:
            return None
        room = SPARSE_ROOM if sparse else DENSE_ROOM
        least = max((self.crop_size[axis] + room) / shape[axis] for axis in (0, 1))
        return max(x, least), max(y, least)

    def _draw_offset(self, shape: tuple[int, int], sparse: bool) -> tuple[int, int]:
        spare_y, spare_x = shape[0] - self.crop_size[0], shape[1] - self.crop_size[1]
        margin_y, margin_x = self.sparse_margin if sparse else (0, 0)
        top = np.random.randint(0, spare_y + margin_y + 1)
        left = np.random.randint(-margin_x, spare_x + margin_x + 1)
        return min(top, spare_y), min(max(left, 0), spare_x)


@TRANSFORMS.register_module()
class FlowRandomFlip(BaseTransform):
    """Mirror a pair left to right, upside down, or both; u or v changes its sign.

    The defaults are RAFT's for dense ground truth. For sparse ground truth it has no vertical flip,
    and no flip at all where only KITTI is learned. RAFT flips before it crops: after the crop it is
    the same distribution, and cheaper.

    Args:
        horizontal_prob: Probability of left to right.
        vertical_prob: Probability of upside down.

    Raises:
        ValueError: No probability.
    """

    def __init__(self, horizontal_prob: float = 0.5, vertical_prob: float = 0.1) -> None:
        check_probabilities(
            "FlowRandomFlip", horizontal_prob=horizontal_prob, vertical_prob=vertical_prob
        )
        self.horizontal_prob = horizontal_prob
        self.vertical_prob = vertical_prob

    def transform(self, results: dict) -> dict:
        """Replace the images and what there is of the ground truth."""
        for component, prob in enumerate((self.horizontal_prob, self.vertical_prob)):
            if np.random.random_sample() < prob:
                mirror(results, component)
        return results


def mirror(results: dict, component: int) -> None:
    """Mirror all that is there along x (0) or y (1) and negate that component of the flow."""
    for name in ARRAYS:
        if name in results:
            results[name] = np.flip(results[name], axis=1 - component).copy()
    if "gt_flow" in results:
        results["gt_flow"][..., component] *= -1
