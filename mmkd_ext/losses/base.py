"""What all distillation losses share: precision, firings, weights, labels, inferred arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mmkd_ext.precision import HALF, full_precision

from .checks import check_logits, check_target, check_weight
from .labels import labels_from_samples

__all__ = ["DistillLoss", "labels_from_samples"]

Tapped = Tensor | Sequence[Tensor] | Mapping[str, Tensor]
Terms = Tensor | dict[str, Tensor]


class DistillLoss(nn.Module):
    """Base of the distillation losses; a subclass writes :meth:`compute`.

    Calling the loss returns the *weighted* value, a scalar or a dict of scalars whose sum is the
    loss. Around :meth:`compute` it sees to these:

    - Autocast is off and half-precision inputs become float32, so that the loss is computed in
      float32; float32 and float64 inputs stay as they are.
    - What comes from the teacher is a constant: it is detached.
    - A tapped module that fired n > 1 times in one forward hands over a list of n outputs; the loss
      is then the sum over the firings, and a teacher that fired once serves them all.

    Class attributes:
        needs_teacher: False for self-distillation; the teacher's side is then None.
        tap_structure: What one firing is: a 'tensor', a 'sequence' or a 'dict' of tensors.
        tap_keys: The keys a 'dict' must have. A 'tensor' loss that has keys takes such a dict from
            the student, too.
        inferred_args: Constructor arguments that a config may leave out, see :meth:`infer_args`.
        teacher_modules: Constructor arguments that hold the dotted name of a module of the teacher,
            which :meth:`bind_teacher` gets after building.

    Args:
        loss_weight: Weight of the loss, or of each term by name where :meth:`compute` returns a
            dict. A weighted value divided by its weight is the raw value.
    """

    needs_teacher: ClassVar[bool] = True
    tap_structure: ClassVar[Literal["tensor", "sequence", "dict"]] = "tensor"
    tap_keys: ClassVar[tuple[str, ...]] = ()
    inferred_args: ClassVar[tuple[str, ...]] = ()
    teacher_modules: ClassVar[tuple[str, ...]] = ()

    def __init__(self, loss_weight: float | dict[str, float] = 1.0) -> None:
        super().__init__()
        if isinstance(loss_weight, Mapping):
            check_weight(self.name, **{f"weight of {k}": v for k, v in loss_weight.items()})
            loss_weight = dict(loss_weight)
        else:
            check_weight(self.name, loss_weight=loss_weight)
        self.loss_weight = loss_weight
        # A dict hides the modules from the module tree: they are no part of the loss's state.
        self._borrowed = _Borrowed()

    @property
    def name(self) -> str:
        """Class name, for messages."""
        return type(self).__name__

    def compute(self, student: Any, teacher: Any, data_samples: Any) -> Terms:
        """The raw loss of one firing.

        Args:
            student: One firing of the student's tap, in the compute dtype.
            teacher: One firing of the teacher's tap, detached, in the same dtype, or None.
            data_samples: The batch's data samples, see :meth:`labels`.

        Returns:
            A scalar, or a dict of scalars with the keys of ``loss_weight``.
        """
        raise NotImplementedError

    def forward(self, student: Any, teacher: Any = None, data_samples: Any = None) -> Terms:
        """The weighted loss, summed over the firings of the tapped module.

        Args:
            student: One firing, or a list of firings: a tensor each, or what ``tap_structure`` says
                (a sequence or dict holds the firings in its items).
            teacher: The same of the teacher; None for self-distillation.
            data_samples: Data samples of the batch, needed by losses that use labels.

        Returns:
            A scalar, or a dict of scalars whose sum is the loss; float32, or float64 if the inputs
            are.

        Raises:
            ValueError: Shapes, labels or structures do not fit.
        """
        students = self.firings(student, "student")
        if self.needs_teacher:
            if teacher is None:
                raise ValueError(f"{self.name} needs a teacher tap, but got none")
            teachers = self.firings(teacher, "teacher")
            if len(teachers) == 1:
                teachers = teachers * len(students)
        else:
            teachers = [None] * len(students)
        if len(teachers) != len(students):
            raise ValueError(
                f"{self.name}: the student tap fired {len(students)} times and the teacher tap "
                f"{len(teachers)} times; they must fire equally often, or the teacher's once"
            )
        tensor = next(_leaves(students[0]))
        dtype = torch.float32 if tensor.dtype in HALF else tensor.dtype
        total: Terms | None = None
        with full_precision(tensor):
            for one, other in zip(students, teachers, strict=True):
                terms = self._weighted(
                    self.compute(_cast(one, dtype), _cast(other, dtype, True), data_samples)
                )
                total = terms if total is None else _add(total, terms)
        return total

    @classmethod
    def firings(cls, tapped: Any, side: str) -> list[Any]:
        """Split what a tap recorded into its firings, each of the shape ``tap_structure`` says.

        Raises:
            ValueError: It is not of that structure, or its parts fired unequally often.
        """
        name, wanted = cls.__name__, _WANTED[cls.tap_structure]
        keyed = cls.tap_keys and side == "student" and isinstance(tapped, Mapping)
        if cls.tap_structure == "dict" or keyed:
            return _dict_firings(name, tapped, side, cls.tap_keys)
        if cls.tap_structure == "tensor":
            items = list(tapped) if isinstance(tapped, list) and tapped else [tapped]
            if not all(isinstance(item, Tensor) for item in items):
                bad = next(item for item in items if not isinstance(item, Tensor))
                raise ValueError(
                    f"{name}: the {side} tap must give {wanted}, not {type(bad).__name__}; "
                    "select one with a tap such as 'backbone[-1]'"
                )
            return items
        if not isinstance(tapped, Sequence) or not len(tapped):
            raise ValueError(
                f"{name}: the {side} tap must be {wanted}, not {type(tapped).__name__}"
            )
        columns = _columns(name, side, wanted, dict(enumerate(tapped)))
        return [list(row) for row in zip(*columns, strict=True)]

    @classmethod
    def infer_args(cls, student: Any, teacher: Any, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the constructor arguments in ``inferred_args``, from a dry run.

        Args:
            student: What the student tap recorded, as :meth:`forward` gets it.
            teacher: The same of the teacher; None if the loss needs none.
            cfg: The constructor arguments given so far.
        """
        return {}

    def require(self, **args: Any) -> None:
        """Raise ``ValueError`` if an argument that only a Distiller can infer is still None."""
        missing = [name for name, value in args.items() if value is None]
        if missing:
            raise ValueError(
                f"{self.name} needs {' and '.join(missing)}: give them, or name the loss in a "
                "Distiller's `losses`, which infers them from the tapped tensors"
            )
        for name, value in args.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{self.name}: {name} must be an integer >= 1, not {value!r}")

    def bind_teacher(self, arg: str, module: nn.Module) -> None:
        """Hand over the teacher's frozen module that constructor argument ``arg`` names.

        It stays outside the module tree: in no state_dict, no optimizer and no copy of this loss.

        Raises:
            ValueError: The loss has no such argument.
        """
        if arg not in self.teacher_modules:
            raise ValueError(f"{self.name} borrows no module of the teacher through {arg!r}")
        self._borrowed[arg] = module

    def borrowed(self, arg: str) -> nn.Module:
        """The teacher's module that ``arg`` names.

        Raises:
            ValueError: It was not bound.
        """
        if arg not in self._borrowed:
            raise ValueError(
                f"{self.name} needs the teacher's module {getattr(self, arg)!r} ({arg}): build the "
                f"loss through a Distiller, or call bind_teacher({arg!r}, module)"
            )
        return self._borrowed[arg]

    def labels(self, data_samples: Any, logits: Tensor) -> Tensor:
        """Labels of the batch on the logits' device: (N,) class indices or (N, C) weights.

        Args:
            data_samples: Data samples, or the labels themselves as one tensor.
            logits: (N, C).
        """
        check_logits(self.name, logits)
        try:
            target = labels_from_samples(data_samples, logits.shape[1])
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None
        check_target(self.name, target, logits)
        return target.to(logits.device, non_blocking=True)

    def _weighted(self, terms: Terms) -> Terms:
        if isinstance(terms, Tensor):
            return terms * self.loss_weight
        return {name: value * self.loss_weight[name] for name, value in terms.items()}


