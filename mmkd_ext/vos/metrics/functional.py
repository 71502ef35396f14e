"""Region similarity J and boundary accuracy F of DAVIS (Perazzi et al., CVPR 2016, section 4).

Figures agree with the official tool of DAVIS 2017. Shapes: H, W pixels; masks are those of one
object in one frame.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

TOLERANCE = 0.008  # of the image's diagonal: how far apart boundaries may lie


def region_similarity(pred: np.ndarray, gt: np.ndarray, void: np.ndarray | None = None) -> float:
    """Intersection over union; 1 where both masks are empty.

    Args:
        pred: (H, W) bool.
        gt: (H, W) bool.
        void: (H, W) bool, pixels that do not count; none by default.

    Raises:
        ValueError: The masks are not boolean, or of different shapes.
    """
    pred, gt = _checked(pred, gt, void)
    union = np.count_nonzero(pred | gt)
    return np.count_nonzero(pred & gt) / union if union else 1.0


def boundary_f_score(
    pred: np.ndarray,
    gt: np.ndarray,
    void: np.ndarray | None = None,
    tolerance: float = TOLERANCE,
) -> float:
    """Harmonic mean of the precision and the recall of the predicted boundary.

    Precision is the share of the predicted boundary's pixels within a distance of the true
    boundary, recall the share of the true one's near the predicted one; there is no one-to-one
    matching. The distance is ``ceil(tolerance * diagonal)`` pixels.

    Args:
        pred: (H, W) bool.
        gt: (H, W) bool.
        void: (H, W) bool, pixels that do not count; none by default.
        tolerance: Share of the image's diagonal.

    Raises:
        ValueError: The masks are not boolean, or of different shapes.
    """
    pred, gt = _checked(pred, gt, void)
    radius = math.ceil(tolerance * math.hypot(*pred.shape))
    ours, theirs = boundary(pred), boundary(gt)
    found, true = np.count_nonzero(ours), np.count_nonzero(theirs)
    if not found or not true:
        return 1.0 if found == true else 0.0
    # Dilation is the costly part; nothing farther away than the radius can matter.
    window = _window(ours | theirs, radius)
    ours, theirs = ours[window], theirs[window]
    precision = np.count_nonzero(ours & dilate(theirs, radius)) / found
    recall = np.count_nonzero(theirs & dilate(ours, radius)) / true
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def boundary(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask's boundary, (H, W) bool.

    Those which differ from their right, lower or lower right neighbour; in the last row only the
    right one counts, in the last column only the lower one.
    """
    edge = np.zeros_like(mask)
    edge[:, :-1] = mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return edge


def dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    """All pixels within a Euclidean distance of a mask's pixels, (H, W) bool."""
    offsets = np.arange(-radius, radius + 1)
    disk = np.square(offsets)[:, None] + np.square(offsets) <= radius**2
    return cv2.dilate(mask.astype(np.uint8), disk.astype(np.uint8)) > 0


def _window(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return tuple(slice(max(i[0] - margin, 0), i[-1] + margin + 1) for i in (rows, columns))


def _checked(
    pred: np.ndarray, gt: np.ndarray, void: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    for name, mask in (("pred", pred), ("gt", gt), ("void", void)):
        if mask is None:
            continue
        if mask.dtype != bool or mask.ndim != 2 or mask.shape != gt.shape:
            raise ValueError(
                f"{name} is {mask.dtype} of shape {mask.shape}, but masks are boolean, (H, W), and "
                f"of one size (gt: {gt.shape}); compare with an object's id first: mask == 1"
            )
    return (pred, gt) if void is None else (pred & ~void, gt & ~void)
