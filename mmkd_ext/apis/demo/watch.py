"""Watching a run from within: curves, step times, and a quiet console."""

from __future__ import annotations

import contextlib
import io
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmkd_ext.apis.demo.task import Task

KD = "kd."
KD_LOSS = "kd.loss_"
TOTAL = "loss"
WARM_UP_STEPS = 5  # not timed: the first steps allocate
Points = list[tuple[int, float]]  # (epoch, value)
# (epochs done, epochs in all, last value of the metric that decides on the val split, or None)
OnEpoch = Callable[[int, int, float | None], None]


class Watch(Hook):
    """Tells the progress display, and takes down curves and step times.

    Attributes:
        val: Metric name -> points, in percent.
        student_loss: The student's own loss, mean of each epoch.
        kd_losses: Name of each distillation loss -> its weighted value, mean of each epoch.
    """

    def __init__(self, task: Task, on_epoch: OnEpoch) -> None:
        self.task, self.on_epoch = task, on_epoch
        self.val: dict[str, Points] = {metric.name: [] for metric in task.metrics}
        self.student_loss: Points = []
        self.kd_losses: dict[str, Points] = {}
        self._steps: list[float] = []
        self._of_epoch: dict[str | None, list[float]] = {}
        self._begin = 0.0

    @property
    def step_seconds(self) -> float:
        """Median time of one step: forward, backward, update; without data loading."""
        return statistics.median(self._steps[WARM_UP_STEPS:] or self._steps)

    def before_train(self, runner: Runner) -> None:
        """Say how long it will be."""
        self._report(runner, 0)

    def before_train_epoch(self, runner: Runner) -> None:
        """Begin new means."""
        self._of_epoch = {}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Start the clock."""
        self._begin = time.perf_counter()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Read the losses, which also waits for a device that works asynchronously."""
        values: dict[str | None, float] = {None: own_loss(outputs)} | {
            key.removeprefix(KD_LOSS): float(value)
            for key, value in outputs.items()
            if key.startswith(KD_LOSS)
        }
        self._steps.append(time.perf_counter() - self._begin)
        for key, value in values.items():
            self._of_epoch.setdefault(key, []).append(value)

    def after_train_epoch(self, runner: Runner) -> None:
        """Take down the means."""
        for key, values in self._of_epoch.items():
            points = self.student_loss if key is None else self.kd_losses.setdefault(key, [])
            points.append((runner.epoch + 1, statistics.fmean(values)))
        self._report(runner, runner.epoch + 1)

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        """Take down the metrics."""
        for name, value in self.task.scores(metrics).items():
            self.val[name].append((runner.epoch, value))
        self._report(runner, runner.epoch)

    def _report(self, runner: Runner, done: int) -> None:
        points = self.val[self.task.metric.name]
        self.on_epoch(done, runner.max_epochs, points[-1][1] if points else None)


def own_loss(outputs: Mapping[str, Any]) -> float:
    """The student's own loss in a step's log: its terms' sum, or what it calls ``loss``.

    A Distiller logs mmpretrain's ``loss`` as ``student.loss``, beside the total of that name.
    """
    terms = [
        float(value)
        for key, value in outputs.items()
        if "loss" in key and key != TOTAL and not key.startswith(KD)
    ]
    return sum(terms) if terms else float(outputs[TOTAL])


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep the Runner off the console; its log files say it all.

    mmengine's logger keeps the stream that it was made with, so a Runner that is built within
    stays quiet. What is printed goes nowhere; errors go their way.
    """
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
