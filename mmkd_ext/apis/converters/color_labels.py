"""Turn label images in which a colour means a class, as CamVid's, into mmseg's index images.

OUT gets img_dir/SPLIT (copies), ann_dir/SPLIT (PNG, 255 = ignore) and classes.txt, as mmseg's
BaseSegDataset reads them.
"""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmkd_ext.apis.converters.color_table import IGNORE, UNKNOWN, ColorTable, camvid_11, read_table
from mmkd_ext.apis.converters.listing import examples, image_size, images_by_stem, read_names
from mmkd_ext.apis.converters.output import check_folder, new_folder, progress
from mmkd_ext.apis.errors import UserError, main_guard

_MADE = ("img_dir", "ann_dir", "classes.txt")
_SHOWN = 5  # unknown colours in the message


class Pair(NamedTuple):
    """An image, its label, and where both go."""

    split: str
    image: Path
    label: Path


@dataclass
class Findings:
    """What a conversion came upon: pixels of each class, and of colours that are in no table."""

    pixels: Counter[int] = field(default_factory=Counter)
    unknown: Counter[int] = field(default_factory=Counter)
    first: dict[int, Path] = field(default_factory=dict)  # unknown colour -> a file that has it
    files: set[Path] = field(default_factory=set)  # that have unknown colours


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``color_labels``."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("out", type=Path, help="folder to make")
    parser.add_argument(
        "--split",
        nargs="+",
        action="append",
        required=True,
        metavar="NAME",
        help="NAME IMAGES LABELS [LIST]: a split, the folders of its images and labels, and a file "
        "with one name a line where the folders hold several splits; once for each split",
    )
    parser.add_argument(
        "--colors",
        default="camvid11",
        metavar="TABLE",
        help="a file with `red green blue name` or `name,red,green,blue` a line, or camvid11: "
        "CamVid's 32 colours as 11 classes (default: %(default)s)",
    )
    parser.add_argument(
        "--ignore",
        nargs="*",
        default=["void"],
        metavar="NAME",
        help="names in the table of which the pixels become 255, in any case (default: Void)",
    )
    parser.add_argument(
        "--unknown",
        choices=["error", "ignore"],
        default="error",
        help="what a colour that is not in the table is: an error, or 255",
    )
    parser.add_argument(
        "--label-suffix",
        default="_L.png",
        metavar="SUFFIX",
        help="of a label, after the name of its image (default: %(default)s)",
    )
    parser.add_argument("--force", action="store_true", help="replace what this tool made before")
    args = parser.parse_args(argv)
    for split in args.split:
        if len(split) not in (3, 4):
            parser.error(f"--split takes NAME IMAGES LABELS [LIST], but got {' '.join(split)}")
        if Path(split[0]).name != split[0] or split[0] in (".", ".."):
            parser.error(f"--split: the name {split[0]!r} cannot be a folder's")
    names = [split[0] for split in args.split]
    if len(set(names)) < len(names):
        parser.error(f"--split: two are called {Counter(names).most_common(1)[0][0]}")
    return args


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Convert, and say what was found."""
    args = parse_args(argv, prog)
    check_folder(args.out, args.force, _MADE)
    ignored = frozenset(name.lower() for name in args.ignore)
    table = camvid_11() if args.colors == "camvid11" else read_table(Path(args.colors), ignored)
    pairs = [
        pair
        for name, images, labels, *lists in args.split
        for pair in pairs_of(name, Path(images), Path(labels), args.label_suffix, *map(Path, lists))
    ]
    check_pairs(pairs)
    with new_folder(args.out) as draft:
        found = convert(pairs, table, draft)
        if found.unknown and args.unknown == "error":
            raise UserError(f"{describe_unknown(found)} Add them to the table, or give --unknown.")
    report(args.out, pairs, table, found)


def pairs_of(
    split: str, images: Path, labels: Path, suffix: str, list_file: Path | None = None
) -> list[Pair]:
    """The images of one split with their labels.

    Args:
        split: Its name.
        images: Folder of the images.
        labels: Folder of the labels.
        suffix: Of a label, after the name of its image.
        list_file: Names of the images; None for all of the folder.

    Raises:
        UserError: An image or a label is missing, or the folder or the list is empty.
    """
    there = images_by_stem(images)
    # Images and labels may lie in one folder.
    there = {stem: path for stem, path in there.items() if not path.name.endswith(suffix)} or there
    names = list(there) if list_file is None else read_names(list_file)
    missing = [name for name in names if name not in there]
    if missing:
        raise UserError(f"{images} lacks the images of {examples(missing)}, as {list_file} names.")
    pairs = [Pair(split, there[name], labels / f"{name}{suffix}") for name in names]
    without = [pair.label.name for pair in pairs if not pair.label.is_file()]
    if without:
        raise UserError(
            f"{labels} lacks the labels of {len(without)} of {len(pairs)} images, such as "
            f"{without[0]}; --label-suffix says what they end with."
        )
    return pairs


def check_pairs(pairs: Iterable[Pair]) -> None:
    """Check what can be checked before anything is written.

    Raises:
        UserError: An image is in two splits, differs from its label in size, or from the other
            images in its suffix (mmseg's datasets know one).
    """
    splits: dict[Path, str] = {}
    for pair in pairs:
        image = pair.image.resolve()
        if image in splits:
            raise UserError(f"{pair.image} is in the split {splits[image]} and in {pair.split}.")
        splits[image] = pair.split
        size, of_label = image_size(pair.image), image_size(pair.label)
        if size != of_label:
            raise UserError(
                f"{pair.image} has {size[0]}x{size[1]} pixels, but {pair.label} has "
                f"{of_label[0]}x{of_label[1]}."
            )
    suffixes = sorted({path.suffix for path in splits})
    if len(suffixes) > 1:
        raise UserError(f"The images end with {' and '.join(suffixes)}; mmseg reads one suffix.")


def convert(pairs: Sequence[Pair], table: ColorTable, out: Path) -> Findings:
    """Write the images and index labels of all pairs below ``out``.

    Unknown colours become 255 and are counted.

    Raises:
        UserError: A label is no image.
    """
    from PIL import Image

    lookup = table.lookup()
    found = Findings()
    for pair in progress(pairs, "labels"):
        codes = _codes(pair.label)
        index = lookup[codes]
        unknown = index == UNKNOWN
        if unknown.any():
            values, counts = np.unique(codes[unknown], return_counts=True)
            found.unknown.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
            found.files.add(pair.label)
            for value in values.tolist():
                found.first.setdefault(value, pair.label)
            index[unknown] = IGNORE
        values, counts = np.unique(index, return_counts=True)
        found.pixels.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        for kind in ("img_dir", "ann_dir"):
            (out / kind / pair.split).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(pair.image, out / "img_dir" / pair.split / pair.image.name)
        label = Image.fromarray(index.astype(np.uint8))
        label.save(out / "ann_dir" / pair.split / f"{pair.image.stem}.png")
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in table.classes))
    return found


def _codes(path: Path) -> np.ndarray:
    """(H, W) int32: ``red << 16 | green << 8 | blue`` of each pixel; a palette is resolved."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            colors = np.asarray(image.convert("RGB"), dtype=np.int32)
    except OSError as error:
        raise UserError(f"{path} cannot be read: it is corrupt, or no image.") from error
    return colors[..., 0] << 16 | colors[..., 1] << 8 | colors[..., 2]


def describe_unknown(found: Findings) -> str:
    """What colours are in no table: how many pixels, of how many files, and where to look."""
    shown = []
    for code, count in found.unknown.most_common(_SHOWN):
        color = (code >> 16, code >> 8 & 255, code & 255)
        shown.append(f"{color} in {count} pixels (first: {found.first[code]})")
    more = len(found.unknown) - len(shown)
    return (
        f"{len(found.unknown)} colours, of {len(found.files)} labels, are not in the table: "
        + "; ".join(shown)
        + (f"; and {more} more." if more else ".")
    )


def report(out: Path, pairs: Sequence[Pair], table: ColorTable, found: Findings) -> None:
    """Say what was made, and what a config has to know."""
    splits = Counter(pair.split for pair in pairs)
    print(f"{out}: " + ", ".join(f"{count} {name}" for name, count in splits.items()) + " images")
    total = sum(found.pixels.values())
    shares = [(name, found.pixels[i]) for i, name in enumerate(table.classes)]
    for name, count in [*shares, ("(ignored)", found.pixels[IGNORE])]:
        print(f"  {name:20} {100 * count / total:6.2f} % of the pixels")
    if found.unknown:
        print(f"Ignored: {describe_unknown(found)}")
    print(f"img_suffix={pairs[0].image.suffix!r}, {len(table.classes)} classes: classes.txt")
