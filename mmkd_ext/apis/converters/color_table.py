"""Which colour of a label image means which class."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmkd_ext.apis.converters.listing import read_text
from mmkd_ext.apis.errors import UserError

IGNORE = 255
UNKNOWN = -1
Color = tuple[int, int, int]

_LINE = re.compile(r"(?P<r>\d+)[\s,]+(?P<g>\d+)[\s,]+(?P<b>\d+)[\s,]+(?P<name>\S.*)")
_CSV_LINE = re.compile(r"(?P<name>[^,]+),\s*(?P<r>\d+)\s*,\s*(?P<g>\d+)\s*,\s*(?P<b>\d+)")

# CamVid's 32 names (Brostow et al., 2009) in the 11 groups of SegNet (Badrinarayanan et al.,
# 2017, arXiv:1511.00561), in the order of its labels.
_CAMVID_GROUPS: dict[str, tuple[Color, ...]] = {
    "Sky": ((128, 128, 128),),
    # building, bridge, wall, tunnel, archway
    "Building": ((128, 0, 0), (0, 128, 64), (64, 192, 0), (64, 0, 64), (192, 0, 128)),
    "Pole": ((192, 192, 128), (0, 0, 64)),  # column or pole, traffic cone
    "Road": ((128, 64, 128), (128, 0, 192), (192, 0, 64)),  # road, lane markings
    "Pavement": ((0, 0, 192), (64, 192, 128), (128, 128, 192)),  # parking block, road shoulder
    "Tree": ((128, 128, 0), (192, 192, 0)),  # tree, other vegetation
    "SignSymbol": ((192, 128, 128), (128, 128, 64), (0, 64, 64)),  # sign, text, traffic light
    "Fence": ((64, 64, 128),),
    # car, SUV or pick-up, truck or bus, train, other moving
    "Car": ((64, 0, 128), (64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)),
    # pedestrian, child, luggage or pram, animal
    "Pedestrian": ((64, 64, 0), (192, 128, 64), (64, 0, 192), (64, 128, 64)),
    "Bicyclist": ((0, 128, 192), (192, 0, 192)),  # bicyclist, motorcycle or scooter
}


@dataclass(frozen=True)
class ColorTable:
    """Classes and their colours.

    Attributes:
        classes: In the order of their indices.
        indices: Colour (red, green, blue) to index; 255 for pixels to be ignored.
    """

    classes: tuple[str, ...]
    indices: dict[Color, int]

    def lookup(self) -> np.ndarray:
        """(2**24,) int16: the index of each colour ``red << 16 | green << 8 | blue``, or -1."""
        table = np.full(1 << 24, UNKNOWN, dtype=np.int16)
        for (red, green, blue), index in self.indices.items():
            table[red << 16 | green << 8 | blue] = index
        return table


def camvid_11() -> ColorTable:
    """CamVid's 32 colours as the usual 11 classes; Void is ignored."""
    groups = list(_CAMVID_GROUPS.items())
    indices = {color: i for i, (_, colors) in enumerate(groups) for color in colors}
    return ColorTable(tuple(_CAMVID_GROUPS), indices | {(0, 0, 0): IGNORE})


def read_table(path: Path, ignored: frozenset[str]) -> ColorTable:
    """Read a table of colours: a line is ``red green blue name`` or ``name,red,green,blue``.

    These are CamVid's ``label_colors.txt`` and the ``class_dict.csv`` of its copies. Colours of
    one name are one class; classes are numbered in the order in which they first appear.

    Args:
        path: The file. Empty lines, lines that begin with ``#`` and a heading are skipped.
        ignored: Names, in lower case, of which the pixels become 255.

    Raises:
        UserError: A line cannot be read, a colour stands there twice, or there are no classes or
            more than 255.
    """
    names: list[str] = []
    indices: dict[Color, int] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#") or (number == 1 and not re.search(r"\d", text)):
            continue
        found = _LINE.fullmatch(text) or _CSV_LINE.fullmatch(text)
        color = tuple(int(found[part]) for part in "rgb") if found else (IGNORE + 1,)
        if max(color) > 255:
            raise UserError(
                f"{path}, line {number}: {text!r} is neither `red green blue name` nor "
                "`name,red,green,blue`, with colours from 0 to 255."
            )
        name = found["name"].strip()
        if color in indices:
            raise UserError(f"{path}, line {number}: the colour {color} stands there twice.")
        if name.lower() in ignored:
            indices[color] = IGNORE
            continue
        if name not in names:
            names.append(name)
        indices[color] = names.index(name)
    if not 0 < len(names) <= IGNORE:
        raise UserError(f"{path} names {len(names)} classes; an index image holds 1 to {IGNORE}.")
    return ColorTable(tuple(names), indices)
