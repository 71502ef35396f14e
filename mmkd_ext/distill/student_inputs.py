"""Modules of the teacher that are called with the student's arguments.

A second stage of a detector works on regions that the first stage proposes and a sampler draws, so
that student and teacher would judge different regions. With the student's regions in place of the
teacher's own, their outputs compare row by row. Memories and masks of a video are the same case.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from .tap_spec import Tap, TapError, TapPair, leaves, module_names, resolve_taps
from .taps import Recorder, check_parameter, map_tensors


class StudentInputs:
    """Arguments that a teacher's modules get from the student, call by call.

    Args:
        spec: Which: one tap of an argument, such as ``'roi_head.bbox_roi_extractor(rois)'``, or a
            list of them; ``dict(student=..., teacher=...)`` where the names differ.
        student: The student.
        teacher: The teacher's network; gets a hook for each argument.
        name: The teacher's name, for messages.

    Raises:
        TapError: A tap that is no argument, or that names an unknown module or parameter.
    """

    def __init__(self, spec: Any, student: nn.Module, teacher: nn.Module, name: str) -> None:
        items = spec if isinstance(spec, (list, tuple)) else [spec]
        names = module_names(student), module_names(teacher)
        where = f"student_inputs of the {name}"
        pairs = [pair for item in items for pair in _resolve(item, *names, where)]
        self._pairs = {pair.teacher: pair.student for pair in pairs}
        self._values: dict[Tap, list[Any]] | None = None
        self._calls: dict[Tap, int] = {}
        self._name = name
        for tap in self._pairs:
            module = teacher.get_submodule(tap.name)
            check_parameter(module, tap, name)
            module.register_forward_pre_hook(_Substitute(self, tap), with_kwargs=True)

    @property
    def sources(self) -> list[str]:
        """What the student's recorder must keep."""
        return [tap.source for tap in self._pairs.values()]

    @contextmanager
    def given(self, student: Recorder) -> Any:
        """Within, the teacher's modules get what the student's were called with."""
        self._values = {
            mine: [map_tensors(lambda tensor: tensor.detach(), v) for v in student.firings(theirs)]
            for mine, theirs in self._pairs.items()
        }
        self._calls = dict.fromkeys(self._pairs, 0)
        try:
            yield
        finally:
            self._values = None

    def substitute(self, tap: Tap, arguments: inspect.BoundArguments) -> bool:
        """Put the student's argument in; False where nothing is given at the moment."""
        if self._values is None:
            return False
        call, values = self._calls[tap], self._values[tap]
        if call == len(values):
            raise TapError(
                f"student_inputs {str(tap)!r} of the {self._name}: its module is called more often "
                f"than the student's {str(self._pairs[tap])!r}, which was called {call} times"
            )
        self._calls[tap] = call + 1
        arguments.arguments[tap.arg] = values[call]
        return True


class _Substitute:
    """The hook of one argument of one module."""

    def __init__(self, inputs: StudentInputs, tap: Tap) -> None:
        self.inputs, self.tap = inputs, tap

    def __call__(self, module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any] | None:
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
        return (bound.args, bound.kwargs) if self.inputs.substitute(self.tap, bound) else None


def _resolve(
    item: Any, student_names: Sequence[str], teacher_names: Sequence[str], where: str
) -> Sequence[TapPair]:
    if not isinstance(item, (str, Mapping)):
        raise TapError(f"{where}: {item!r} is no tap such as 'roi_extractor(rois)'")
    pairs = resolve_taps(item, student_names, teacher_names, where)
    for pair in pairs:
        for tap in (*leaves(pair.student), *leaves(pair.teacher)):
            if tap.arg is None or tap.index is not None:
                raise TapError(
                    f"{where}: {str(tap)!r} names no argument; write module(parameter), such as "
                    "'roi_head.bbox_roi_extractor(rois)'"
                )
    return pairs
