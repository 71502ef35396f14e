"""The digit world in COCO form, for mmdet's own ``CocoDataset``: boxes and instance masks.

    det_digits/{train,val,test}/<index>.png            128x128 RGB
    det_digits/annotations/{train,val,test}.json

An annotation is what can be seen of one digit: ``segmentation`` its visible pixels (polygons, or
uncompressed run lengths where polygons cannot express a hole), ``bbox`` their extent, ``area``
their number. ``digit`` is the index of the scan in scikit-learn's data. Stains are not annotated.
All digits are small in COCO's sense (area below 32x32): AP for medium and large ones is -1.
"""

from __future__ import annotations

import json
from pathlib import Path

from mmkd_ext.demo_data import digits, masks, scenes

# As in COCO, ids begin with 1: its evaluation takes the annotation id 0 for "not matched".
CATEGORIES = [{"id": label + 1, "name": str(label)} for label in range(digits.NUM_CLASSES)]


def write(folder: Path) -> None:
    """Write the dataset into an empty folder."""
    from PIL import Image

    (folder / "annotations").mkdir()
    for split in scenes.IMAGES:
        (folder / split).mkdir()
        images, annotations = [], []
        for index, scene in enumerate(scenes.scenes(split)):
            picture = scenes.render(scene)
            name = f"{index:04d}.png"
            image = Image.fromarray(picture.image)
            image.save(folder / split / name, compress_level=scenes.PNG_LEVEL)
            height, width = picture.owner.shape
            images.append({"id": index + 1, "file_name": name, "height": height, "width": width})
            for annotation in annotate(scene, picture):
                ids = {"id": len(annotations) + 1, "image_id": index + 1}
                annotations.append({**ids, **annotation})
        content = {
            "info": {"description": f"Digit world, {split}: scikit-learn's handwritten digits"},
            "licenses": [],
            "images": images,
            "annotations": annotations,
            "categories": CATEGORIES,
        }
        text = json.dumps(content, separators=(",", ":"))
        (folder / "annotations" / f"{split}.json").write_text(text + "\n", encoding="utf-8")


def annotate(scene: scenes.Scene, picture: scenes.Picture) -> list[dict]:
    """Return COCO annotations, without ids, of the digits that can be seen."""
    found = []
    for index, sprite in enumerate(scene.sprites):
        mask = picture.mask(index)
        if sprite.label is None or not mask.any():
            continue
        found.append(
            {
                "category_id": CATEGORIES[sprite.label]["id"],
                "bbox": masks.bounding_box(mask),
                "area": int(mask.sum()),
                "iscrowd": 0,
                "segmentation": masks.polygons(mask) or masks.run_lengths(mask),
                "digit": sprite.source,
            }
        )
    return found
