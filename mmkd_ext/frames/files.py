"""Images in folders."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm")


def frame_files(folder: Path) -> list[Path]:
    """The images of a folder, in the natural order of their names; hidden files are none.

    Raises:
        ValueError: Two images have one name, such as ``1.jpg`` and ``1.png``.
    """
    files = [path for path in folder.iterdir() if is_image(path)]
    files.sort(key=lambda path: natural(path.name))
    twice = [name for name, count in Counter(path.stem for path in files).items() if count > 1]
    if twice:
        raise ValueError(f"{folder}: several images are called {twice[0]}; a frame is one image")
    return files


def is_image(path: Path) -> bool:
    """Whether a file is an image, by its name."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def natural(name: str) -> list:
    """A sort key which puts frame10 after frame9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