def run_module(module: nn.Module, inputs: Tensor) -> Tensor:
    """Apply a module in its own parameters' dtype and return in the dtype of the input.

    They differ where a whole model is held in half precision: the matrix products then run in half,
    while the loss is still reduced in float32.
    """
    parameter = next(module.parameters(), None)
    if parameter is None or parameter.dtype == inputs.dtype:
        return module(inputs)
    return module(inputs.to(parameter.dtype)).to(inputs.dtype)


class _Borrowed(dict):
    """Modules of the teacher, by argument name; a copy of the loss shares them."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Borrowed:
        return _Borrowed(self)


_WANTED = {
    "tensor": "one tensor",
    "sequence": "a list of tensors",
    "dict": "a dict of tensors",
}


def _dict_firings(name: str, tapped: Any, side: str, keys: Sequence[str]) -> list[dict]:
    """What a dict tap recorded as its firings, each a dict of tensors with these keys.

    Raises:
        ValueError: It is not such a dict, or its parts fired unequally often.
    """
    if not isinstance(tapped, Mapping) or not set(keys) <= set(tapped):
        wanted = ", ".join(f"{key}='...'" for key in keys)
        got = sorted(tapped) if isinstance(tapped, Mapping) else type(tapped).__name__
        raise ValueError(f"{name}: the {side} tap must be dict({wanted}), not {got}")
    columns = _columns(name, side, _WANTED["dict"], {key: tapped[key] for key in keys})
    return [dict(zip(keys, row, strict=True)) for row in zip(*columns, strict=True)]


def _columns(name: str, side: str, wanted: str, parts: Mapping[Any, Any]) -> list[list[Tensor]]:
    """Each part as a list of its n firings; one that fired once is repeated."""
    columns = [list(part) if isinstance(part, list) and part else [part] for part in parts.values()]
    for key, column in zip(parts, columns, strict=True):
        if not all(isinstance(item, Tensor) for item in column):
            bad = next(item for item in column if not isinstance(item, Tensor))
            raise ValueError(
                f"{name}: the {side} tap must be {wanted}, but part {key!r} is "
                f"{type(bad).__name__}; select a tensor with a tap such as 'backbone[-1]'"
            )
    count = max(map(len, columns))
    if any(len(column) not in (1, count) for column in columns):
        counts = {key: len(column) for key, column in zip(parts, columns, strict=True)}
        raise ValueError(f"{name}: parts of the {side} tap fired unequally often: {counts}")
    return [column * count if len(column) == 1 else column for column in columns]


def _leaves(tapped: Any) -> Iterator[Tensor]:
    if isinstance(tapped, Tensor):
        yield tapped
    else:
        yield from tapped.values() if isinstance(tapped, Mapping) else tapped


def _cast(tapped: Any, dtype: torch.dtype, detach: bool = False) -> Any:
    if tapped is None:
        return None
    if isinstance(tapped, Tensor):
        tapped = tapped.detach() if detach else tapped
        return tapped.to(dtype) if tapped.is_floating_point() else tapped  # labels stay
    if isinstance(tapped, Mapping):
        return {key: _cast(value, dtype, detach) for key, value in tapped.items()}
    return [_cast(value, dtype, detach) for value in tapped]


def _add(total: Terms, terms: Terms) -> Terms:
    if isinstance(total, Tensor):
        return total + terms
    return {name: value + terms[name] for name, value in total.items()}
