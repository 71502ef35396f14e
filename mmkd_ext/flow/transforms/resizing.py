"""Resizing a pair with its ground truth; dense and sparse flow behave differently.

Shapes: H, W pixels before, H', W' after. A scale is (x, y): the images become ``round(W * x)`` wide
and ``round(H * y)`` high, and the flow, being in pixels, is multiplied by it.
"""

from __future__ import annotations

import cv2
import numpy as np

Scale = tuple[float, float]


def resize_pair(results: dict, scale: Scale) -> None:
    """Resize all that is there, in place of the dict: images bilinearly, then the ground truth."""
    for name in ("img1", "img2"):
        results[name] = resize_bilinear(results[name], scale)
    if "gt_flow" not in results:
        return
    shape = results["img1"].shape[:2]
    flow, valid, occluded = (results.get(k) for k in ("gt_flow", "gt_valid", "gt_occluded"))
    if results["sparse"]:
        flow, valid, occluded = move_points(flow, valid, occluded, shape, scale)
    else:
        flow, valid = resize_dense(flow, valid, scale)
        if occluded is not None:
            occluded = resize_nearest(occluded, shape)
    results["gt_flow"], results["gt_valid"] = flow, valid
    if occluded is not None:
        results["gt_occluded"] = occluded


def resize_dense(
    flow: np.ndarray, valid: np.ndarray, scale: Scale
) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate a dense flow bilinearly, without unknown vectors.

    A pixel of the result is known where all pixels that it is interpolated from are (up to four;
    without the antialiasing that no flow wants). So the zeros that stand for unknown vectors never
    mix with known ones, and holes grow by less than a pixel of the coarser of both grids.

    Args:
        flow: (H, W, 2) float32.
        valid: (H, W) bool, where it is known.
        scale: (x, y).

    Returns:
        Flow (H', W', 2) float32, 0 where it is not known, and where it is known, (H', W') bool.
    """
    # Slightly below 1: a sum of rounded weights. At most this share of a vector is an unknown's.
    known = resize_bilinear(valid.astype(np.float32), scale) > 1 - 1e-5
    resized = resize_bilinear(flow, scale) * np.float32(scale)
    return np.where(known[..., None], resized, np.float32(0)), known


def move_points(
    flow: np.ndarray,
    valid: np.ndarray,
    occluded: np.ndarray | None,
    shape: tuple[int, int],
    scale: Scale,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Move each known vector of a sparse flow to the pixel nearest to its scaled coordinates.

    Nothing is interpolated. Of points that meet, the last in reading order stays; points in the
    first row or column of the result, or outside it, are dropped. This is the rule of RAFT's
    released code. Coordinates count from the centre of the top left pixel there, not from its
    corner as those of the resized images do: a known vector may lie up to ``|scale - 1| / 2``
    pixels, plus the rounding, beside its place.

    Args:
        flow: (H, W, 2) float32.
        valid: (H, W) bool, where it is known.
        occluded: (H, W) bool, or None.
        shape: (H', W').
        scale: (x, y).

    Returns:
        Flow (H', W', 2) float32, 0 where it is not known; where it is known, (H', W') bool; and
        which of these points are occluded, (H', W') bool, or None.
    """
    y, x = np.nonzero(valid)
    new_x, new_y = np.rint(x * scale[0]).astype(int), np.rint(y * scale[1]).astype(int)
    kept = (new_x > 0) & (new_x < shape[1]) & (new_y > 0) & (new_y < shape[0])
    old, new = (y[kept], x[kept]), (new_y[kept], new_x[kept])
    moved, known = np.zeros((*shape, 2), np.float32), np.zeros(shape, bool)
    moved[new] = flow[old] * np.float32(scale)
    known[new] = True
    if occluded is None:
        return moved, known, None
    hidden = np.zeros(shape, bool)
    hidden[new] = occluded[old]
    return moved, known, hidden


def resize_bilinear(image: np.ndarray, scale: Scale) -> np.ndarray:
    """Bilinear, edges repeated, not antialiased; (H, W) or (H, W, C) uint8 or float32."""
    # Factors instead of a size: OpenCV then samples with exactly the factors that the flow gets,
    # not with those that the rounded size amounts to.
    return cv2.resize(image, None, fx=scale[0], fy=scale[1], interpolation=cv2.INTER_LINEAR)


def resize_nearest(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A mask (H, W) bool at the size (H', W')."""
    size = (shape[1], shape[0])
    return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT) > 0
