"""Colours of an image pair."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image
from torchvision.transforms import ColorJitter

from mmkd_ext.flow.transforms.checks import check_probabilities
from mmkd_ext.registry import TRANSFORMS


@TRANSFORMS.register_module()
class FlowColorJitter(BaseTransform):
    """Change brightness, contrast, saturation and hue of both images.

    The factors are drawn from ``1 - x .. 1 + x`` (not below 0), hue is moved by ``-x .. x`` turns;
    the order of the four is random, as in torchvision, which draws from torch's global generator.
    Symmetric: both images, stacked to one, get the same changes, so that contrast pulls towards the
    mean of the pair. Asymmetric: each image gets its own.

    Published (RAFT; Teed and Deng, ECCV 2020): 0.4, 0.4, 0.4 and 0.5 / 3.14 for dense ground truth;
    0.3, 0.3, 0.3 and 0.3 / 3.14, always symmetric, for sparse.

    Args:
        brightness: x of the brightness.
        contrast: x of the contrast.
        saturation: x of the saturation.
        hue: x of the hue, up to 0.5.
        asymmetric_prob: Probability of asymmetric changes.

    Raises:
        ValueError: A negative x, a hue above 0.5, or no probability.
    """

    def __init__(
        self,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.5 / 3.14,
        asymmetric_prob: float = 0.2,
    ) -> None:
        check_probabilities("FlowColorJitter", asymmetric_prob=asymmetric_prob)
        self.jitter = ColorJitter(brightness, contrast, saturation, hue)
        self.asymmetric_prob = asymmetric_prob

    def transform(self, results: dict) -> dict:
        """Replace ``img1`` and ``img2``."""
        if np.random.random_sample() < self.asymmetric_prob:
            for name in ("img1", "img2"):
                results[name] = self._changed(results[name])
        else:
            stack = self._changed(np.concatenate([results["img1"], results["img2"]]))
            results["img1"], results["img2"] = np.split(stack, 2)
        return results

    def _changed(self, image: np.ndarray) -> np.ndarray:
        return np.array(self.jitter(Image.fromarray(image)))
