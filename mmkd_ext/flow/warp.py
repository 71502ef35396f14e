"""Moving the second image back onto the first: a check of flow without ground truth."""

from __future__ import annotations

import cv2
import numpy as np


def warp(image2: np.ndarray, flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Look up, for each pixel of image 1, where the flow says that image 2 has it.

    If the flow is right the result looks like image 1, except at what image 2 does not show: there
    the content of what lies in front appears a second time.

    Args:
        image2: (H, W, 3) uint8.
        flow: (H, W, 2) in pixels, from image 1 to image 2.

    Returns:
        The warped image (H, W, 3) uint8, bilinearly interpolated and 0 outside, and a mask (H, W)
        bool of the pixels whose vector points outside image 2.

    Raises:
        ValueError: Shapes that do not fit, or NaN or infinity in the flow.
    """
    image2, flow = np.asarray(image2), np.asarray(flow, np.float32)
    if image2.ndim != 3 or image2.shape[2] != 3 or image2.dtype != np.uint8:
        raise ValueError(f"warp: image2 is (H, W, 3) uint8, not {image2.shape} {image2.dtype}")
    height, width = image2.shape[:2]
    if flow.shape != (height, width, 2):
        raise ValueError(
            f"warp: the flow is (H, W, 2) = {(height, width, 2)} as the image is, not {flow.shape}"
        )
    if not np.isfinite(flow).all():
        raise ValueError("warp: the flow holds NaN or infinity")
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x, y = columns + flow[..., 0], rows + flow[..., 1]
    outside = (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)
    # OpenCV's coordinates overflow; what lies outside is blackened anyway.
    x, y = x.clip(0, width - 1), y.clip(0, height - 1)
    warped = cv2.remap(image2, x, y, cv2.INTER_LINEAR)
    warped[outside] = 0
    return warped, outside
