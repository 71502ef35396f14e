"""Writing what a converter made: all or nothing, and over nothing that was there before."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from mmkd_ext.apis.errors import UserError
from mmkd_ext.atomic_file import flush, move_into_place, temporary_path

T = TypeVar("T")


def progress(items: Sequence[T], description: str) -> Iterable[T]:
    """Iterate with a progress bar on stderr."""
    from rich.console import Console
    from rich.progress import track

    return track(items, description, console=Console(stderr=True))


def check_files(paths: Sequence[Path], force: bool, inputs: Collection[Path] = ()) -> None:
    """Refuse to write over a file.

    Args:
        paths: To be written.
        force: Allow it, but never for an input.
        inputs: What is read.

    Raises:
        UserError: A file exists, two outputs are one, or an output is an input.
    """
    resolved = [path.expanduser().resolve() for path in paths]
    if len(set(resolved)) < len(resolved):
        raise UserError(f"The outputs {' and '.join(map(str, paths))} are the same file.")
    for path in resolved:
        if path in {given.expanduser().resolve() for given in inputs}:
            raise UserError(f"{path} is the input; name another output.")
        if path.is_dir():
            raise UserError(f"{path} is a folder; name a file.")
        if path.exists() and not force:
            raise UserError(f"{path} exists already; --force writes over it.")


def write_files(texts: Mapping[Path, str]) -> None:
    """Write several text files: each in one step, and none before all are on the disk."""
    drafts = {path: temporary_path(path) for path in texts}
    try:
        for path, draft in drafts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(texts[path], encoding="utf-8")
            flush(draft)
        for path, draft in drafts.items():
            move_into_place(draft, path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def check_folder(target: Path, force: bool, holds: Collection[str]) -> None:
    """Refuse to replace a folder that holds anything.

    Args:
        target: The folder to be made.
        force: Allow it, where all that is in it are the entries ``holds``: what the same converter
            made before.
        holds: Names of what the converter makes.

    Raises:
        UserError: It must not be replaced.
    """
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file; name a folder that does not exist yet.")
    there = sorted(path.name for path in target.iterdir()) if target.is_dir() else []
    others = [name for name in there if name not in holds]
    if others:
        raise UserError(f"{target} holds other files ({', '.join(others[:3])}); name a new folder.")
    if there and not force:
        raise UserError(f"{target} exists already; --force replaces it.")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A draft beside ``target`` that takes its place when the block ends without an error.

    Call :func:`check_folder` first: what stands there is replaced.
    """
    target = target.expanduser().resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.tmp-{secrets.token_hex(4)}")
    old = draft.with_name(f"{draft.name}-old")
    draft.mkdir()
    try:
        yield draft
        if target.exists():
            target.rename(old)
        try:
            draft.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
