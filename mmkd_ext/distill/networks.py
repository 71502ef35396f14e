"""A Distiller's student and teachers from their configs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from mmkd_ext.registry import MODELS

from .teacher import EMATeacher, Teacher
from .teacher_args import teacher_args


def build_student(
    student: dict | nn.Module, data_preprocessor: dict | nn.Module | None
) -> nn.Module:
    """A student from its config, with the runner's preprocessor unless it has its own."""
    if isinstance(student, nn.Module):
        return student
    student = copy.deepcopy(student)
    if data_preprocessor is not None:
        if isinstance(data_preprocessor, Mapping):
            # mmpretrain's classifiers write their batch augmentation into it.
            data_preprocessor = copy.deepcopy(data_preprocessor)
        student.setdefault("data_preprocessor", data_preprocessor)
    return MODELS.build(student)


def build_teacher(config: Any, student: nn.Module, mode: str, name: str) -> Teacher:
    """A teacher from its config, see :func:`teacher_args`."""
    kind, args = teacher_args(config, name)
    args = {"mode": mode, "name": name, **args}
    try:
        return EMATeacher(student, **args) if kind == "EMATeacher" else Teacher(**args)
    except TypeError as error:
        raise TypeError(f"teacher {name!r}: {error}") from error
