"""What distillation costs: parameters, MACs and time that it adds to the student's training."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from torch import nn

from mmkd_ext.distill import Distiller, Teacher
from mmkd_ext.registry import HOOKS

from .costs import CostRow, cost_table, count_costs
from .observing import distiller_of


@HOOKS.register_module()
class CostReportHook(Hook):
    """Report, once, what distillation adds to the training of the student.

    Before the first step: a table of parameters and MACs (forward, per image, counted on the first
    training batch) of the student, of each teacher as far as its last tap, and of each loss. After
    ``warmup + iterations`` steps: the average step, and how much of it the teachers' and the
    losses' forward take. Their backward (connectors and the path back to the student's taps) cannot
    be told apart from the student's and stays in the rest.

    Counting leaves random state, running statistics and gradients as they are. In the timed
    iterations a GPU is waited for around each part, which costs a little time.

    Args:
        iterations: How many steps to time; 0 for the table alone.
        warmup: How many steps to leave out first; at least the one that makes the table.

    Attributes:
        rows: The table, once made.
        seconds: Once timed: averages of ``step``, ``teachers`` and ``losses`` in seconds.
    """

    def __init__(self, iterations: int = 20, warmup: int = 5) -> None:
        if iterations < 0 or warmup < 1:
            raise ValueError("iterations must be at least 0 and warmup at least 1")
        self.iterations = iterations
        self.warmup = warmup
        self.rows: list[CostRow] = []
        self.seconds: dict[str, float] = {}
        self._start: int | None = None
        self._timer: _PartTimer | None = None
        self._steps: list[float] = []

    def before_train(self, runner: Any) -> None:
        """Check the model; begin anew where a runner trains again."""
        distiller_of(runner, self)
        self._start, self._steps, self.seconds = None, [], {}

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Make the table in the first step, start the clocks after the warm-up."""
        if not is_main_process():
            return
        distiller = distiller_of(runner, self)
        if self._start is None:
            self._start = runner.iter
            self.rows, remarks = count_costs(distiller, data_batch)
            _say("\n" + cost_table(self.rows))
            for remark in remarks:
                _say(remark, logging.WARNING)
        if self.iterations and runner.iter == self._start + self.warmup:
            self._timer = _PartTimer(distiller)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Read the clocks; report when enough steps are in."""
        if self._timer is None:
            return
        step = _step_seconds(runner)
        if step is None:
            _say(
                "no times: the step's time is IterTimerHook's, which does not run", logging.WARNING
            )
            self._stop()
            return
        self._steps.append(step)
        if len(self._steps) >= self.iterations:
            self._report(runner)

    def after_train(self, runner: Any) -> None:
        """Report what there is, if training was shorter."""
        if self._timer is not None and self._steps:
            self._report(runner)
        elif is_main_process() and self.iterations and not self.seconds:
            _say(f"no times: training ended within the {self.warmup} warm-up steps")
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.remove()
            self._timer = None

    def _report(self, runner: Any) -> None:
        timer, count = self._timer, len(self._steps)
        self.seconds = {
            "step": sum(self._steps) / count,
            "teachers": timer.seconds["teachers"] / count,
            "losses": timer.seconds["losses"] / count,
        }
        self._stop()
        step = self.seconds["step"]
        parts = ", ".join(
            f"{name} {1e3 * self.seconds[name]:.1f} ms ({self.seconds[name] / step:.0%})"
            for name in ("teachers", "losses")
        )
        rest = step - self.seconds["teachers"] - self.seconds["losses"]
        first = self._start + self.warmup + 1
        _say(
            f"a step takes {1e3 * step:.1f} ms without data loading (average of iterations "
            f"{first} to {first + count - 1}, this process); of that, forward of: {parts}. The "
            f"other {1e3 * rest:.1f} ms are the student's forward and backward, the optimizer, "
            "and the losses' backward"
        )


class _PartTimer:
    """Adds up the forward time of the teachers and of the losses, until removed."""

    def __init__(self, distiller: Distiller) -> None:
        self.seconds = {"teachers": 0.0, "losses": 0.0}
        self._members: list[Teacher] = list(distiller.teachers.values())
        for member in self._members:
            for method in ("prepare", "run"):
                setattr(member, method, self._timed(getattr(member, method)))
        self._began = 0.0
        self._handles = []
        for module in distiller.distill.values():
            self._handles.append(module.register_forward_pre_hook(self._before))
            self._handles.append(module.register_forward_hook(self._after))

    def _timed(self, method: Callable) -> Callable:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = _now()
            result = method(*args, **kwargs)
            self.seconds["teachers"] += _now() - began
            return result

        return timed

    def _before(self, module: nn.Module, args: Any) -> None:
        self._began = _now()

    def _after(self, module: nn.Module, args: Any, output: Any) -> None:
        self.seconds["losses"] += _now() - self._began

    def remove(self) -> None:
        """Take everything off again."""
        for member in self._members:
            for method in ("prepare", "run"):
                vars(member).pop(method, None)  # the class's own shows again
        for handle in self._handles:
            handle.remove()
        self._members, self._handles = [], []


def _now() -> float:
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def _step_seconds(runner: Any) -> float | None:
    """The step that just ended, without waiting for data, as ``IterTimerHook`` measured it."""
    scalars = runner.message_hub.log_scalars
    if "train/time" not in scalars or "train/data_time" not in scalars:
        return None
    return scalars["train/time"].current() - scalars["train/data_time"].current()


def _say(text: str, level: int = logging.INFO) -> None:
    print_log(f"CostReportHook: {text}", logger="current", level=level)
