"""Masks of object ids: how they are read and written, and what is refused.

A mask is an indexed PNG, one id a pixel: 0 = background, 255 = void, else an object. The colours of
its palette mean nothing. Read with Pillow: OpenCV would answer with the colours.

Shapes: H, W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from mmengine.fileio import get
from mmengine.logging import print_log
from PIL import Image, UnidentifiedImageError

from mmkd_ext.atomic_file import replacing

VOID = 255
CROWD = 16  # more ids than this in one mask are looked at closely: they may be grey levels
SLACK = 2  # pixels by which the sides of mask and frame may differ: somebody rounded otherwise
INDEX_MODES = ("P", "L", "1")
_warned: set[str] = set()  # folders: a video with such masks is one line in the log

Palette = Sequence[Sequence[int]]


@lru_cache(maxsize=1)
def davis_palette() -> tuple[tuple[int, int, int], ...]:
    """The 256 colours of DAVIS, which are PASCAL VOC's: black, dark red, dark green, ..."""
    palette = []
    for index in range(256):
        red_green_blue = [0, 0, 0]
        for bit in range(
            8
        ):  # three bits of the index give one bit of each channel, high ones first
            for channel in range(3):
                red_green_blue[channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
        palette.append(tuple(red_green_blue))
    return tuple(palette)


YOUTUBE_VOS_PALETTE = (
    (0, 0, 0),
    (236, 95, 103),
    (249, 145, 87),
    (250, 200, 99),
    (153, 199, 148),
    (98, 179, 178),
    (102, 153, 204),
    (197, 148, 197),
    (171, 121, 103),
    (255, 255, 255),
    (101, 115, 126),
)


def read_mask(path: str | Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Read the ids of a mask file, (H, W) uint8.

    Args:
        path: An indexed or greyscale PNG; anything that mmengine's file clients can fetch.
        shape: (H, W) of the frame. A mask that is up to two pixels larger or smaller is brought to
            it by nearest-neighbour resizing, with one warning a folder.

    Raises:
        ValueError: The file is no mask (RGB, lossy, 16-bit), its edges are antialiased, or its size
            is not the frame's.
    """
    ids = _index_image(path)
    if _antialiased(ids):
        raise ValueError(
            f"{path}: no mask of ids but one with soft edges: "
            f"{len(np.unique(ids))} grey levels, most of them on thin lines only. Threshold it, or "
            "export it without antialiasing."
        )
    return ids if shape is None else _fitted(ids, shape, path)


def read_binary_mask(path: str | Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Read a mask of one object, (H, W) bool: of salient objects, say, soft edges allowed.

    The object is what is above half of white where the file has grey levels above 127, else
    (indices 0 and 1) what is not 0.

    Raises:
        ValueError: The file is RGB, lossy or 16-bit, or its size is not the frame's.
    """
    levels = _index_image(path)
    levels = levels if shape is None else _fitted(levels, shape, path)
    return levels > (127 if levels.max(initial=0) > 127 else 0)


def read_palette(path: str | Path) -> tuple[tuple[int, int, int], ...] | None:
    """The palette of an indexed PNG, R, G, B of 0..255 each; None for one without."""
    with Image.open(BytesIO(get(str(path)))) as image:
        colours = image.getpalette() if image.mode == "P" else None
    return colours and tuple(zip(colours[::3], colours[1::3], colours[2::3], strict=True))


def write_mask(path: str | Path, ids: np.ndarray, palette: Palette | None = None) -> None:
    """Write ids as an indexed PNG, all or nothing; missing folders are made.

    Args:
        path: Where to.
        ids: (H, W) uint8.
        palette: Up to 256 RGB colours of 0..255; DAVIS's by default.

    Raises:
        ValueError: ``ids`` is not (H, W) uint8.
    """
    if ids.ndim != 2 or ids.dtype != np.uint8:
        raise ValueError(f"{path}: a mask is (H, W) uint8, not {ids.shape} {ids.dtype}")
    image = Image.fromarray(np.ascontiguousarray(ids))
    colours = [level for colour in palette or davis_palette() for level in colour]
    image.putpalette(colours + [0] * (768 - len(colours)))  # turns it into mode P
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(Path(path), durable=False) as file:
        image.save(file, format="PNG")


def object_ids(mask: np.ndarray) -> list[int]:
    """The ids of the objects in a mask, without background and void, ascending."""
    return [int(value) for value in np.unique(mask) if value not in (0, VOID)]


def keep_ids(mask: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    """The mask with all other ids, void too, turned into background."""
    kept = np.zeros(256, dtype=np.uint8)
    kept[list(ids)] = list(ids)
    return kept[mask]


def merge_objects(mask: np.ndarray) -> np.ndarray:
    """The mask of one object made of all of them; 255 is an object here (DAVIS 2016: 0 and 255)."""
    return (mask > 0).astype(np.uint8)


def _index_image(path: str | Path) -> np.ndarray:
    try:
        with Image.open(BytesIO(get(str(path)))) as image:
            if image.mode not in INDEX_MODES or image.format == "JPEG":
                kind = "a JPEG" if image.format == "JPEG" else f"an image of mode {image.mode}"
                raise ValueError(
                    f"{path}: {kind} is no mask of ids. Masks are indexed or 8-bit greyscale PNGs "
                    "with one id a pixel; map the colours to ids first."
                )
            return np.array(image, dtype=np.uint8)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: not an image that Pillow can read ({error})") from None


def _antialiased(ids: np.ndarray) -> bool:
    """Whether the grey levels of soft edges pass for ids: most of them fill no 2x2 square."""
    values = np.flatnonzero(np.bincount(ids.ravel(), minlength=256))
    objects = values[(values != 0) & (values != VOID)]
    if not len(objects) or (values[-1] != VOID and len(objects) <= CROWD):
        return False
    same = (ids[1:, 1:] == ids[:-1, :-1]) & (ids[1:, 1:] == ids[1:, :-1])
    same &= ids[1:, 1:] == ids[:-1, 1:]
    filled = np.bincount(ids[1:, 1:][same], minlength=256) > 0
    return 2 * int(filled[objects].sum()) < len(objects)


def _fitted(ids: np.ndarray, shape: tuple[int, int], path: str | Path) -> np.ndarray:
    if ids.shape == tuple(shape):
        return ids
    sizes = f"{ids.shape[1]}x{ids.shape[0]}, its frame {shape[1]}x{shape[0]}"
    if any(abs(a - b) > SLACK for a, b in zip(ids.shape, shape, strict=True)):
        raise ValueError(
            f"{path}: the mask is {sizes}. Resize it, or use the frames it belongs to."
        )
    folder = str(Path(path).parent)
    if folder not in _warned:
        _warned.add(folder)
        print_log(
            f"{path}: the mask is {sizes} (width x height); masks of this folder are resized to "
            "their frames",
            logger="current",
            level=30,
        )
    resized = Image.fromarray(ids).resize((shape[1], shape[0]), Image.Resampling.NEAREST)
    return np.array(resized)
