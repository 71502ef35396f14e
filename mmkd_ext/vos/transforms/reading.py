"""Image and mask files to arrays."""

from __future__ import annotations

import mmcv
import numpy as np
from mmengine.fileio import get

from mmkd_ext.vos.masks import merge_objects, read_mask


def read_image(path: str) -> np.ndarray:
    """An image file, (H, W, 3) uint8 RGB.

    Raises:
        ValueError: OpenCV cannot decode it.
    """
    image = mmcv.imfrombytes(get(path), flag="color", channel_order="rgb", backend="cv2")
    if image is None:
        raise ValueError(f"{path}: not an image that OpenCV can decode")
    return image


def read_ids(path: str, shape: tuple[int, int], merge: bool) -> np.ndarray:
    """A mask file, (H, W) uint8; with ``merge`` all objects are object 1."""
    mask = read_mask(path, shape)
    return merge_objects(mask) if merge else mask
