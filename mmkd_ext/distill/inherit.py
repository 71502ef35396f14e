"""Starting the student from parts of its teacher.

Source: the *inheriting strategy* of Kang et al., "Instance-Conditional Knowledge Distillation for
Object Detection", NeurIPS 2021, arXiv:2110.12724, used by MGD's detectors: neck and head begin with
the teacher's weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmkd_ext.text import listed

from .tap_spec import TapError


def inherit_weights(
    student: nn.Module, teacher: nn.Module, modules: Sequence[str], name: str = "teacher"
) -> dict[str, Tensor]:
    """Copy parameters and buffers of some modules from the teacher, where name and shape agree.

    Args:
        student: Changed in place.
        teacher: The source.
        modules: Dotted names that both networks have, such as ``'neck'`` and ``'bbox_head'``.
        name: The teacher's, in messages.

    Returns:
        What was copied, by name.

    Raises:
        TapError: A module that one of the networks lacks, or of which nothing agrees.
    """
    own, source = student.state_dict(), teacher.state_dict()
    copied: dict[str, Tensor] = {}
    for module in modules:
        keys = [key for key in own if key.startswith(f"{module}.")]
        theirs = {key for key in source if key.startswith(f"{module}.")}
        for who, found in (("student", keys), (name, theirs)):
            if not found:
                children = ", ".join(
                    n for n, _ in (student if who == "student" else teacher).named_children()
                )
                raise TapError(
                    f"inherit: the {who} has no weights under {module!r}; its parts are {children}"
                )
        fitting = [key for key in keys if key in source and source[key].shape == own[key].shape]
        if not fitting:
            raise TapError(
                f"inherit: not one weight of {module!r} is of the {name}'s name and shape: "
                f"{_difference(keys, own, source)}. Inherit another part, or none"
            )
        left = [key for key in keys if key not in fitting]
        print_log(
            f"inherit: {len(fitting)} of {len(keys)} tensors of {module!r} are the {name}'s now",
            logger="current",
        )
        if left:
            print_log(
                f"inherit: {len(left)} of {module!r} stay as initialised: "
                f"{_difference(left, own, source)}",
                logger="current",
                level=30,
            )
        copied |= {key: source[key] for key in fitting}
    with torch.no_grad():
        for key, value in copied.items():
            own[key].copy_(value)
    return copied


def inheritance(config: Any, teachers: Sequence[str]) -> tuple[str, tuple[str, ...]] | None:
    """Read the Distiller's ``inherit``: the teacher's name and the modules, or None.

    Args:
        config: ``['neck', 'bbox_head']``, or ``dict(teacher='a', modules=[...])`` where there are
            several teachers.
        teachers: Names of the teachers there are.

    Raises:
        ValueError: There is no such teacher, or no module is named.
    """
    if not config:
        return None
    if isinstance(config, Mapping):
        if set(config) != {"teacher", "modules"}:
            raise ValueError(
                "inherit is a list of modules, or dict(teacher=..., modules=[...]), not "
                f"{dict(config)}"
            )
        name, modules = config["teacher"], config["modules"]
    elif len(teachers) != 1:
        raise ValueError(
            f"inherit needs a teacher to inherit from: there are {len(teachers)}"
            + ("; say inherit=dict(teacher=..., modules=[...])" if teachers else "")
        )
    else:
        name, modules = teachers[0], config
    if name not in teachers:
        raise ValueError(f"inherit: no teacher {name!r}; there is {listed(list(teachers))}")
    if isinstance(modules, str) or not modules or not all(isinstance(m, str) for m in modules):
        raise ValueError(f"inherit: modules are a list of names, such as ['neck'], not {modules!r}")
    return name, tuple(modules)


def _difference(keys: Sequence[str], own: Mapping, source: Mapping) -> str:
    return listed(
        [
            f"{key} is {tuple(own[key].shape)} here, "
            + (f"{tuple(source[key].shape)} there" if key in source else "missing there")
            for key in keys
        ],
        3,
    )
