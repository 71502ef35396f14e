"""Make a folder of generated data once, completely, and safely among several processes.

A folder is built beside its place and renamed into it, so it is either absent or complete. Its
stamp says which generator version made it and how many files it has: another version, or a folder
that lost files, is made again.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

STAMP = "demo_data.json"
LEFTOVER_SECONDS = 3600  # no build takes as long


class DemoDataError(RuntimeError):
    """Demo data that cannot be made, with the reason and the remedy."""


def data_root() -> Path:
    """Return the folder that holds demo data and demo teachers, as an absolute path.

    ``MMKD_DEMO_ROOT`` when set (a relative one is taken from the working directory), else
    ``mmkd_ext/demo`` in the user's cache folder (``XDG_CACHE_HOME``, by default ``~/.cache``).
    Nothing is created.
    """
    chosen = os.environ.get("MMKD_DEMO_ROOT")
    if chosen:
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser().absolute() / "mmkd_ext" / "demo"


def ensure_folder(
    target: Path, *, version: int, write: Callable[[Path], None], describe: str
) -> Path:
    """Return ``target``, building it first unless this version of it stands there, complete.

    Args:
        target: The folder wanted.
        version: Version of the generator; another one in the stamp means: build again.
        write: Fills the empty folder it is given.
        describe: What is made, for the one line that says so.

    Raises:
        DemoDataError: When the folder cannot be written.
    """
    if _is_complete(target, version):  # the usual case needs no lock and no write access
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target):
            if not _is_complete(target, version):  # else another process made it while we waited
                # stderr, not a logger: this runs before any runner has set up logging, and
                # stdout may be the output of a tool that prints a config.
                print(f"mmkd_ext: making demo data: {describe} -> {target}", file=sys.stderr)
                _build(target, version, write)
    except OSError as err:
        raise DemoDataError(
            f"Cannot write the demo data to {target}: {err}. "
            "Set MMKD_DEMO_ROOT to a folder that can be written."
        ) from err
    return target


def _build(target: Path, version: int, write: Callable[[Path], None]) -> None:
    _remove_leftovers(target)
    draft = target.parent / f".{target.name}.tmp-{secrets.token_hex(8)}"
    draft.mkdir()
    try:
        write(draft)
        stamp = {"version": version, "files": _count_files(draft)}
        (draft / STAMP).write_text(json.dumps(stamp) + "\n", encoding="utf-8")
        if target.exists():  # outdated or damaged; a rename cannot replace a non-empty folder
            old = draft.with_name(draft.name + "-old")
            target.rename(old)
            shutil.rmtree(old, ignore_errors=True)
        try:
            draft.rename(target)
        except OSError:
            if not _is_complete(target, version):  # else: without a lock another one was faster
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _is_complete(folder: Path, version: int) -> bool:
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return stamp == {"version": version, "files": _count_files(folder)}


def _count_files(folder: Path) -> int:
    return sum(name != STAMP for _, _, names in os.walk(folder) for name in names)


def _remove_leftovers(target: Path) -> None:
    """Remove drafts that builds which were killed have left."""
    for leftover in target.parent.glob(f".{target.name}.tmp-*"):
        # By age, since a file system without locks may have a second builder, on another machine.
        if time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
            shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def _lock(target: Path) -> Iterator[None]:
    """Let one process at a time build ``target``, where the file system knows locks."""
    with open(target.parent / f".{target.name}.lock", "w", encoding="utf-8") as handle:
        # Windows has no fcntl and some network file systems no locks: then the rename decides.
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)  # released by the kernel when the process ends
        yield
