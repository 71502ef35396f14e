"""Tiny datasets of optical flow, laid out as the real ones.

Sequence ``number`` shows a smooth texture. From frame t to t + 1 all of it moves by (t + 1, -number)
pixels, so a flow field tells which pair it belongs to.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmkd_ext.flow.formats import write_flow

SHAPE = (24, 32)
LOAD = [dict(type="mmkd_ext.LoadFlowPair"), dict(type="mmkd_ext.LoadFlowAnnotations")]
PIPELINE = [*LOAD, dict(type="mmkd_ext.PackFlowInputs")]
QUICK = dict(serialize_data=False)  # mmengine collects garbage for each dataset that is serialised


def image(number: int, t: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Frame t of a sequence, (H, W, 3) uint8 RGB."""
    right, down = t * (t + 1) / 2, -number * t
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    y, x = y - down, x - right
    channels = [
        127.5
        + 60 * np.sin(0.23 * x + 0.11 * y + c + number)
        + 40 * np.sin(0.07 * x - 0.31 * y + 2 * c)
        + 20 * np.sin(0.53 * x + 0.47 * y + 3 * c)
        for c in range(3)
    ]
    return np.stack(channels, axis=2).round().astype(np.uint8)


def flow(
    number: int, t: int, shape: tuple[int, int] = SHAPE, direction: str = "future"
) -> np.ndarray:
    """Flow from frame t to the next, or the previous one, (H, W, 2) float32."""
    vector = (t + 1, -number) if direction == "future" else (-t, number)
    return np.broadcast_to(np.float32(vector), (*shape, 2)).copy()


def write_image(path: Path, rgb: np.ndarray) -> None:
    """Write an image (H, W, 3) RGB, or a mask (H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), rgb[..., ::-1] if rgb.ndim == 3 else rgb)


def write_chairs(
    root: Path,
    splits: Sequence[int] = (1, 1, 2),
    shape: tuple[int, int] = SHAPE,
    suffix: str = ".ppm",
    occlusions: bool = False,
) -> None:
    """FlyingChairs: pair n (from 1) is frames 0, 1 of sequence n; ``splits`` is its split file."""
    for n in range(1, len(splits) + 1):
        for t in (0, 1):
            write_image(root / "data" / f"{n:05d}_img{t + 1}{suffix}", image(n, t, shape))
        write_flow(root / "data" / f"{n:05d}_flow.flo", flow(n, 0, shape))
        if occlusions:
            write_image(root / "data" / f"{n:05d}_occ1.png", left_column(shape))
    (root / "FlyingChairs_train_val.txt").write_text("".join(f"{value}\n" for value in splits))


def left_column(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """A mask that is 255 in the left column."""
    mask = np.zeros(shape, np.uint8)
    mask[:, 0] = 255
    return mask


def top_row(shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """A mask that is 255 in the top row."""
    mask = np.zeros(shape, np.uint8)
    mask[0] = 255
    return mask


def write_things(
    root: Path,
    scenes: Sequence[str] = ("A/0000", "B/0003"),
    frames: range = range(6, 10),
    split: str = "TRAIN",
    cameras: Sequence[str] = ("left", "right"),
    passes: Sequence[str] = ("clean", "final"),
) -> None:
    """FlyingThings3D; the scenes are sequences 0, 1, ..."""
    for number, scene in enumerate(scenes):
        for camera in cameras:
            for t in frames:
                for name in passes:
                    folder = root / f"frames_{name}pass" / split / scene / camera
                    write_image(folder / f"{t:04d}.png", image(number, t))
                for direction in ("future", "past"):
                    folder = root / "optical_flow" / split / scene / f"into_{direction}" / camera
                    name = f"OpticalFlowInto{direction.title()}_{t:04d}_{camera[0].upper()}.pfm"
                    write_flow(folder / name, flow(number, t, direction=direction))


def write_sintel(
    root: Path,
    scenes: dict[str, int] | None = None,
    split: str = "training",
    passes: Sequence[str] = ("clean", "final"),
    shape: tuple[int, int] = SHAPE,
    masks: bool = True,
) -> None:
    """Sintel: scene -> number of frames, which are 1, 2, ...; sequences 0, 1, ... by name."""
    for number, (scene, length) in enumerate(
        sorted((scenes or {"alley_1": 3, "cave_2": 4}).items())
    ):
        for t in range(1, length + 1):
            name = f"{scene}/frame_{t:04d}"
            for render_pass in passes:
                write_image(root / split / render_pass / f"{name}.png", image(number, t, shape))
            if split == "test":
                continue
            if t < length:
                write_flow(root / split / "flow" / f"{name}.flo", flow(number, t, shape))
            if masks:
                if t < length:
                    write_image(root / split / "occlusions" / f"{name}.png", left_column(shape))
                # Sintel has such a mask of every frame.
                write_image(root / split / "invalid" / f"{name}.png", top_row(shape))


def write_kitti(
    root: Path,
    count: int = 6,
    split: str = "training",
    noc: bool = True,
    shape: tuple[int, int] = SHAPE,
    shapes: dict[int, tuple[int, int]] | None = None,
) -> None:
    """KITTI 2015: pair n is frames 0, 1 of sequence n.

    The flow is known in every other row, and not occluded there but in the left column. ``shapes``
    gives some pairs a size of their own.
    """
    for n in range(count):
        size = (shapes or {}).get(n, shape)
        for t in (0, 1):
            write_image(root / split / "image_2" / f"{n:06d}_1{t}.png", image(n, t, size))
        if split == "testing":
            continue
        known = np.zeros(size, bool)
        known[::2] = True
        write_flow(root / split / "flow_occ" / f"{n:06d}_10.png", flow(n, 0, size), known)
        if noc:
            shown = known & (left_column(size) == 0)
            write_flow(root / split / "flow_noc" / f"{n:06d}_10.png", flow(n, 0, size), shown)


def write_hd1k(root: Path, lengths: Sequence[int] = (3, 2), start: int = 9) -> None:
    """HD1K: sequences 0, 1, ... of these lengths, whose first frame is ``start``."""
    for number, length in enumerate(lengths):
        for t in range(start, start + length):
            name = f"{number:06d}_{t:04d}.png"
            write_image(root / "hd1k_input" / "image_2" / name, image(number, t))
            known = left_column() == 0
            write_flow(root / "hd1k_flow_gt" / "flow_occ" / name, flow(number, t), known)


def write_middlebury(root: Path, scenes: Sequence[str] = ("Grove2", "Venus")) -> None:
    """Middlebury: scene n is frames 0, 1 of sequence n; the left column's flow is not known."""
    for number, scene in enumerate(scenes):
        for t in (0, 1):
            write_image(root / "other-data" / scene / f"frame1{t}.png", image(number, t))
        known = left_column() == 0
        write_flow(root / "other-gt-flow" / scene / "flow10.flo", flow(number, 0), known)


def write_folders(
    images: Path,
    sequences: dict[str, int],
    flows: Path | None = None,
    suffix: str = ".flo",
    shape: tuple[int, int] = SHAPE,
) -> None:
    """Sequences -> number of frames, which are called 0, 1, ...; flow where there is a folder."""
    for number, (name, length) in enumerate(sequences.items()):
        for t in range(length):
            write_image(images / name / f"{t}.png", image(number, t, shape))
            if flows is not None and t < length - 1:
                write_flow(flows / name / f"{t}{suffix}", flow(number, t, shape))


def write_list(path: Path, pairs: object) -> None:
    """Write a json file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(pairs))
