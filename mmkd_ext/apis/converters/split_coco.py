"""Hold a part of a COCO annotation file out, so that a dataset without one has a validation split.

Which images are held out depends on their names and the seed alone. An image, with all its
annotations, is in one of the two files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmkd_ext.apis.converters.output import check_files, write_files
from mmkd_ext.apis.errors import UserError, main_guard


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``split_coco``."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("annotations", type=Path, help="COCO annotation file")
    parser.add_argument(
        "--val-fraction", type=float, default=0.15, metavar="F", help="default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--out",
        type=Path,
        nargs=2,
        metavar=("TRAIN", "VAL"),
        help="default: NAME_fit.json and NAME_holdout.json, beside NAME.json",
    )
    parser.add_argument("--force", action="store_true", help="write over existing files")
    args = parser.parse_args(argv)
    if not 0 < args.val_fraction < 1:
        parser.error(f"--val-fraction must be between 0 and 1, not {args.val_fraction}")
    return args


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Split, and say what went where."""
    args = parse_args(argv, prog)
    source: Path = args.annotations
    outputs = args.out or [source.with_name(f"{source.stem}_{n}.json") for n in ("fit", "holdout")]
    check_files(outputs, args.force, [source])
    parts = split_coco(read_coco(source), args.val_fraction, args.seed)
    write_files({path: json.dumps(part) + "\n" for path, part in zip(outputs, parts, strict=True)})
    for path, part in zip(outputs, parts, strict=True):
        print(f"{path}: {len(part['images'])} images, {len(part['annotations'])} annotations")


def split_coco(
    content: dict[str, Any], val_fraction: float, seed: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide by images; everything but images and annotations is in both parts.

    Args:
        content: Of a COCO annotation file, as :func:`read_coco` returns it.
        val_fraction: Of the images, 0 to 1.
        seed: Another one holds other images out.

    Returns:
        The training part and the part held out, each in the order of the file.

    Raises:
        UserError: One of the parts would have no image.
    """
    images = content["images"]
    count = round(val_fraction * len(images))
    if not 0 < count < len(images):
        raise UserError(
            f"{val_fraction} of {len(images)} images are {count}: one of the parts would be empty."
        )

    def rank(image: dict[str, Any]) -> str:
        # A hash, as it is the same whatever the order in the file and the version of Python.
        return hashlib.sha256(f"{seed}:{image['file_name']}".encode()).hexdigest()

    held_out = {image["id"] for image in sorted(images, key=rank)[:count]}
    parts = tuple(
        content
        | {
            "images": [i for i in images if (i["id"] in held_out) == side],
            "annotations": [
                a for a in content["annotations"] if (a["image_id"] in held_out) == side
            ],
        }
        for side in (False, True)
    )
    return parts[0], parts[1]


def read_coco(path: Path) -> dict[str, Any]:
    """Read and check a COCO annotation file.

    Raises:
        UserError: It is no such file, has no images, names one twice, or has annotations of images
            or categories that it does not list.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no valid JSON: {error}") from error
    keys = ("images", "annotations", "categories")
    if not isinstance(content, dict) or any(not isinstance(content.get(key), list) for key in keys):
        raise UserError(f"{path} is no COCO annotation file: it needs lists of {', '.join(keys)}.")
    for key, needed in (
        ("images", ("id", "file_name")),
        ("annotations", ("image_id", "category_id")),
        ("categories", ("id", "name")),
    ):
        for i, entry in enumerate(content[key]):
            if not isinstance(entry, dict) or any(name not in entry for name in needed):
                raise UserError(f"{path}: {key}[{i}] lacks {' or '.join(needed)}.")
    if not content["images"]:
        raise UserError(f"{path} has no images.")
    for name in ("id", "file_name"):
        values = [image[name] for image in content["images"]]
        if len(set(values)) < len(values):
            again = next(v for i, v in enumerate(values) if v in values[:i])
            raise UserError(f"{path} has more than one image of {name} {again!r}.")
    for name, key in (("image_id", "images"), ("category_id", "categories")):
        known = {entry["id"] for entry in content[key]}
        unknown = [a[name] for a in content["annotations"] if a[name] not in known]
        if unknown:
            raise UserError(
                f"{path}: {len(unknown)} annotations have a {name} that is not among its {key} "
                f"(first: {unknown[0]})."
            )
    return content
