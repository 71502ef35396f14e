"""Reading and writing checkpoint files: weights-only in, all-or-nothing out.

A checkpoint is a pickle, and an ordinary pickle runs whatever code it holds. Everything in this
package reads through :func:`read_checkpoint`, which rebuilds tensors, numbers, strings and
containers and refuses the rest unless the user sets ``MMKD_TRUST_CHECKPOINTS=1``.
:func:`atomic_save` writes beside the target and renames, so a reader sees the old file or the
new one, never half of either, whatever kills the writer.
"""

from __future__ import annotations

import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import checkpoint as mm_checkpoint

from mmkd_ext import compat
from mmkd_ext.atomic_file import atomic_save, atomic_write_text

__all__ = [
    "TRUST_VARIABLE",
    "CheckpointError",
    "atomic_save",
    "atomic_write_text",
    "broken_part",
    "install_reader",
    "is_readable",
    "non_finite_keys",
    "read_checkpoint",
    "trusts_checkpoints",
    "weights_of",
]

TRUST_VARIABLE = "MMKD_TRUST_CHECKPOINTS"
_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_FORCE_NOT = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
_REMOTE = re.compile(r"^[\w.+:-]{2,}://")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used; the message says why and what to do."""


def read_checkpoint(path_or_url: str | os.PathLike, map_location: Any = "cpu") -> dict:
    """Read a checkpoint without running any code that it may hold.

    Args:
        path_or_url: A file (``~`` is expanded), or what mmengine's loader takes beside files
            (``https://``, ``torchvision://``, ``openmmlab://``, ``s3://`` ...).
        map_location: As in :func:`torch.load`.

    Returns:
        What the file holds: a dict, as every training framework writes one.

    Raises:
        CheckpointError: The file is missing, a directory, empty, truncated, corrupt, not a
            dict, or holds pickled objects other than data (and the user has not set
            ``MMKD_TRUST_CHECKPOINTS=1``).
    """
    name = os.fspath(path_or_url)
    if _REMOTE.match(name):
        loaded = _read_remote(name, map_location)
    else:
        path = Path(name).expanduser()
        _check_is_file(path)
        try:
            with _weights_only(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Detected pickle protocol")
                loaded = torch.load(path, map_location=map_location, weights_only=True)
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            reason = _refusal(path, error)
            if reason is None:
                raise CheckpointError(_corrupt(path, error)) from error
            if not trusts_checkpoints():
                raise CheckpointError(_refused(name, reason)) from error
            loaded = _unpickle(path, map_location)
    if not isinstance(loaded, dict):
        raise CheckpointError(
            f"Checkpoint {name} holds a {type(loaded).__name__}, not a dict of weights."
        )
    return loaded


def is_readable(path: str | os.PathLike) -> str | None:
    """Why a local checkpoint cannot be read, or None when it can.

    Reads the file twice, the second time to compare its check sums: a bit that flipped on the
    disk leaves a file which :func:`torch.load` takes without complaint.
    """
    try:
        read_checkpoint(path)
    except CheckpointError as error:
        return str(error)
    return broken_part(path)


def broken_part(path: str | os.PathLike) -> str | None:
    """Compare the check sums inside a local checkpoint; what does not match, or None.

    Files of torch before 1.6 have no check sums.
    """
    path = Path(path).expanduser()
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken is None:
        return None
    return f"Checkpoint {path} is corrupt: the check sum of {broken} does not match."


def weights_of(checkpoint: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The state_dict inside a checkpoint.

    Takes ``{'state_dict': ...}`` (OpenMMLab, timm), ``{'model': ...}`` (torchvision, DeiT),
    ``{'model_state_dict': ...}`` and bare state dicts; a ``module.`` that DataParallel put
    before every key goes.

    Raises:
        CheckpointError: Nothing in it looks like a state_dict.
    """
    for key in ("state_dict", "model", "model_state_dict"):
        inner = checkpoint.get(key)
        if isinstance(inner, Mapping) and _has_tensors(inner):
            break
    else:
        inner = checkpoint
        if not _has_tensors(inner):
            raise CheckpointError(
                "No weights in the checkpoint: neither `state_dict` nor `model` nor the top "
                f"level holds tensors; its keys are {list(checkpoint)[:8]}."
            )
    if all(key.startswith("module.") for key in inner):
        return {key[len("module.") :]: value for key, value in inner.items()}
    return inner  # the object itself: an OrderedDict carries `_metadata`


def non_finite_keys(state_dict: Mapping[str, Any]) -> list[str]:
    """Keys of the floating-point tensors that hold a NaN or an infinity."""
    return [
        key
        for key, value in state_dict.items()
        if isinstance(value, torch.Tensor)
        and (value.is_floating_point() or value.is_complex())
        and not bool(torch.isfinite(value).all())
    ]


def trusts_checkpoints() -> bool:
    """Whether the user allowed full unpickling by ``MMKD_TRUST_CHECKPOINTS=1``."""
    return compat.switched_on(TRUST_VARIABLE)


def install_reader() -> None:
    """Make mmengine's own loading of files and http(s) addresses go through this module.

    Covers ``load_from``, ``resume``, ``init_cfg=dict(type='Pretrained')`` and the test tools;
    uses mmengine's registration of loaders, for this process only. What other schemes
    (``torchvision://`` ...) and libraries read by themselves is held to weights only, too. Calling
    it twice is harmless.
    """
    compat.force_weights_only()

    def load_from_local(filename: str, map_location: Any = None) -> dict:
        return read_checkpoint(filename, map_location=map_location)

    def load_from_http(filename: str, map_location: Any = None) -> dict:
        return read_checkpoint(filename, map_location=map_location)

    register = mm_checkpoint.CheckpointLoader.register_scheme
    register("", load_from_local, force=True)
    register(["http://", "https://"], load_from_http, force=True)


def _history_buffer_method(owner: type, name: str) -> Any:
    """All that ``getattr`` may do in a checkpoint: name a method of mmengine's HistoryBuffer.

    mmengine's own list allows ``getattr`` as it is, and with that a file reaches the globals of
    any function and through them arbitrary calls.
    """
    if owner is HistoryBuffer and name in ("min", "max", "mean", "current"):
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(f"Trying to load unsupported GLOBAL getattr({owner!r}, {name!r})")


def _safe_globals() -> list:
    """What may stand in a checkpoint beside torch's own: numpy data and log histories."""
    multiarray = getattr(np, "_core", None) or np.core
    multiarray = multiarray.multiarray
    allowed: list = [HistoryBuffer, np.ndarray, np.dtype, slice]
    allowed.append((_history_buffer_method, "builtins.getattr"))
    for package in ("numpy.core", "numpy._core"):  # files of numpy 1 and of numpy 2
        for name in ("_reconstruct", "scalar"):
            allowed.append((getattr(multiarray, name), f"{package}.multiarray.{name}"))
    allowed += {type(np.dtype(code)) for code in "?bhilqBHILQefdgFDSUMm"}
    return allowed


@contextmanager
def _weights_only() -> Iterator[None]:
    """Close full unpickling for every ``torch.load`` inside, third-party ones included."""
    before = {name: os.environ.get(name) for name in (_FORCE, _FORCE_NOT)}
    os.environ[_FORCE] = "1"
    os.environ.pop(_FORCE_NOT, None)
    their_list = getattr(mm_checkpoint, "get_torch_safe_globals", None)
    if their_list is not None:
        mm_checkpoint.get_torch_safe_globals = _safe_globals
    try:
        if hasattr(torch.serialization, "safe_globals"):
            with torch.serialization.safe_globals(_safe_globals()):
                yield
        else:  # torch < 2.5 has no list: plain tensors and numbers only
            yield
    finally:
        if their_list is not None:
            mm_checkpoint.get_torch_safe_globals = their_list
        _restore_environment(before)


def _unpickle(path: Path, map_location: Any) -> Any:
    before = {_FORCE: os.environ.pop(_FORCE, None)}
    try:
        return torch.load(path, map_location=map_location, weights_only=False)
    except Exception as error:
        raise CheckpointError(_corrupt(path, error)) from error
    finally:
        _restore_environment(before)


def _restore_environment(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _read_remote(address: str, map_location: Any) -> Any:
    loader = mm_checkpoint.CheckpointLoader._get_checkpoint_loader(address)
    if address.startswith(("http://", "https://")):
        loader = mm_checkpoint.load_from_http  # ours may be registered by install_reader()
    try:
        if trusts_checkpoints():
            return loader(address, map_location=map_location)
        with _weights_only():
            return loader(address, map_location=map_location)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refused(address, _refused_name(str(error)) or "")) from error
    except Exception as error:
        raise CheckpointError(
            f"Checkpoint {address} cannot be read: {_first_line(error)}. "
            "Download it by other means and give the file's path, or delete a broken copy from "
            f"{torch.hub.get_dir()}/checkpoints."
        ) from error


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        found = sorted(entry.name for entry in path.glob("*.pth"))
        hint = f"Name one of the files in it: {', '.join(found[-5:])}." if found else ""
        raise CheckpointError(f"Checkpoint {path} is a directory, not a file. {hint}".rstrip())
    if not path.is_file():
        where = "" if path.is_absolute() else f" (looked for in {Path.cwd()})"
        if not path.parent.is_dir():
            raise CheckpointError(
                f"Checkpoint {path} does not exist{where}: there is no folder {path.parent}. "
                "Check the path."
            )
        found = sorted(entry.name for entry in path.parent.glob("*.pth"))
        hint = f"The folder holds {', '.join(found[-5:])}." if found else "Check the path."
        raise CheckpointError(f"Checkpoint {path} does not exist{where}. {hint}")
    if not os.access(path, os.R_OK):
        raise CheckpointError(f"Checkpoint {path} may not be read: no permission.")
    if path.stat().st_size == 0:
        raise CheckpointError(
            f"Checkpoint {path} is empty (0 bytes): writing or copying it was cut short. "
            "Take an earlier checkpoint or copy the file again."
        )


_REFUSALS = (
    re.compile(r"GLOBAL (?P<name>\S+?)(?: was not an allowed|\s+whose module)"),
    re.compile(r"GLOBAL (?P<name>getattr\(.*\))"),
    re.compile(r"unrecognized function (?P<name><.*?>|\S+)"),
    re.compile(r"(?:but got|Can only).*?(?P<name><class .*?>)"),
    re.compile(r"``(?P<name>[\w.]+)`` .*must be imported"),
)


def _refused_name(message: str) -> str | None:
    for pattern in _REFUSALS:
        found = pattern.search(message)
        if found:
            return found["name"]
    return None


def _refusal(path: Path, error: Exception) -> str | None:
    """What the weights-only reader refused in the file, or None when the file is broken."""
    if not isinstance(error, pickle.UnpicklingError):
        return None
    name = _refused_name(str(error))
    if name is not None:
        return name
    if zipfile.is_zipfile(path):
        return _first_line(error)
    with open(path, "rb") as file:
        head = file.read(2)
    if head[:1] == b"\x80" and head[1:] in (b"\x03", b"\x04", b"\x05"):
        return f"a Python pickle of protocol {head[1]}"
    return None


def _refused(name: str, reason: str) -> str:
    return (
        f"Checkpoint {name} was refused: it holds pickled Python code ({reason}), which reading "
        f"it would run. If you trust whoever made the file, and only then, set {TRUST_VARIABLE}=1 "
        "and try again."
    )


def _corrupt(path: Path, error: Exception) -> str:
    # torch's own text advises to try again with weights_only=False: bad advice here.
    cause = "" if isinstance(error, pickle.UnpicklingError) else f" ({_first_line(error)})"
    return (
        f"Checkpoint {path} cannot be read: it is corrupt, truncated or no checkpoint at "
        f"all{cause}. Take an earlier checkpoint or copy the file again."
    )


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0].split(". ")[0] if lines else "no message"
    return f"{type(error).__name__}: {text[:200].rstrip('.')}"


def _has_tensors(mapping: Mapping[str, Any]) -> bool:
    return any(isinstance(value, torch.Tensor) for value in mapping.values())
