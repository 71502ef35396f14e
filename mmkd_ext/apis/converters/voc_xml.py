"""One annotation file of Pascal VOC's form."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

from mmkd_ext.apis.errors import UserError


class VocObject(NamedTuple):
    """One annotated object; ``box`` is (xmin, ymin, xmax, ymax) as it stands in the file."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


class VocFile(NamedTuple):
    """What an XML file says: the image's name and size (width, height), 0 where it does not."""

    file_name: str
    size: tuple[int, int]
    objects: list[VocObject]


def read_voc(path: Path) -> VocFile:
    """Read an XML file.

    Raises:
        UserError: It is broken, or lacks what an object needs.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise UserError(f"{path} is no valid XML: {error}") from error
    if root.tag != "annotation":
        raise UserError(f"{path} is no VOC annotation: its root is <{root.tag}>.")
    width, height = (_number(root, f"size/{side}", path, 0) for side in ("width", "height"))
    objects = [_object(node, path) for node in root.findall("object")]
    name = (root.findtext("filename") or "").strip()
    return VocFile(name, (int(width), int(height)), objects)


def _object(node: ElementTree.Element, path: Path) -> VocObject:
    name = (node.findtext("name") or "").strip()
    if not name:
        raise UserError(f"{path}: an object has no <name>.")
    xmin, ymin, xmax, ymax = (
        _number(node, f"bndbox/{side}", path) for side in ("xmin", "ymin", "xmax", "ymax")
    )
    difficult = _number(node, "difficult", path, 0) != 0
    return VocObject(name, (xmin, ymin, xmax, ymax), difficult)


def _number(node: ElementTree.Element, tag: str, path: Path, default: float | None = None) -> float:
    text = (node.findtext(tag) or "").strip()
    if not text and default is not None:
        return default
    try:
        return float(text)
    except ValueError:
        where = f"an object's <{tag}>" if node.tag == "object" else f"<{tag}>"
        raise UserError(f"{path}: {where} is {text!r}, not a number.") from None
