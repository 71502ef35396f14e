"""What lies in the folders of a dataset, in natural order; hidden files and folders are nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path

from mmkd_ext.flow.formats import SUFFIXES
from mmkd_ext.frames.files import frame_files, natural


def existing(folder: Path) -> Path:
    """The folder, if there is one.

    Raises:
        ValueError: There is none.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: there is no such folder; is data_root right, and all unpacked?"
        )
    return folder


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder."""
    found = (path for path in existing(folder).iterdir() if path.is_dir())
    return sorted(
        (path for path in found if not path.name.startswith(".")),
        key=lambda path: natural(path.name),
    )


def common_subfolders(folder: Path, other: Path) -> list[Path]:
    """The folders in ``folder``, which are called like those in ``other``.

    Raises:
        ValueError: One of them has a folder that the other lacks.
    """
    found = subfolders(folder)
    names = {path.name for path in found} ^ {path.name for path in subfolders(other)}
    if names:
        raise ValueError(f"{min(names)} is only in one of {folder} and {other}")
    return found


def image_sequence(folder: Path) -> list[Path]:
    """The frames of one sequence.

    Raises:
        ValueError: There are fewer than two, or their numbers do not count up by one.
    """
    files = frame_files(existing(folder))
    if len(files) < 2:
        raise ValueError(f"{folder}: {len(files)} images; a sequence has two or more")
    check_consecutive(files)
    return files


def flow_files(folder: Path, others: Collection[Path] = ()) -> dict[str, Path]:
    """Name without suffix -> flow file.

    Args:
        folder: Where they are.
        others: Files there that are something else.

    Raises:
        ValueError: There is no such folder, or two files have one name, such as 1.flo and 1.png.
    """
    found: dict[str, Path] = {}
    for path in sorted(existing(folder).iterdir(), key=lambda path: natural(path.name)):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or path in others:
            continue
        if path.stem in found:
            raise ValueError(f"{folder}: several flow files are called {path.stem}")
        found[path.stem] = path
    return found


def match(names: Sequence[str], files: dict[str, Path], folder: Path, last: bool) -> list[Path]:
    """The file of each frame of a sequence but the last, which has no next frame.

    Args:
        names: Of the frames, in their order.
        files: Name -> file.
        folder: Where the files are, for the messages.
        last: Whether the last frame has a file, too. It is not returned.

    Raises:
        ValueError: There are more files than frames, or fewer, or they have other names.
    """
    wanted = list(names) if last else list(names[:-1])
    missing = [name for name in wanted if name not in files]
    expected = set(wanted)
    surplus = [name for name in files if name not in expected]
    if missing or surplus:
        problem = f"{missing[0]} has none" if missing else f"no pair begins with {surplus[0]}"
        raise ValueError(
            f"{folder}: {len(files)} files for {len(names)} frames, which need {len(wanted)}: "
            f"{problem}"
        )
    return [files[name] for name in names[:-1]]


def check_consecutive(files: Sequence[Path]) -> None:
    """Whether the frames' numbers count up by one: a pair over a gap would have the wrong flow.

    Raises:
        ValueError: They do not.
    """
    for before, after in pairwise(files):
        if frame_number(after) != frame_number(before) + 1:
            raise ValueError(
                f"{before.parent}: {before.name} is followed by {after.name}; frames are missing"
            )


def frame_number(file: Path) -> int:
    """The last number in a file's name.

    Raises:
        ValueError: There is none.
    """
    numbers = re.findall(r"[0-9]+", file.stem)
    if not numbers:
        raise ValueError(f"{file}: a frame of this dataset has a number in its name")
    return int(numbers[-1])


def read_split(path: Path, count: int, pairs: str) -> list[int]:
    """A split file: a line of 1 (train) or 2 (val) for each pair.

    Args:
        path: The file.
        count: How many pairs there are.
        pairs: Where they are, for the message.

    Raises:
        ValueError: There is no such file, it has other values, or it is of another length.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such split file (a line of 1 or 2 for each pair)")
    words = path.read_text(encoding="utf-8").split()
    wrong = [word for word in words if word not in ("1", "2")]
    if wrong:
        raise ValueError(f"{path}: a split file has 1 (train) and 2 (val), not {wrong[0]!r}")
    if len(words) != count:
        raise ValueError(f"{path}: {len(words)} lines, but {count} pairs in {pairs}")
    return [int(word) for word in words]
