"""One clear message for what a user can mend; a traceback for what is a bug.

:func:`main_guard` wraps the ``main`` of every command. An expected failure ends with exit code 2
and one message on stderr; ``MMKD_TRACEBACK=1`` shows the traceback as well. Expected is

- a :class:`UserError`, and what the operating system refuses (no such file, no permission, disk
  full, out of memory on the GPU);
- an error that was *raised on purpose*, with a message, in this package or in an OpenMMLab
  library: a ``raise`` or ``assert`` statement, unlike a lookup or a call that happened to fail;
- an argument that the class named in a config does not know, as it is built;
- a few failures deep inside a library that come from the data (:func:`_data_text`).
"""

from __future__ import annotations

import difflib
import dis
import functools
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

TRACEBACK_VARIABLE = "MMKD_TRACEBACK"
EXIT_CODE = 2

_LIBRARIES = ("mmkd_ext", "mmengine", "mmcv", "mmpretrain", "mmdet", "mmseg")
_ON_PURPOSE = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    RuntimeError,
    AssertionError,
    ImportError,
)
_RAISE = dis.opmap["RAISE_VARARGS"]
_BAD_ARGUMENT = re.compile(
    r"(?P<callee>[\w.]+)\(\) (?:got an unexpected keyword argument '(?P<name>\w+)'"
    r"|missing \d+ required|got multiple values)"
)


class UserError(Exception):
    """Something the user can mend; the message says what, where, and what to do."""


def main_guard(main: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command's ``main`` so that expected failures end in one message, exit code 2."""

    @functools.wraps(main)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return main(*args, **kwargs)
        except KeyboardInterrupt:
            _say("interrupted")
            sys.exit(130)
        except Exception as error:
            message = explain(error)
            if message is None:
                raise
            if os.environ.get(TRACEBACK_VARIABLE, "") not in ("", "0"):
                traceback.print_exc()
            _say(message)
            sys.exit(EXIT_CODE)

    return guarded


def explain(error: BaseException) -> str | None:
    """The one message for an expected error, or None for a bug that deserves its traceback."""
    text = _text(error)
    if isinstance(error, UserError):
        return text
    if isinstance(error, OSError):
        return _worker_text(text) or _system_text(error)
    if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):
        return f"Out of memory: {_first_line(text)} Lower the batch size or the image size."
    if isinstance(error, ModuleNotFoundError) and error.name in _LIBRARIES:
        return (
            f"The module {error.name} is not installed in {sys.executable}. `make env` in the "
            "checkout installs everything; `python -m mmkd_ext doctor` shows what is there."
        )
    if isinstance(error, TypeError) and _in_a_build(error):
        found = _BAD_ARGUMENT.search(text)
        target = _class_in_sight(error, found["callee"]) if found else None
        if target is not None:
            return text + _argument_hint(target, found["name"])
    about_data = _data_text(error, text)
    if about_data is not None:
        return about_data
    if text and isinstance(error, _ON_PURPOSE) and not isinstance(error, NotImplementedError):
        worker = _worker_text(text)
        if worker is not None:
            return worker
        where = _raised_on_purpose(error)
        if where == "mmengine.registry.build_functions" and isinstance(error, KeyError):
            return text.partition(" Please check")[0] + _type_hint(error)
        if where is not None:
            return text if where.startswith("mmkd_ext") else f"{text} (from {where})"
    return None


def _say(message: str) -> None:
    sys.stdout.flush()
    rank = os.environ.get("RANK")
    many = rank is not None and os.environ.get("WORLD_SIZE", "1") != "1"
    prefix = f"error (rank {rank}): " if many else "error: "
    print(prefix + message.strip(), file=sys.stderr, flush=True)


def _text(error: BaseException) -> str:
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # str() of a KeyError is the repr of its message
    return str(error)


def _system_text(error: OSError) -> str:
    if not error.strerror or error.filename is None:
        return str(error) or type(error).__name__
    name = os.fsdecode(error.filename) if not isinstance(error.filename, int) else "a file"
    where = "" if os.path.isabs(name) else f" (relative to {os.getcwd()})"
    hint = ""
    if any(
        frame.f_globals.get("__name__", "").partition(".")[2].startswith("datasets")
        for frame, _ in _frames(error)
    ):
        hint = " --data-root PATH names the folder of the data."
    return f"{error.strerror}: {name}{where}.{hint}"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0].strip() if text.strip() else ""


def _worker_text(text: str) -> str | None:
    """The last line of an error that a data loading process sent over, if it is expected."""
    if "Original Traceback" not in text:
        return None
    lines = [line for line in text.splitlines() if line.strip(" ^~")]
    if "in DataLoader worker" not in lines[0]:
        return None
    frames = [line.strip() for line in lines if line.lstrip().startswith("File ")]
    statement = lines[-2].strip() if len(lines) > 1 else ""
    expected = statement.startswith(("raise ", "assert ")) or re.match(
        r"(FileNotFound|Permission|IsADirectory|NotADirectory)Error", lines[-1]
    )
    if not expected or not frames:
        return None
    message = re.sub(r"^[\w.]+Error: ", "", lines[-1])
    return _image_text(message) or f"{message} (while loading data)"


def _frames(error: BaseException) -> Iterator[tuple[FrameType, TracebackType]]:
    current = error.__traceback__
    while current is not None:
        yield current.tb_frame, current
        current = current.tb_next


