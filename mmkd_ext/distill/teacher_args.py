"""From a teacher's config to the arguments of its class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from .teacher import Teacher


def teacher_args(config: Any, name: str = "teacher") -> tuple[str, dict[str, Any]]:
    """Sort a teacher's config: our keys, a model's own dict with our keys beside it, a network.

    Args:
        config: As the Distiller's ``teacher``.
        name: The teacher's, in messages.

    Returns:
        ``'Teacher'`` or ``'EMATeacher'``, and the keyword arguments of that class that are given.

    Raises:
        TypeError: It is nothing that describes a teacher.
    """
    if isinstance(config, (str, nn.Module)):
        return "Teacher", {"config": config}
    if not isinstance(config, Mapping):
        raise TypeError(
            f"teacher {name!r} must be dict(config=..., checkpoint=...), not {config!r}"
        )
    args = dict(config)
    kind = str(args.get("type", "")).removeprefix("mmkd_ext.")
    if kind in ("EMATeacher", "Teacher"):
        args.pop("type")
        return kind, args
    if "type" in args:  # the model's own dict
        ours = set(inspect.signature(Teacher).parameters) - {"config"}
        args = {key: args.pop(key) for key in ours & set(args)} | {"config": args}
    return "Teacher", args
