"""Turn a folder of Pascal VOC's XML files into one COCO annotation file, whatever the classes.

An XML file belongs to the image of the same name; where there is none, to the one that it names.
Objects marked difficult become crowds, which COCO's evaluation ignores. Boxes are cut at the edge
of the image; an empty one is left out, and counted.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmkd_ext.apis.converters.listing import (
    examples,
    image_size,
    images_by_stem,
    read_names,
    read_text,
)
from mmkd_ext.apis.converters.output import check_files, progress, write_files
from mmkd_ext.apis.converters.voc_xml import VocFile, read_voc
from mmkd_ext.apis.errors import UserError, main_guard


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``voc_to_coco``."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("images", type=Path, help="folder of the images, such as JPEGImages")
    parser.add_argument("annotations", type=Path, help="folder of the XML files")
    parser.add_argument("out", type=Path, help="the COCO annotation file to write")
    parser.add_argument(
        "--list", type=Path, metavar="FILE", help="only these images: one name a line"
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME",
        help="their order, or a file with one a line; another name is an error (default: all "
        "there are, sorted: give --classes where several splits are converted)",
    )
    parser.add_argument(
        "--skip-others", action="store_true", help="leave out objects that are not of --classes"
    )
    parser.add_argument(
        "--one-based",
        action="store_true",
        help="boxes count pixels from 1 and include the last one, as in Pascal VOC itself; "
        "most annotation programs write edges from 0",
    )
    parser.add_argument("--force", action="store_true", help="write over an existing file")
    args = parser.parse_args(argv)
    if args.skip_others and not args.classes:
        parser.error("--skip-others needs --classes")
    return args


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Convert, and say what was found."""
    args = parse_args(argv, prog)
    check_files([args.out], args.force)
    names = None if args.list is None else read_names(args.list)
    classes = _classes(args.classes)
    files = read_folder(args.images, args.annotations, names)
    content, remarks = to_coco(files, classes, args.skip_others, args.one_based)
    write_files({args.out: json.dumps(content) + "\n"})
    counts = Counter(a["category_id"] for a in content["annotations"])
    print(
        f"{args.out}: {len(content['images'])} images, "
        + ", ".join(f"{counts[c['id']]} {c['name']}" for c in content["categories"])
    )
    for remark in remarks:
        print(remark)


def read_folder(
    images: Path, annotations: Path, names: Sequence[str] | None = None
) -> dict[Path, VocFile]:
    """Read the XML files, and check them against their images.

    Args:
        images: Folder of the images.
        annotations: Folder of the XML files.
        names: Of the XML files, without suffix; None for all, sorted.

    Returns:
        What each image's file says, its size being the image's own.

    Raises:
        UserError: A folder is empty, an XML file or an image is missing or broken, or they
            disagree in size.
    """
    if not annotations.is_dir():
        raise UserError(f"The annotation folder {annotations} does not exist.")
    there = {path.stem: path for path in sorted(annotations.glob("*.xml"))}
    if not there:
        raise UserError(f"There is no .xml file in {annotations}.")
    missing = [name for name in names or () if name not in there]
    if missing:
        raise UserError(f"{annotations} lacks the XML files of {examples(missing)}.")
    by_stem = images_by_stem(images)
    by_name = {path.name: path for path in by_stem.values()}
    found: dict[Path, VocFile] = {}
    without: list[str] = []
    for name in progress(list(there) if names is None else names, "XML files"):
        voc = read_voc(there[name])
        image = by_stem.get(name) or by_name.get(voc.file_name)
        if image is None:
            without.append(there[name].name)
            continue
        if image in found:
            raise UserError(f"{there[name]} belongs to {image.name}, as another XML file does.")
        size = image_size(image)
        if 0 not in voc.size and voc.size != size:
            raise UserError(
                f"{there[name]} says {voc.size[0]}x{voc.size[1]} pixels, but {image} has "
                f"{size[0]}x{size[1]}."
            )
        found[image] = voc._replace(size=size)
    if without:
        raise UserError(f"{images} lacks the images of {examples(without)}.")
    return found


def to_coco(
    files: dict[Path, VocFile],
    classes: Sequence[str] | None = None,
    skip_others: bool = False,
    one_based: bool = False,
) -> tuple[dict[str, Any], list[str]]:
    """Put the annotations of all images together.

    Args:
        files: By image.
        classes: In the order of the category ids, which begin at 1; None for all, sorted.
        skip_others: Leave out objects of other classes.
        one_based: Boxes count pixels from 1 and include the last one.

    Returns:
        The content of the COCO file, and remarks for the user.

    Raises:
        UserError: An object is of no known class.
    """
    named = [(o.name, path.name) for path, voc in files.items() for o in voc.objects]
    if classes is None:
        classes = sorted({name for name, _ in named})
        if not classes:
            raise UserError("No XML file has an object; name the --classes.")
    others = Counter(name for name, _ in named if name not in classes)
    if others and not skip_others:
        (name, count), *_ = others.most_common(1)
        first = next(path for other, path in named if other == name)
        raise UserError(
            f"{sum(others.values())} objects are of no class of {', '.join(classes)}: {count} are "
            f"{name!r} (first: {first}). Add the class, or give --skip-others."
        )
    ids = {name: i for i, name in enumerate(classes, start=1)}
    content: dict[str, Any] = dict(
        images=[],
        annotations=[],
        categories=[dict(id=i, name=name) for name, i in ids.items()],
    )
    cut, empty = [], []
    for image_id, (path, voc) in enumerate(files.items(), start=1):
        width, height = voc.size
        entry = dict(id=image_id, file_name=path.name, width=width, height=height)
        content["images"].append(entry)
        for item in (item for item in voc.objects if item.name in ids):
            box, whole = _inside(item.box, voc.size, one_based)
            if box is None:
                empty.append(path.name)
                continue
            if not whole:
                cut.append(path.name)
            content["annotations"].append(
                dict(
                    id=len(content["annotations"]) + 1,
                    image_id=image_id,
                    category_id=ids[item.name],
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=int(item.difficult),
                )
            )
    remarks = []
    if others:
        remarks.append(f"objects of other classes left out: {sum(others.values())}")
    if cut:
        remarks.append(f"boxes cut at the edge of the image: {len(cut)} (first: {cut[0]})")
    if empty:
        remarks.append(f"empty boxes left out: {len(empty)} (first: {empty[0]})")
    return content, remarks


def _inside(
    box: tuple[float, float, float, float], size: tuple[int, int], one_based: bool
) -> tuple[list[float] | None, bool]:
    """[x, y, width, height] of what lies in the image, None if nothing; whether that is all."""
    left, top, right, bottom = box
    if one_based:
        left, top = left - 1, top - 1
    x, y = max(left, 0), max(top, 0)
    width, height = min(right, size[0]) - x, min(bottom, size[1]) - y
    if width <= 0 or height <= 0:
        return None, False
    return [x, y, width, height], (width, height) == (right - left, bottom - top)


def _classes(given: Sequence[str] | None) -> list[str] | None:
    if not given:
        return None
    names = list(given)
    if len(names) == 1 and Path(names[0]).is_file():
        lines = read_text(Path(names[0])).splitlines()
        names = [line.strip() for line in lines if line.strip()]
    if not names or len(set(names)) < len(names):
        raise UserError(f"--classes: {', '.join(names) or 'the file is empty'}; each class once.")
    return names
