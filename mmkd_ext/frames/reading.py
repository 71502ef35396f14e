"""Image files to arrays."""

from __future__ import annotations

import cv2
import numpy as np
from mmengine.fileio import get


def read_image(path: str) -> np.ndarray:
    """An image file, (H, W, 3) uint8 RGB.

    Raises:
        ValueError: There is no such file, or OpenCV cannot decode it.
    """
    try:
        content = np.frombuffer(get(path), np.uint8)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ValueError(f"{path}: there is no such image file") from error
    # An empty buffer is an error of OpenCV's own, which does not name the file.
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if image is None:
        raise ValueError(f"{path}: not an image that OpenCV can decode")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
