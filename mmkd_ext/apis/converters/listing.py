"""Finding images, and reading lists of names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mmkd_ext.apis.errors import UserError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def images_by_stem(folder: Path) -> dict[str, Path]:
    """The images directly in a folder, by name without suffix, sorted.

    Raises:
        UserError: There is no such folder, no image in it, or two of the same name.
    """
    if not folder.is_dir():
        kind = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"The image folder {folder} {kind}.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise UserError(
                f"{folder} has two images of one name: {found[path.stem].name} and {path.name}."
            )
        found[path.stem] = path
    if not found:
        raise UserError(f"There is no image in {folder} ({', '.join(IMAGE_SUFFIXES)}).")
    return found


def read_names(path: Path) -> list[str]:
    """The images that a list file names, one a line, without folder and suffix.

    Of a line with several columns, the first counts, as in lists of image and label.

    Raises:
        UserError: The list is empty, or names an image twice.
    """
    fields = [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
    names = [Path(field).name for field in fields]
    names = [
        Path(name).stem if Path(name).suffix.lower() in (*IMAGE_SUFFIXES, ".xml") else name
        for name in names
    ]
    if not names:
        raise UserError(f"The list {path} is empty.")
    [(name, times)] = Counter(names).most_common(1)
    if times > 1:
        raise UserError(f"The list {path} names {name} {times} times.")
    return names


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        UserError: It is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no UTF-8 text: {error.reason}.") from error


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels, from the file's head.

    Raises:
        UserError: It is no image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError:
        raise
    except OSError as error:  # of which Pillow's errors are
        raise UserError(f"{path} cannot be read: it is corrupt, or no image.") from error


def examples(names: list[str], count: int = 3) -> str:
    """``'4 (first: a, b, c)'``."""
    return f"{len(names)} (first: {', '.join(names[:count])})"
