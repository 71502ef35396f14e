"""Random transforms of a clip: one random state for the whole clip, or a new one for each frame."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform


class ClipTransform(BaseTransform):
    """Change images and masks alike.

    A subclass draws in :meth:`draw` whatever is random and applies it in :meth:`apply`. Numbers are
    drawn from numpy's and torch's global generators, which mmengine seeds in every worker.
    """

    per_frame = False  # True: draw anew for each frame

    def transform(self, results: dict) -> dict:
        """Replace ``imgs`` and ``masks``."""
        imgs, masks, drawn = [], [], None
        for image, mask in zip(results["imgs"], results["masks"], strict=True):
            if self.per_frame or not imgs:
                drawn = self.draw(image.shape[0], image.shape[1])
            image, mask = self.apply(image, mask, drawn)
            imgs.append(image)
            masks.append(mask)
        results["imgs"], results["masks"] = imgs, masks
        return results

    @abstractmethod
    def draw(self, height: int, width: int) -> Any:
        """Draw what is random, for frames of this size."""

    @abstractmethod
    def apply(
        self, image: np.ndarray, mask: np.ndarray, drawn: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Change one image, (H, W, 3) uint8, and its mask, (H, W) uint8, as was drawn."""
