"""A handful of images in COCO's own folders, so that stock configs read them by ``--data-root``."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

CLASSES = ("left", "right", "both")
SIZE = 64
_NAMED = {640: SIZE, 416: SIZE, 1280: 2 * SIZE, -320: -SIZE // 2, 1333: SIZE, 800: SIZE}


def write(folder: Path, images: int = 4, classes: tuple[str, ...] = CLASSES) -> Path:
    """Write ``train2017``, ``val2017`` and their annotations: two boxes in each image."""
    rng = np.random.default_rng(0)
    for split in ("train2017", "val2017"):
        (folder / split).mkdir(parents=True)
        content: dict[str, list] = dict(images=[], annotations=[], categories=[])
        content["categories"] = [dict(id=i + 1, name=name) for i, name in enumerate(classes)]
        for index in range(images):
            picture = rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
            name = f"{index}.png"
            cv2.imwrite(str(folder / split / name), picture)
            info = dict(id=index + 1, file_name=name, height=SIZE, width=SIZE)
            content["images"].append(info)
            for x in (4, 30):
                number = len(content["annotations"])
                width, height = (int(side) for side in rng.integers(16, 30, 2))
                annotation = dict(
                    id=number + 1,
                    image_id=index + 1,
                    category_id=number % len(classes) + 1,
                    bbox=[x, 8, width, height],
                    area=width * height,
                    iscrowd=0,
                )
                content["annotations"].append(annotation)
        file = folder / "annotations" / f"instances_{split}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content))
    return folder


def shrink(cfg: Config) -> Config:
    """Bring the image sizes that a stock config names down to those of these images, in place."""
    for name in ("train_dataloader", "val_dataloader", "custom_hooks"):
        if name in cfg:
            cfg[name] = _shrunk(cfg[name])
    return cfg


def _shrunk(value: object) -> object:
    if isinstance(value, dict):
        return type(value)({key: _shrunk(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return type(value)(_shrunk(item) for item in value)
    return _NAMED.get(value, value) if isinstance(value, int) else value
