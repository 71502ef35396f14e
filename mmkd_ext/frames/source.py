"""Frames of one video, from wherever they come, one at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmkd_ext.frames.files import IMAGE_SUFFIXES, frame_files
from mmkd_ext.frames.reading import read_image
from mmkd_ext.frames.video_file import VIDEO_SUFFIXES


@dataclass
class FrameSource:
    """A video that is open.

    Attributes:
        video: Its name; '' for an iterable.
        frames: Name and image (H, W, 3) uint8 RGB of each frame, to be gone through once.
        names: Of the frames, where they are known before they are read: in folders.
        total: How many there are, as far as one can tell before.
        fps: Frames per second, where the file says.
    """

    video: str
    frames: Iterator[tuple[str, np.ndarray]]
    names: list[str] | None = None
    total: int | None = None
    fps: float | None = None


def open_frames(frames: Any) -> FrameSource:
    """Open a video and read its first frame.

    Args:
        frames: A folder of images, a video file, or an iterable of (H, W, 3) uint8 RGB or of image
            files.

    Raises:
        ValueError: There are no frames, or they cannot be read.
    """
    if isinstance(frames, (str, PathLike)):
        path = Path(frames).expanduser()
        if path.is_dir():
            return _open_folder(path)
        if path.is_file():
            return _open_file(path)
        raise ValueError(f"{path}: there is neither a folder of frames nor a video file")
    if not isinstance(frames, Iterable):
        raise ValueError(
            "frames is a folder, a video file or an iterable of images (H, W, 3) uint8 RGB, not "
            f"{type(frames).__name__}"
        )
    total = len(frames) if hasattr(frames, "__len__") else None
    images = (_named(index, image) for index, image in enumerate(frames))
    return _begun("frames: the iterable holds no frames", "", images, total=total)


def _named(index: int, image: Any) -> tuple[str, Any]:
    """An item of an iterable: a file is called by its name, an array by its number."""
    if isinstance(image, (str, PathLike)):
        return Path(image).stem, read_image(str(image))
    return f"{index:05d}", image


def check_image(image: Any, where: str) -> np.ndarray:
    """The image, if it is (H, W, 3) uint8.

    Raises:
        ValueError: It is not.
    """
    shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", type(image).__name__)
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"{where}: an image is a numpy array (H, W, 3) uint8 RGB, not "
            f"{dtype}{'' if shape is None else f' of shape {tuple(shape)}'}"
        )
    if image.dtype != np.uint8:
        raise ValueError(f"{where}: an image is uint8, 0 to 255, not {dtype}")
    return image


def _open_folder(path: Path) -> FrameSource:
    files = frame_files(path)
    names = [entry.stem for entry in files]
    empty = f"{path}: a folder without frames; there is no image ({', '.join(IMAGE_SUFFIXES)})"
    images = ((entry.stem, read_image(str(entry))) for entry in files)
    return _begun(empty, path.resolve().name, images, names=names, total=len(names))


def _open_file(path: Path) -> FrameSource:
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise ValueError(f"{path}: not a video file ({', '.join(VIDEO_SUFFIXES)})")
    capture = cv2.VideoCapture(str(path))
    unreadable = f"{path}: OpenCV cannot read this video file; is it complete?"
    if not capture.isOpened():
        raise ValueError(unreadable)
    total, fps = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    return _begun(
        unreadable,
        path.stem,
        _decoded(capture),
        total=int(total) if total > 0 else None,  # of the header, which may be wrong
        fps=fps if 0 < fps < 1000 else None,
    )


def _decoded(capture: cv2.VideoCapture) -> Iterator[tuple[str, np.ndarray]]:
    try:
        for index in itertools.count():
            done, image = capture.read()
            if not done:
                return
            yield f"{index:05d}", cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def _begun(
    empty: str, video: str, images: Iterator[tuple[str, np.ndarray]], **known: Any
) -> FrameSource:
    first = next(images, None)
    if first is None:
        raise ValueError(empty)
    check_image(first[1], "frame 0")
    return FrameSource(video, itertools.chain([first], images), **known)
