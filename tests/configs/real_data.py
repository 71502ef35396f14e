"""Tiny data of the layouts that the BCCD and CamVid configs read."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

CELLS = ("RBC", "WBC", "Platelets")
STREETS = 11  # classes
SIZE = (48, 64)  # (H, W) of the files; the pipelines enlarge them


def write_bccd(root: Path, train: int = 8, test: int = 3) -> Path:
    """Images with two or three boxes each, of all three classes."""
    rng = np.random.default_rng(0)
    (root / "annotations").mkdir(parents=True)
    for split, count in (("train", train), ("test", test)):
        (root / split).mkdir()
        content = bccd_json(count)
        for image in content["images"]:
            pixels = rng.integers(150, 230, (*SIZE, 3), dtype=np.uint8)
            for annotation in content["annotations"]:
                if annotation["image_id"] == image["id"]:
                    x, y, w, h = annotation["bbox"]
                    pixels[y : y + h, x : x + w, annotation["category_id"] - 1] = 90
            cv2.imwrite(str(root / split / image["file_name"]), pixels)
        (root / "annotations" / f"{split}.json").write_text(json.dumps(content))
    return root


def bccd_json(count: int) -> dict:
    """The annotations of ``count`` images, in the form of BCCD's own file."""
    images, annotations = [], []
    for i in range(1, count + 1):
        images.append(dict(id=i, file_name=f"{i:03d}.jpg", width=SIZE[1], height=SIZE[0]))
        for k in range(2 + i % 2):
            box = [4 + 18 * k, 3 + (5 * i + 7 * k) % 20, 10 + k, 12]
            annotation = dict(image_id=i, category_id=1 + (i + k) % 3, bbox=box, iscrowd=0)
            annotations.append(annotation | dict(id=len(annotations) + 1, area=box[2] * box[3]))
    categories = [dict(id=i, name=name) for i, name in enumerate(CELLS, start=1)]
    return dict(images=images, annotations=annotations, categories=categories)


def write_camvid(root: Path, train: int = 4, val: int = 2, test: int = 2) -> Path:
    """Images whose upper left corner is ignored, and in which each class has a stripe."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(SIZE[1]) * STREETS // SIZE[1], SIZE[0]).reshape(SIZE[::-1]).T
    labels = labels.astype(np.uint8)
    labels[:8, :8] = 255
    for split, count in (("train", train), ("val", val), ("test", test)):
        for kind in ("img_dir", "ann_dir"):
            (root / kind / split).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
            pixels[..., 0] = 20 * np.minimum(labels, STREETS)
            cv2.imwrite(str(root / "img_dir" / split / f"{i:03d}.jpg"), pixels)
            cv2.imwrite(str(root / "ann_dir" / split / f"{i:03d}.png"), labels)
    return root
