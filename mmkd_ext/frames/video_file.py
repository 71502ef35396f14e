"""Frames of a video file, in the order in which a video is tested."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v")


def count_frames(path: str | Path) -> int:
    """How many frames can be decoded; the number in the file's header is often wrong.

    Raises:
        ValueError: The file cannot be opened, or holds none.
    """
    capture = _open(path)
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    if not count:
        raise ValueError(f"{path}: a video file without frames that OpenCV can decode")
    return count


class VideoFile:
    """One open video file, read forwards; going back starts anew.

    Seeking is inexact in most codecs, so frames between are decoded and thrown away. A file is
    opened in the process that reads it: what travels to a worker is the state of a closed one.
    """

    def __init__(self) -> None:
        self._path: str | None = None
        self._capture: Any = None
        self._position = 0  # of the frame that is read next

    def read(self, path: str | Path, index: int) -> np.ndarray:
        """Frame ``index``, (H, W, 3) uint8 RGB.

        Raises:
            ValueError: The file cannot be opened, or has fewer frames.
        """
        if str(path) != self._path or index < self._position:
            self.close()
            self._capture, self._path = _open(path), str(path)
        while self._position < index and self._capture.grab():
            self._position += 1
        done, frame = self._capture.read() if self._position == index else (False, None)
        if not done:
            raise ValueError(f"{path}: has no frame {index}, or it cannot be decoded")
        self._position += 1
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """Close the file."""
        if self._capture is not None:
            self._capture.release()
        self._path, self._capture, self._position = None, None, 0

    def __getstate__(self) -> dict:
        return {"_path": None, "_capture": None, "_position": 0}


def _open(path: str | Path) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise ValueError(f"{path}: OpenCV cannot open this video file")
    return capture
