"""From the ``losses`` of a config to loss modules with resolved taps."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from mmkd_ext.registry import MODELS

from .probe import dry_run
from .schedule import LossSchedule, build_schedule
from .tap_spec import TapError, TapPair, is_patterned, leaves, module_names, resolve_taps
from .teacher import EMATeacher, Teacher


@dataclass(eq=False)
class LossTerm:
    """One loss module's place in the distiller: what it compares, with whom, and when."""

    name: str
    taps: TapPair
    teacher: str | None
    schedules: tuple[LossSchedule, ...]
    cls: type[nn.Module] = field(repr=False)
    args: dict[str, Any] = field(repr=False)

    @property
    def where(self) -> str:
        """For messages: the loss and its taps."""
        sides = {"student": self.taps.student, self.teacher or "teacher": self.taps.teacher}
        taps = [f"{side} tap {', '.join(map(str, leaves(s)))}" for side, s in sides.items() if s]
        return f"losses[{self.name!r}] ({'; '.join(taps)})"


def loss_class(kind: Any, where: str) -> type[nn.Module]:
    """The class a loss config names; ours are found with or without the ``mmkd_ext.`` prefix."""
    import mmkd_ext.losses

    if isinstance(kind, type):
        return kind
    if not isinstance(kind, str):
        raise KeyError(f"{where} needs a `type`, such as 'MGDLoss'")
    found = MODELS.module_dict.get(kind.removeprefix("mmkd_ext.")) or MODELS.get(kind)
    if found is None:
        base = mmkd_ext.losses.DistillLoss
        ours = [
            name
            for name, cls in MODELS.module_dict.items()
            if isinstance(cls, type) and issubclass(cls, base)
        ]
        close = difflib.get_close_matches(kind, ours, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise KeyError(f"{where}: unknown loss type {kind!r}; {hint}Known: {', '.join(ours)}")
    try:
        inspect.signature(found.forward).bind(None, None, None, None)
    except (AttributeError, TypeError):
        raise TypeError(
            f"{where}: {kind!r} is no distillation loss; its forward must take (student, teacher, "
            "data_samples)"
        ) from None
    return found


def plan_losses(
    losses: Mapping[str, Mapping[str, Any]], student: nn.Module, teachers: Mapping[str, Teacher]
) -> list[LossTerm]:
    """Read the ``losses`` of a config and resolve their taps, one term per loss module."""
    if not isinstance(losses, Mapping) or not all(isinstance(c, Mapping) for c in losses.values()):
        raise TypeError(
            "the Distiller's `losses` must be a dict of dicts: dict(<name>=dict(type=..., "
            f"tap=...)), not {losses!r}"
        )
    if not losses:
        raise ValueError("the Distiller has no `losses`; without any, train the student itself")
    student_names = module_names(student)
    terms: list[LossTerm] = []
    for name, config in losses.items():
        args = dict(config)
        cls = loss_class(args.pop("type", None), f"losses[{name!r}]")
        tap, schedules = args.pop("tap", None), _schedules(name, args.pop("schedule", None))
        teacher = _teacher_of(name, args.pop("teacher", None), cls, teachers)
        names = module_names(teachers[teacher].model) if teacher else None
        if getattr(cls, "tap_structure", None) == "tensor" and _is_collection(tap, cls.tap_keys):
            raise TapError(
                f"losses[{name!r}]: {cls.__name__} compares one output at a time, but its tap is "
                f"a list or dict of names: {tap!r}. For one loss each write a brace, such as "
                "'backbone.layer{3,4}'"
            )
        pairs = resolve_taps(tap, student_names, names, f"losses[{name!r}]")
        numbered = is_patterned(tap)
        for index, pair in enumerate(pairs):
            own = f"{name}_{index}" if numbered else name
            terms.append(LossTerm(own, pair, teacher, schedules, cls, dict(args)))
    names = [term.name for term in terms]
    if len(set(names)) < len(names) or any("." in name for name in names):
        raise ValueError(f"loss names must differ and hold no dot: {', '.join(names)}")
    return terms


def build_losses(
    terms: Sequence[LossTerm],
    student: nn.Module,
    teachers: Mapping[str, Teacher],
    input_shape: Sequence[int],
) -> nn.ModuleDict:
    """Build the loss modules, inferring by a dry run what a config leaves out."""
    _infer_args(terms, student, teachers, input_shape)
    modules = nn.ModuleDict()
    for term in terms:
        cls = term.cls  # a local, where the error message looks for the arguments it takes
        try:
            module = cls(**term.args)
        except (TypeError, ValueError) as error:
            raise type(error)(f"losses[{term.name!r}]: {error}") from error
        for arg in getattr(module, "teacher_modules", ()):
            module.bind_teacher(arg, _teacher_module(term, getattr(module, arg), teachers))
        modules[term.name] = module
    return modules


def _is_collection(tap: Any, keys: Sequence[str]) -> bool:
    """Whether a tap is a list or a dict, other than one with the keys that the loss takes."""
    if isinstance(tap, Mapping) and set(tap) <= {"student", "teacher"}:
        return any(_is_collection(value, keys) for value in tap.values())
    if keys and isinstance(tap, Mapping):
        return not set(tap) <= set(keys)
    return isinstance(tap, (Mapping, list, tuple))


def _schedules(loss: str, config: Any) -> tuple[LossSchedule, ...]:
    try:
        return build_schedule(config)
    except (TypeError, ValueError) as error:
        raise type(error)(f"losses[{loss!r}]: {error}") from error


def _teacher_of(
    loss: str, name: str | None, cls: type[nn.Module], teachers: Mapping[str, Teacher]
) -> str | None:
    """Which teacher a loss listens to; None for a loss that needs none."""
    if not getattr(cls, "needs_teacher", True):
        if name is not None:
            raise ValueError(f"losses[{loss!r}]: {cls.__name__} uses no teacher; drop `teacher`")
        return None
    if not teachers:
        raise ValueError(
            f"losses[{loss!r}]: {cls.__name__} needs a teacher, but the Distiller has none; "
            "give teacher=dict(config=..., checkpoint=...)"
        )
    if name is None:
        if len(teachers) > 1:
            raise ValueError(
                f"losses[{loss!r}] must say which teacher it means: teacher= one of "
                f"{', '.join(map(repr, teachers))}"
            )
        return next(iter(teachers))
    if name not in teachers:
        raise KeyError(
            f"losses[{loss!r}]: no teacher is named {name!r}; there is "
            f"{', '.join(map(repr, teachers))}"
        )
    return name


def _teacher_module(term: LossTerm, dotted: str, teachers: Mapping[str, Teacher]) -> nn.Module:
    teacher = teachers[term.teacher]
    if isinstance(teacher, EMATeacher):
        raise ValueError(f"{term.where}: an EMA teacher's own module cannot be borrowed frozen")
    try:
        return teacher.model.get_submodule(dotted)
    except AttributeError:
        names = module_names(teacher.model)
        close = difflib.get_close_matches(dotted, names, n=3)
        raise KeyError(
            f"{term.where}: the teacher has no module {dotted!r}; close: {', '.join(close)}"
        ) from None


def _infer_args(
    terms: Sequence[LossTerm],
    student: nn.Module,
    teachers: Mapping[str, Teacher],
    input_shape: Sequence[int],
) -> None:
    open_terms = [
        term
        for term in terms
        if any(term.args.get(arg) is None for arg in getattr(term.cls, "inferred_args", ()))
    ]
    if not open_terms:
        return
    student_values = dry_run(
        student, [term.taps.student for term in open_terms], input_shape, "student"
    )
    teacher_values: dict[str, Any] = {}
    for name, teacher in teachers.items():
        heard = [term for term in open_terms if term.teacher == name]
        if heard:
            structures = [term.taps.teacher for term in heard]
            values = dry_run(teacher.model, structures, input_shape, name)
            teacher_values.update(zip((term.name for term in heard), values, strict=True))
    for term, value in zip(open_terms, student_values, strict=True):
        try:
            inferred = term.cls.infer_args(value, teacher_values.get(term.name), term.args)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{term.where}: {error}") from error
        for arg, found in inferred.items():
            if term.args.get(arg) is None:
                term.args[arg] = found
