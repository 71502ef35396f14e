"""Looking at a distiller in the middle of training without leaving a trace."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from mmkd_ext.distill import Distiller, Teacher
from mmkd_ext.distill.build import LossTerm
from mmkd_ext.distill.probe import untouched_random_state
from mmkd_ext.distill.unwrap import unwrapped


def distiller_of(runner: Any, hook: object) -> Distiller:
    """The runner's Distiller, unwrapped from DDP.

    Raises:
        TypeError: The runner trains something else.
    """
    model = unwrapped(runner.model)
    if not isinstance(model, Distiller):
        raise TypeError(
            f"{type(hook).__name__} works on a Distiller, but the model is a "
            f"{type(model).__name__}: take the hook out of this config, or wrap the model in "
            "model=dict(type='mmkd_ext.Distiller', student=..., losses=...)"
        )
    return model


@contextmanager
def undisturbed(distiller: Distiller) -> Iterator[None]:
    """Evaluation mode without gradient; afterwards everything is as it was before.

    That is: training flags and buffers (running statistics) of student, loss modules and teachers,
    what the teachers know about firings, and the random state.
    """
    for member in distiller.teachers.values():
        member.load()  # before the copies are taken: what it reads is to stay
    networks = [distiller, *(member.model for member in distiller.teachers.values())]
    flags = {module: module.training for network in networks for module in network.modules()}
    buffers = [(buffer, buffer.clone()) for network in networks for buffer in network.buffers()]
    seen = {name: dict(member.seen) for name, member in distiller.teachers.items()}
    try:
        with untouched_random_state(), torch.no_grad():
            distiller.eval()
            yield
    finally:
        for module, training in flags.items():
            module.training = training
        for buffer, before in buffers:
            buffer.copy_(before)
        for name, member in distiller.teachers.items():
            member.seen = seen[name]
        distiller.forget_taps()


@contextmanager
def evaluating(member: Teacher) -> Iterator[None]:
    """A teacher in evaluation mode, whatever mode it teaches in."""
    flags = {module: module.training for module in member.model.modules()}
    try:
        with torch.no_grad():
            member.model.eval()
            yield
    finally:
        for module, training in flags.items():
            module.training = training


def preprocess(distiller: Distiller, batch: Any) -> tuple[Any, Any]:
    """A raw batch to ``(inputs, data_samples)``, padded as in training, not augmented.

    Padding matters: a segmentation batch of unequal crops can only be stacked as training does it,
    and what runs on it costs what the padded size costs. Works on a copy: preprocessors write into
    the samples.
    """
    processor = distiller.data_preprocessor
    augments = getattr(processor, "batch_augments", None)
    if augments is not None:
        processor.batch_augments = None
    try:
        return split(processor(copy.deepcopy(batch), True))
    finally:
        if augments is not None:
            processor.batch_augments = augments


def split(data: Any) -> tuple[Any, Any]:
    """What a data preprocessor returned to ``(inputs, data_samples)``."""
    if isinstance(data, dict):
        return data["inputs"], data.get("data_samples")
    inputs, *rest = data
    return inputs, rest[0] if rest else None


@dataclass
class TapValues:
    """What the taps put out for one batch, by loss name."""

    student: dict[str, Any] = field(default_factory=dict)
    teacher: dict[str, Any] = field(default_factory=dict)

    def terms(self, distiller: Distiller) -> Iterator[tuple[LossTerm, Any, Any]]:
        """Each loss with what it compares; the teacher's part is None where there is none."""
        for term in distiller.terms:
            if term.name in self.student:
                yield term, self.student[term.name], self.teacher.get(term.name)


def tap_values(
    distiller: Distiller,
    inputs: Any,
    data_samples: Any,
    around: Callable[[str], Any] = lambda who: nullcontext(),
) -> TapValues:
    """Run the student and its teachers once; call it inside :func:`undisturbed`.

    The student runs in ``'tensor'`` mode, and, if that cannot be or leaves a tap silent (whole
    heads fire in ``'loss'`` mode only), in ``'loss'`` mode.

    Args:
        distiller: Whose networks and taps.
        inputs: ``(N, C, H, W)`` as the data preprocessor returned it.
        data_samples: The batch's samples; the networks get copies.
        around: Gives the context in which to run a network: ``around('student')`` (anew for a
            second try), ``around(<name of a teacher>)``.
    """
    recorder = distiller.recorder
    values = TapValues()
    try:
        with around("student"), recorder.arm():
            distiller.student(inputs, copy.deepcopy(data_samples), mode="tensor")
    except Exception:  # not swallowed: if the reason lies in the network, 'loss' raises it again
        with around("student"), recorder.arm():
            distiller.student(inputs, copy.deepcopy(data_samples), mode="loss")
    if not set(recorder.sources) <= set(recorder.outputs):
        with recorder.arm():
            distiller.student(inputs, copy.deepcopy(data_samples), mode="loss")
    values.student = distiller.student_taps(distiller.terms)
    for name in dict.fromkeys(term.teacher for term in distiller.terms if term.teacher):
        with around(name):
            heard = distiller.teacher_taps(
                name, distiller.terms, inputs, copy.deepcopy(data_samples)
            )
        values.teacher.update(heard)
    return values


def parameters_of(module: nn.Module, trained_only: bool = False) -> int:
    """How many numbers a module's parameters hold."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained_only)
