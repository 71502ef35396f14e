"""Mask files to arrays."""

from __future__ import annotations

import numpy as np

from mmkd_ext.vos.masks import merge_objects, read_mask


def read_ids(path: str, shape: tuple[int, int], merge: bool) -> np.ndarray:
    """A mask file, (H, W) uint8; with ``merge`` all objects are object 1."""
    mask = read_mask(path, shape)
    return merge_objects(mask) if merge else mask
