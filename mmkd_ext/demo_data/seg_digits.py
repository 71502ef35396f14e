"""The digit world in ADE20K's form, for mmseg's own ``BaseSegDataset``.

    seg_digits/images/{training,validation,test}/<index>.png        128x128 RGB
    seg_digits/annotations/{training,validation,test}/<index>.png   128x128, one class a pixel

Classes: 0 = background, 1..10 = the digits 0..9, 255 = ignore. Unlike in ADE20K itself the
background is a class (``reduce_zero_label=False``), since a network that need not tell digits from
background would be right anywhere. Ignored are stains, which nobody labelled, and a rim of one
pixel around each digit, where ink and background mix.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmkd_ext.demo_data import scenes

BACKGROUND = 0
IGNORE = 255
FOLDERS = {"train": "training", "val": "validation", "test": "test"}  # ADE20K's names


def write(folder: Path) -> None:
    """Write the dataset into an empty folder."""
    from PIL import Image

    for split, name in FOLDERS.items():
        images, annotations = folder / "images" / name, folder / "annotations" / name
        images.mkdir(parents=True)
        annotations.mkdir(parents=True)
        for index, scene in enumerate(scenes.scenes(split)):
            picture = scenes.render(scene)
            image = Image.fromarray(picture.image)
            image.save(images / f"{index:04d}.png", compress_level=scenes.PNG_LEVEL)
            Image.fromarray(class_map(scene, picture)).save(annotations / f"{index:04d}.png")


def class_map(scene: scenes.Scene, picture: scenes.Picture) -> np.ndarray:
    """Return the class of every pixel, (H, W) uint8."""
    of_sprite = [IGNORE if sprite.label is None else sprite.label + 1 for sprite in scene.sprites]
    # The last entry is the background's, which is what index NOTHING = -1 picks.
    classes = np.asarray([*of_sprite, BACKGROUND], dtype=np.uint8)[picture.owner]
    digit = (classes != BACKGROUND) & (classes != IGNORE)
    classes[(classes == BACKGROUND) & _grown(digit)] = IGNORE
    return classes


def _grown(mask: np.ndarray) -> np.ndarray:
    """Return a mask and all pixels that touch it, at a corner too, (H, W) bool."""
    height, width = mask.shape
    padded = np.pad(mask, 1)
    moved = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.logical_or.reduce(moved)