def _library_of(frame: FrameType) -> str | None:
    name = str(frame.f_globals.get("__name__", ""))
    return name if name.partition(".")[0] in _LIBRARIES else None


def _raised_on_purpose(error: BaseException) -> str | None:
    """The module whose ``raise`` statement made the error, or None."""
    last = None
    for last in _frames(error):  # noqa: B007
        pass
    if last is None:
        return None
    frame, entry = last
    module = _library_of(frame)
    if module is None or frame.f_code.co_code[entry.tb_lasti] != _RAISE:
        return None
    return module


def _in_a_build(error: BaseException) -> bool:
    return any(
        "build" in frame.f_code.co_name and _library_of(frame) for frame, _ in _frames(error)
    )


def _type_hint(error: BaseException) -> str:
    """The registered names that come closest to an unknown ``type``."""
    frame = list(_frames(error))[-1][0]
    registry, wanted = frame.f_locals["registry"], str(frame.f_locals["obj_type"])
    scope, _, name = wanted.rpartition(".")
    while scope and registry.parent is not None:
        registry = registry.parent
    registry = registry.children.get(scope, registry) if scope else registry
    close = difflib.get_close_matches(name, list(registry.module_dict), n=3)
    if close:
        return f" Did you mean {' or '.join(close)}?"
    return " Check the spelling, the `default_scope`, and the config's `custom_imports`."


def _data_text(error: BaseException, text: str) -> str | None:
    """What the user sees as a fault of the data, though a library failed on it by chance."""
    *_, (frame, _) = _frames(error)
    label = re.fullmatch(r"Target (-?\d+) is out of bounds\.", text)
    if image := _image_text(text):
        return image
    if label and isinstance(error, IndexError):
        scores = frame.f_locals.get("input")
        classes = (
            f"{scores.shape[1]} classes" if getattr(scores, "ndim", 0) > 1 else "fewer classes"
        )
        return (
            f"An annotation of the data has the label {label[1]}, but the network tells {classes} "
            "apart, counted from 0: correct the annotations, or num_classes of the head."
        )
    for outer, _ in _frames(error):
        # numpy cannot concatenate the serialised annotations of no images at all.
        if outer.f_code.co_name == "_serialize_data" and "at least one array" in text:
            from mmkd_ext.apis.annotations import fault_of

            dataset = outer.f_locals["self"]
            listed = getattr(dataset, "ann_file", "") or getattr(dataset, "data_prefix", "")
            filters = getattr(dataset, "filter_cfg", None)
            return fault_of(dataset) or (
                f"The dataset {type(dataset).__name__} is empty: no usable image in {listed}. "
                "Check ann_file, data_prefix and what the dataset filters out"
                + (f" (filter_cfg={dict(filters)})." if filters else ".")
            )
        if outer.f_code.co_name == "_get_unserialized_subset" and isinstance(error, IndexError):
            dataset = outer.f_locals["self"]
            return (
                f"The dataset {type(dataset).__name__} has {len(dataset.data_list)} usable images "
                f"in {getattr(dataset, 'ann_file', '') or dataset.data_root}, but its `indices` "
                f"ask for number {max(outer.f_locals['indices'])}, counted from 0: give it all of "
                "its data, or other indices."
            )
        if outer.f_code.co_name == "load_data_list" and _library_of(outer):
            return _unreadable_text(error, outer.f_locals["self"], text)
    return None


def _unreadable_text(error: BaseException, dataset: Any, text: str) -> str | None:
    """What a dataset stumbled over in its annotation file; None where its library says it."""
    file = getattr(dataset, "ann_file", "")
    if not file or not isinstance(error, _ON_PURPOSE) or _raised_on_purpose(error):
        return None
    reason = f"an entry {text!r} is missing" if isinstance(error, KeyError) else text
    return (
        f"{file} cannot be read as annotations of the {type(dataset).__name__}: {reason}. Check "
        "that the file is whole and of that dataset's form."
    )


def _image_text(text: str) -> str | None:
    image = re.fullmatch(r"failed to load image: (.+)", text)  # mmcv's words
    if image is None:
        return None
    return f"{image[1]} cannot be read: it is corrupt, or no image. Mend it or take it out."


def _class_in_sight(error: BaseException | None, callee: str) -> type | None:
    """The class that a library was building from a config when its constructor refused.

    Args:
        error: Raised by the call.
        callee: What was called: the class, or the constructor of it or of one of its bases. None
            comes back for any other function, and for what only a user's own code sees: there the
            call is wrong, not the config.
    """
    name = re.sub(r"\.__(init|new)__$", "", callee).rpartition(".")[2]
    while error is not None:
        for frame, _ in reversed(list(_frames(error))):
            if _library_of(frame) is None:
                continue
            for value in (*frame.f_locals.values(), frame.f_globals.get(name)):
                if isinstance(value, type) and any(c.__name__ == name for c in value.__mro__):
                    return value
        error = error.__cause__
    return None


def _argument_hint(target: type, name: str | None) -> str:
    """What the misspelt argument was probably meant to be, from the class that refused it."""
    if name is None:
        return f" (while building {target.__name__})"
    try:
        known = [p for p in inspect.signature(target).parameters if p != "self"]
    except (TypeError, ValueError):
        return ""
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    known = [name for name in known if name not in ("args", "kwargs")]
    return f"; {target.__name__} takes {', '.join(known)}."
