"""Loss weights over time: factors in the place of the constant 1.

Config: ``schedule=dict(type='cosine', begin=0, end=100)`` in a loss, or a list of such dicts whose
factors multiply (warm-up, then decay). ``begin`` and ``end`` count epochs (fractions count, so a
factor moves every iteration) or, with ``by='iter'``, iterations; ``end=None`` is the end of
training. Being functions of the progress alone, schedules need no state to resume.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.logging import MessageHub, print_log


@dataclass(frozen=True)
class Progress:
    """Where training stands: iterations done, and the totals if a runner has told them."""

    iter: int = 0
    max_iters: int | None = None
    max_epochs: int | None = None

    @classmethod
    def current(cls) -> Progress:
        """Read mmengine's message hub, which the runner keeps up to date."""
        hub = MessageHub.get_current_instance()
        return cls(
            int(hub.get_info("iter", 0) or 0), hub.get_info("max_iters"), hub.get_info("max_epochs")
        )

    def position(self, by: str) -> float:
        """Epochs or iterations done."""
        if by == "iter" or self.iter == 0:
            return float(self.iter)
        if not self.max_iters or not self.max_epochs:
            raise ValueError(
                "a loss-weight schedule counts epochs, but no runner has told how many iterations "
                "an epoch has; use by='iter'"
            )
        return self.iter * self.max_epochs / self.max_iters

    def total(self, by: str) -> float:
        """Epochs or iterations of the whole training."""
        total = self.max_iters if by == "iter" else self.max_epochs
        if not total:
            raise ValueError(
                "a loss-weight schedule without `end` lasts to the end of training, whose length "
                "no runner has told; give `end`"
            )
        return float(total)


def _ramp(fraction: float, start: float, stop: float) -> float:
    return start * (1 - fraction) + stop * fraction


def _half_cosine(fraction: float, start: float, stop: float) -> float:
    return stop + (start - stop) * (1 + math.cos(math.pi * fraction)) / 2


# type -> (shape over the fraction 0..1 of [begin, end], default factor at begin, at end)
_SHAPES = {
    "constant": (lambda fraction, start, stop: start, 1.0, 1.0),
    "warmup": (_ramp, 0.0, 1.0),
    "linear": (_ramp, 1.0, 0.0),
    "cosine": (_half_cosine, 1.0, 0.0),
    "stop": (lambda fraction, start, stop: stop if fraction >= 1 else start, 1.0, 0.0),
}


@dataclass(frozen=True)
class LossSchedule:
    """The factor of one loss over time.

    Args:
        type: ``'constant'``, ``'warmup'`` (0 to 1), ``'linear'`` or ``'cosine'`` (1 to 0), or
            ``'stop'`` (1, then 0 from ``end`` on; the teacher no longer runs for this loss).
        begin: Where it begins to move; before that the factor is ``start``.
        end: Where it has arrived at ``stop``; ``None`` is the end of training.
        start: Factor before ``begin``; ``None`` takes the type's own.
        stop: Factor after ``end``; ``None`` takes the type's own.
        by: ``'epoch'`` or ``'iter'``, the unit of ``begin`` and ``end``.
    """

    type: str = "constant"
    begin: float = 0.0
    end: float | None = None
    start: float | None = None
    stop: float | None = None
    by: str = "epoch"

    def __post_init__(self) -> None:
        if self.type not in _SHAPES:
            raise ValueError(
                f"unknown loss-weight schedule {self.type!r}; choose from {', '.join(_SHAPES)}"
            )
        if self.by not in ("epoch", "iter"):
            raise ValueError(f"a schedule's `by` must be 'epoch' or 'iter', not {self.by!r}")
        if self.end is not None and self.end < self.begin:
            raise ValueError(f"a schedule cannot end ({self.end}) before it begins ({self.begin})")
        if self.type == "stop" and self.end is None:
            raise ValueError("schedule type 'stop' needs `end`: the epoch (or iter) to stop at")

    def factor(self, progress: Progress) -> float:
        """The factor at this progress."""
        if self.by == "epoch" and progress.max_epochs == 1 and max(self.begin, self.end or 0) > 1:
            _warn_of_one_epoch(self)
        shape, start, stop = _SHAPES[self.type]
        start = start if self.start is None else self.start
        stop = stop if self.stop is None else self.stop
        if self.type == "constant":
            return start
        position = progress.position(self.by)
        end = progress.total(self.by) if self.end is None else self.end
        span = end - self.begin
        fraction = (position - self.begin) / span if span > 0 else float(position >= end)
        return shape(min(max(fraction, 0.0), 1.0), start, stop)


@functools.lru_cache
def _warn_of_one_epoch(schedule: LossSchedule) -> None:
    print_log(
        f"{schedule} counts epochs, and training lasts one epoch: mmengine's iteration loops "
        "always say so. In such a loop give by='iter' and count iterations.",
        logger="current",
        level=30,
    )


def build_schedule(config: Any) -> tuple[LossSchedule, ...]:
    """Schedules from a loss's ``schedule`` entry: ``None``, a dict, or a list of dicts."""
    if config is None:
        return ()
    if isinstance(config, Mapping):
        config = [config]
    if not isinstance(config, Sequence) or isinstance(config, str):
        raise TypeError(f"`schedule` must be a dict or a list of dicts, not {config!r}")
    return tuple(LossSchedule(**dict(item)) for item in config)


def factor_of(schedules: Sequence[LossSchedule], progress: Progress) -> float:
    """The product of the schedules' factors."""
    return math.prod(schedule.factor(progress) for schedule in schedules)
