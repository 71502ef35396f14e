"""The tap language: how a config says which module outputs a loss compares.

A *tap* is the dotted name of a module (``'backbone.layer4'``), optionally with an element of its
tuple or list output (``'backbone[-1]'``), or with a parameter of its forward, whose argument is
then meant instead of the output (``'bbox_head.loss_cls(label)'``). One tap serves both networks
unless ``dict(student=..., teacher=...)`` names them apart. A brace (``{0-4}``, ``{0,1,11}``) or a
glob (``*`` inside one component) makes one loss per match. A list of names, or a dict of them, goes
to one loss as a list or dict; patterns inside a list expand in place.
"""

from __future__ import annotations

import difflib
import fnmatch
import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

_TAP = re.compile(r"^(?P<name>[^\[\]()]+)(?:\((?P<arg>\w+)\))?(?:\[(?P<index>-?\d+)\])?$")
_BRACE = re.compile(r"\{([^{}]*)\}")
_SIDES = {"student", "teacher"}


class TapError(ValueError):
    """A tap that cannot be read, found, or used; the message names it and says what to do."""


@dataclass(frozen=True)
class Tap:
    """One output of a module, or one argument it is called with.

    Attributes:
        name: The module's dotted name.
        index: An element of the output (or argument); None for the whole.
        arg: The parameter of the module's forward whose argument is meant; None for the output.
    """

    name: str
    index: int | None = None
    arg: str | None = None

    @classmethod
    def parse(cls, text: str) -> Tap:
        """Read ``'neck.fpn_convs.0'``, ``'backbone[-1]'`` or ``'roi_extractor(rois)'``."""
        match = _TAP.match(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise TapError(
                f"tap {text!r} is not a module name such as 'backbone.layer4', 'backbone[-1]' or "
                "'head.loss_cls(label)'"
            )
        index = match["index"]
        return cls(match["name"], None if index is None else int(index), match["arg"])

    @property
    def source(self) -> str:
        """Where its values come from: a module's output, or one of its arguments."""
        return self.name if self.arg is None else f"{self.name}({self.arg})"

    def __str__(self) -> str:
        return self.source if self.index is None else f"{self.source}[{self.index}]"


# A Tap, or a list or dict of structures: what one loss receives from one network.
Structure = Any


@dataclass(frozen=True)
class TapPair:
    """What one loss compares: a structure of taps per network, ``None`` for a network unused."""

    student: Structure
    teacher: Structure


def leaves(structure: Structure) -> list[Tap]:
    """All taps of a structure, in order."""
    if structure is None:
        return []
    if isinstance(structure, Tap):
        return [structure]
    children = structure.values() if isinstance(structure, dict) else structure
    return list(itertools.chain.from_iterable(map(leaves, children)))


def map_structure(function: Callable[[Tap], Any], structure: Structure) -> Any:
    """The same lists and dicts with ``function(tap)`` at the leaves."""
    if structure is None:
        return None
    if isinstance(structure, Tap):
        return function(structure)
    if isinstance(structure, dict):
        return {key: map_structure(function, value) for key, value in structure.items()}
    return [map_structure(function, value) for value in structure]


def has_pattern(text: str) -> bool:
    """Whether the text holds a brace or a glob."""
    return "{" in text or "*" in text


def expand_braces(text: str) -> list[str]:
    """``'a.{0-2}.b'`` to ``['a.0.b', 'a.1.b', 'a.2.b']``; several braces give their product."""
    parts = _BRACE.split(text)
    if any("{" in part or "}" in part for part in parts[::2]):
        raise TapError(f"tap {text!r} has an unbalanced or nested brace")
    choices: list[list[str]] = []
    for position, part in enumerate(parts):
        choices.append([part] if position % 2 == 0 else _brace_items(part, text))
    return ["".join(items) for items in itertools.product(*choices)]


def _brace_items(body: str, text: str) -> list[str]:
    items: list[str] = []
    for item in (piece.strip() for piece in body.split(",")):
        bounds = re.fullmatch(r"(\d+)-(\d+)", item)
        if bounds is None:
            items.append(item)
        elif int(bounds[1]) <= int(bounds[2]):
            items.extend(str(i) for i in range(int(bounds[1]), int(bounds[2]) + 1))
        else:
            raise TapError(f"tap {text!r}: the range {{{item}}} runs backwards")
    if not all(items):
        raise TapError(f"tap {text!r} has an empty brace item")
    return items


def module_names(model: nn.Module) -> list[str]:
    """Dotted names of all modules below a network."""
    return [name for name, _ in model.named_modules() if name]


def match_names(text: str, names: Sequence[str], side: str) -> list[Tap]:
    """The taps that ``text`` stands for among a model's module ``names``.

    Raises:
        TapError: No module of that name; the closest names are listed.
    """
    found: list[Tap] = []
    for plain in expand_braces(text):
        tap = Tap.parse(plain)
        if "*" in tap.name:
            pattern = tap.name.split(".")
            hits = [name for name in names if _matches(name.split("."), pattern)]
        else:
            hits = [tap.name] if tap.name in names else []
        if not hits:
            raise TapError(_unknown_module(tap.name, names, side))
        found.extend(replace(tap, name=name) for name in hits)
    return found


def _matches(components: list[str], pattern: list[str]) -> bool:
    return len(components) == len(pattern) and all(
        fnmatch.fnmatchcase(part, glob) for part, glob in zip(components, pattern, strict=True)
    )


def _unknown_module(name: str, names: Sequence[str], side: str) -> str:
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    parent = name.rpartition(".")[0]
    while parent and parent not in names:
        parent = parent.rpartition(".")[0]
    depth = parent.count(".") + 1 if parent else 0
    below = [n for n in names if n.startswith(f"{parent}." if parent else "") and n]
    children = list(dict.fromkeys(n.split(".")[depth] for n in below))[:12]
    hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
    where = f"{parent!r} has" if parent else "the model has"
    return f"tap {name!r}: the {side} has no such module; {hint}{where} {', '.join(children)}"


def resolve_taps(
    tap: Any,
    student_names: Sequence[str],
    teacher_names: Sequence[str] | None,
    where: str,
) -> list[TapPair]:
    """Resolve a config's ``tap`` against the two networks.

    Args:
        tap: The config value, see the module docstring.
        student_names: Dotted module names of the student.
        teacher_names: Those of the teacher; ``None`` for a loss that needs no teacher.
        where: Whose tap it is, for messages, such as ``"losses['kd']"``.

    Returns:
        One pair per loss module to build: several if a pattern matched several modules.
    """
    if tap is None:
        raise TapError(f"{where} has no `tap`: name the module output it compares")
    try:
        student = _expand(_side(tap, "student"), student_names, "student")
        if teacher_names is None:
            return [TapPair(structure, None) for structure in student]
        teacher = _expand(_side(tap, "teacher"), teacher_names, "teacher")
    except TapError as error:
        raise TapError(f"{where}: {error}") from None
    if len(student) != len(teacher):
        if len(teacher) > 1 and len(student) > 1:
            raise TapError(
                f"{where}: the pattern matches {len(student)} modules of the student "
                f"({', '.join(map(_text, student))}) but {len(teacher)} of the teacher "
                f"({', '.join(map(_text, teacher))}); name them apart with "
                "tap=dict(student=..., teacher=...) so that they pair up"
            )
        # A single module on one side serves every match of the other.
        student, teacher = (side * max(len(student), len(teacher)) if len(side) == 1 else side
                            for side in (student, teacher))  # fmt: skip
    return [TapPair(s, t) for s, t in zip(student, teacher, strict=True)]


def is_patterned(tap: Any) -> bool:
    """Whether the tap makes one loss per match (a pattern outside a list)."""
    if isinstance(tap, str):
        return has_pattern(tap)
    if isinstance(tap, dict) and tap and set(tap) <= _SIDES:
        return any(isinstance(value, str) and has_pattern(value) for value in tap.values())
    return False


def _side(tap: Any, side: str) -> Any:
    """One network's part of a config tap, ``dict(student=, teacher=)`` undone at any depth."""
    if isinstance(tap, dict):
        if tap and set(tap) <= _SIDES:
            if side not in tap:
                raise TapError(f"tap {dict(tap)!r} does not say what to tap in the {side}")
            return tap[side]
        return {key: _side(value, side) for key, value in tap.items()}
    if isinstance(tap, (list, tuple)):
        return [_side(value, side) for value in tap]
    return tap


def _expand(tap: Any, names: Sequence[str], side: str) -> list[Structure]:
    """One structure per loss module: only a bare string can stand for several."""
    if isinstance(tap, str):
        return list(match_names(tap, names, side))
    return [_expand_structure(tap, names, side)]


def _expand_structure(tap: Any, names: Sequence[str], side: str) -> Structure:
    if isinstance(tap, dict):
        return {key: _expand_structure(value, names, side) for key, value in tap.items()}
    if isinstance(tap, (list, tuple)):
        items: list[Structure] = []
        for value in tap:
            if isinstance(value, str):
                items.extend(match_names(value, names, side))
            else:
                items.append(_expand_structure(value, names, side))
        return items
    if isinstance(tap, str):
        matches = match_names(tap, names, side)
        if len(matches) > 1:
            raise TapError(f"tap {tap!r} inside a dict matches {len(matches)} modules; use a list")
        return matches[0]
    raise TapError(f"tap {tap!r} must be a module name, a list or a dict of names")


def _text(structure: Structure) -> str:
    return ", ".join(map(str, leaves(structure)))
