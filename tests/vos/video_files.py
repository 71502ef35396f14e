"""Small videos on disk: bright squares that move over a dark gradient, and their masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from mmkd_ext.vos.masks import write_mask

LOAD_CLIP = [dict(type="mmkd_ext.LoadClip")]
PACK_CLIP = [dict(type="mmkd_ext.SelectObjects"), dict(type="mmkd_ext.PackClip")]
TEST_PIPELINE = [dict(type="mmkd_ext.LoadFrame"), dict(type="mmkd_ext.PackFrame")]
COLOURS = {
    1: (220, 40, 40),
    2: (40, 220, 40),
    3: (40, 40, 220),
    4: (220, 220, 40),
    7: (220, 40, 220),
}


class Square(NamedTuple):
    """A square of one id: its side, where it is in frame 0, how it moves, when it appears."""

    number: int
    side: int = 12
    place: tuple[int, int] = (4, 4)
    step: tuple[int, int] = (1, 2)
    begin: int = 0


TWO = [Square(1), Square(2, place=(30, 40), step=(-1, -2))]


def draw(t: int, shape: tuple[int, int], squares: list[Square]) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) and ids (H, W) of frame t; a later square hides an earlier one."""
    height, width = shape
    image = np.zeros((height, width, 3), np.uint8)
    image[:] = np.linspace(10, 90, width).astype(np.uint8)[None, :, None]
    ids = np.zeros(shape, np.uint8)
    for square in squares:
        if t >= square.begin:
            y, x = (p + t * s for p, s in zip(square.place, square.step, strict=True))
            part = (slice(y, y + square.side), slice(x, x + square.side))
            image[part], ids[part] = COLOURS[square.number], square.number
    return image, ids


def write_video(
    images: Path,
    masks: Path,
    squares: list[Square],
    length: int = 6,
    shape: tuple[int, int] = (48, 64),
    masked: range | list[int] | None = None,
    suffix: str = ".jpg",
) -> list[np.ndarray]:
    """Write a video and the masks of the frames ``masked`` (all by default); return all ids."""
    images.mkdir(parents=True)
    everything = []
    for t in range(length):
        image, ids = draw(t, shape, squares)
        Image.fromarray(image).save(images / f"{t:05d}{suffix}", quality=95)
        if masked is None or t in masked:
            write_mask(masks / f"{t:05d}.png", ids)
        everything.append(ids)
    return everything


def write_davis(
    root: Path, videos: dict[str, list[Square]], year: int = 2017, split: str = "val", **options
) -> dict[str, list[np.ndarray]]:
    """Write videos in the layout of DAVIS; return their ids."""
    ids = {
        name: write_video(
            root / "JPEGImages" / "480p" / name,
            root / "Annotations" / "480p" / name,
            squares,
            **options,
        )
        for name, squares in videos.items()
    }
    lists = root / "ImageSets" / str(year)
    lists.mkdir(parents=True, exist_ok=True)
    (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in videos))
    return ids


def write_meta(path: Path, videos: dict[str, dict[int, tuple[str, list[str]]]]) -> None:
    """Write a ``meta.json``: video -> id -> category and frames."""
    content = {
        name: {
            "objects": {
                str(number): {"category": category, "frames": frames}
                for number, (category, frames) in objects.items()
            }
        }
        for name, objects in videos.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"videos": content}))


def still(root: Path, group: str, name: str, colour: tuple, suffix: str = ".jpg") -> None:
    """Write an image of one object, and its mask of 0 and 255."""
    image = np.full((40, 60, 3), 30, np.uint8)
    image[10:22, 20:36] = colour
    mask = np.zeros((40, 60), np.uint8)
    mask[10:22, 20:36] = 255
    for folder, content, end in (("JPEGImages", image, suffix), ("Annotations", mask, ".png")):
        path = root / folder / group / f"{name}{end}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(content).save(path, **({"quality": 95} if end == ".jpg" else {}))


def write_mp4(path: Path, images: list[np.ndarray], fps: float = 25) -> None:
    """Write RGB images (H, W, 3) as a video file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = images[0].shape[:2]
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    assert video.isOpened()
    for image in images:
        video.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    video.release()
