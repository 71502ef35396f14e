"""Occlusion made by hand: parts of the second image vanish."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from mmkd_ext.flow.transforms.checks import check_probabilities, check_whole_pair
from mmkd_ext.registry import TRANSFORMS


@TRANSFORMS.register_module()
class FlowErase(BaseTransform):
    """Fill boxes of the second image with its mean colour.

    The flow of what they hide stays ground truth: the network learns to guess it from around. So
    does ``gt_occluded``, which speaks of the scene. A box starts at a uniformly drawn pixel, its
    width and height are drawn independently, and what reaches over the border is cut off.

    Source: RAFT (Teed and Deng, ECCV 2020), released code; the defaults are its values.

    Args:
        prob: Probability that there are boxes.
        sizes: (low, high) in pixels: ``low <= side < high``.
        max_boxes: 1 to so many boxes, each number equally likely.

    Raises:
        ValueError: Sizes that are not positive and ascending, no box, or no probability.
    """

    def __init__(
        self, prob: float = 0.5, sizes: Sequence[int] = (50, 100), max_boxes: int = 2
    ) -> None:
        check_probabilities("FlowErase", prob=prob)
        self.prob = prob
        self.sizes = check_whole_pair("FlowErase", "sizes", sizes, least=1)
        if self.sizes[0] >= self.sizes[1]:
            raise ValueError(f"FlowErase: sizes is (low, high) with low < high, not {sizes!r}")
        if max_boxes < 1:
            raise ValueError(f"FlowErase: max_boxes is at least 1, not {max_boxes!r}")
        self.max_boxes = max_boxes

    def transform(self, results: dict) -> dict:
        """Replace ``img2``."""
        if np.random.random_sample() >= self.prob:
            return results
        image = results["img2"].copy()
        mean = image.mean(axis=(0, 1)).astype(np.uint8)
        for _ in range(np.random.randint(1, self.max_boxes + 1)):
            top, left = np.random.randint(image.shape[:2])
            height, width = np.random.randint(*self.sizes, size=2)
            image[top : top + height, left : left + width] = mean
        results["img2"] = image
        return results
