"""Colours of a clip."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image
from torchvision.transforms import ColorJitter
from torchvision.transforms import functional as F

from mmkd_ext.registry import TRANSFORMS
from mmkd_ext.vos.transforms.base import ClipTransform


@TRANSFORMS.register_module()
class ClipColorJitter(ClipTransform):
    """Change brightness, contrast, saturation and hue of all frames by the same factors.

    The factors are drawn from ``1 - x .. 1 + x``, hue is moved by ``-x .. x`` turns; the order of
    the four is random, as in torchvision.

    Args:
        brightness: x of the brightness.
        contrast: x of the contrast.
        saturation: x of the saturation.
        hue: x of the hue, up to 0.5.
    """

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
    ) -> None:
        jitter = ColorJitter(brightness, contrast, saturation, hue)
        self.ranges = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)

    def draw(self, height: int, width: int) -> Any:
        """The order of the changes, and the factor of each (None: no change)."""
        order, *factors = ColorJitter.get_params(*self.ranges)
        return order.tolist(), factors

    def apply(
        self, image: np.ndarray, mask: np.ndarray, drawn: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Change the image."""
        changes = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        order, factors = drawn
        picture = Image.fromarray(image)
        for which in order:
            if factors[which] is not None:
                picture = changes[which](picture, factors[which])
        return np.array(picture), mask


@TRANSFORMS.register_module()
class FrameColorJitter(ClipColorJitter):
    """:class:`ClipColorJitter` with new factors for each frame."""

    per_frame = True


@TRANSFORMS.register_module()
class ClipRandomGrayscale(ClipTransform):
    """Turn all frames grey.

    Args:
        prob: Probability.
    """

    def __init__(self, prob: float = 0.05) -> None:
        self.prob = prob

    def draw(self, height: int, width: int) -> bool:
        """Whether to."""
        return np.random.random_sample() < self.prob

    def apply(
        self, image: np.ndarray, mask: np.ndarray, drawn: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Change the image."""
        if drawn:
            image = np.array(F.to_grayscale(Image.fromarray(image), num_output_channels=3))
        return image, mask
