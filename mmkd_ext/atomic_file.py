"""Writing files all or nothing: a reader sees the old file or the new one, never a part."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_TOKEN = secrets.token_hex(4)  # tells this process from an earlier one with the same number
_TEMPORARY = re.compile(r"^\..+\.tmp-(?P<host>[^~]+)~(?P<pid>\d+)~(?P<token>[0-9a-f]+)$")


def atomic_save(obj: Any, path: str | os.PathLike) -> None:
    """``torch.save`` that leaves the whole new file or the untouched old one.

    Writes a hidden temporary file in the target's folder, flushes it to the disk and renames it.
    When the process is killed half-way the temporary stays; the next save in that folder from
    the same machine removes it.

    Raises:
        OSError: The file system refused (full, read-only, ...); nothing has changed.
    """
    import torch  # seconds; whoever only writes text need not wait for it

    path = Path(path).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale_temporaries(path.parent)
        with replacing(path) as file:
            torch.save(obj, file)
    except (OSError, RuntimeError) as error:
        # A full disk reaches us as a RuntimeError of torch's zip writer.
        raise OSError(
            f"Could not write checkpoint {path}: {error}. A file that stood there is unchanged."
        ) from error


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of ``path`` once it is complete, or not at all.

    Args:
        path: What is to be replaced, or made.
        durable: Wait until it is on the disk, so that it survives a loss of power, too.
    """
    temporary = temporary_path(path)
    try:
        with open(temporary, "wb") as file:
            yield file
        if durable:
            move_into_place(temporary, path)
        else:
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def atomic_write_bytes(content: bytes, path: str | os.PathLike) -> None:
    """Replace a file in one step."""
    with replacing(Path(path)) as file:
        file.write(content)


def atomic_write_text(text: str, path: str | os.PathLike) -> None:
    """Replace a text file in one step."""
    atomic_write_bytes(text.encode(), path)


def temporary_path(path: Path) -> Path:
    """The hidden name beside ``path`` under which this process writes it."""
    return path.parent / f".{path.name}.tmp-{_host()}~{os.getpid()}~{_TOKEN}"


def flush(path: Path) -> None:
    """Wait until a file that is complete is on the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def move_into_place(temporary: Path, path: Path) -> None:
    """Flush a file that is complete to the disk and give it its name."""
    flush(temporary)
    os.replace(temporary, path)
    _sync_folder(path.parent)


def remove_stale_temporaries(folder: Path) -> None:
    """Remove what processes of this machine that are gone left behind in a folder."""
    for entry in folder.glob(".*.tmp-*"):
        found = _TEMPORARY.match(entry.name)
        if found is None or found["host"] != _host():
            continue
        pid = int(found["pid"])
        # In a container every run may have the same process number.
        ours_of_old = pid == os.getpid() and found["token"] != _TOKEN
        if ours_of_old or not _alive(pid):
            entry.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # The rename itself is only as durable as the folder's entry; not every file system lets a
    # folder be opened or flushed, and then there is nothing more to do.
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)


def _host() -> str:
    return re.sub(r"[^\w.-]", "_", socket.gethostname()) or "localhost"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True
