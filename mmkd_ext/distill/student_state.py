"""Wearing the student's names: the part of the Distiller that makes it look like its student."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from mmkd_ext.text import listed

from .checkpoint import CheckpointError
from .teacher import EMATeacher, Teacher

_OWN_CHILDREN = {"distill", "student", "teachers", "teacher"}
_EMA_PREFIX = "ema_teacher."


class StudentState:
    """Mixin for an ``nn.Module`` that holds a ``student`` whose children are its own children.

    The student's modules, and its own parameters and buffers, are shared, not copied: the names in
    ``state_dict``, ``named_parameters`` and ``named_modules`` are the student's, the student itself
    is reachable as ``student`` but is no child. To replace a child, set it here: that reaches the
    student too, while ``distiller.student.neck = ...`` would not reach back.
    """

    student: nn.Module
    teachers: dict[str, Teacher]

    def _adopt(self, student: nn.Module) -> None:
        taken = _OWN_CHILDREN & set(student._modules)
        if taken:
            raise ValueError(
                f"the student {type(student).__name__} has a child named {min(taken)!r}, a name "
                "the Distiller needs for itself"
            )
        object.__setattr__(self, "student", student)
        self._modules.update(student._modules)
        # The same dict objects: what replaces a tensor in one replaces it in the other.
        for name in ("_parameters", "_buffers", "_non_persistent_buffers_set"):
            object.__setattr__(self, name, getattr(student, name))
        object.__setattr__(self, "_version", student._version)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            student = self.__dict__.get("student")
            if student is None or name.startswith("__"):
                raise
            return getattr(student, name)

    def __setattr__(self, name: str, value: Any) -> None:
        student = self.__dict__.get("student")
        if student is not None and name in student.__dict__ and name not in self.__dict__:
            setattr(student, name, value)  # a plain attribute of the student, set by some hook
            return
        super().__setattr__(name, value)
        self._mirror(name)

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """As on any module; a replaced child (SyncBN conversion, FSDP) reaches the student too."""
        super().add_module(name, module)
        self._mirror(name)

    def _mirror(self, name: str) -> None:
        student = self.__dict__.get("student")
        if student is not None and name in student._modules and name in self._modules:
            student._modules[name] = self._modules[name]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        for member in self.__dict__.get("teachers", {}).values():
            member.apply_(fn)
        return self

    def _ema_teachers(self, prefix: str) -> list[tuple[str, nn.Module]]:
        return [
            (f"{prefix}{_EMA_PREFIX}{name}.", member.average)
            for name, member in self.teachers.items()
            if isinstance(member, EMATeacher)
        ]

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        self.student._save_to_state_dict(destination, prefix, keep_vars)
        for start, average in self._ema_teachers(prefix):
            average.state_dict(destination=destination, prefix=start, keep_vars=keep_vars)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load what is not a child's: the student's own tensors and the EMA teachers' weights.

        Raises:
            CheckpointError: Not one tensor of the student is in ``state_dict``.
        """
        self._require_a_match(state_dict, prefix)
        self.student._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        for start, average in self._ema_teachers(prefix):
            own = {k.removeprefix(start): v for k, v in state_dict.items() if k.startswith(start)}
            if own:
                average.load_state_dict(own)
        ours = (f"{prefix}distill.", f"{prefix}{_EMA_PREFIX}")
        unexpected_keys[:] = [key for key in unexpected_keys if not key.startswith(ours)]

    def _require_a_match(self, state_dict: dict[str, Any], prefix: str) -> None:
        own = self.student.state_dict(prefix=prefix)
        matching = sum(
            key in state_dict and getattr(state_dict[key], "shape", None) == value.shape
            for key, value in own.items()
        )
        if own and not matching:
            raise CheckpointError(
                "the checkpoint holds not one tensor of the student by name and shape (it has "
                f"{listed(list(state_dict), 3) or 'nothing'}; the student has "
                f"{listed(list(own), 3)}): it is of another network"
            )
