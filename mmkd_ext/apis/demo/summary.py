"""The demo's figures: statistics over seeds, and the table that is printed and reported."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mmkd_ext.apis.demo.runs import Evaluation, Run
from mmkd_ext.apis.demo.task import BASELINE, Metric, Task
from mmkd_ext.apis.errors import UserError
from mmkd_ext.apis.measure import hardware, mean_and_spread


@dataclass
class Summary:
    """All that one task's demo measured.

    Attributes:
        task: The task.
        teacher: The teacher's run.
        baseline: The student alone, one run a seed.
        distilled: The student with the teacher, the same seeds in the same order.
        stock_baseline: The baselines' checkpoints in the stock config.
        stock_distilled: The distilled checkpoints in the stock config.
        stock_teacher: The teacher's checkpoint in its own, where its answers are shown.
        command: What was typed.
        jobs: How many runs went on at a time, each on a thread of its own.
        seconds: The whole demo; None where that is not this task's own time.
    """

    task: Task
    teacher: Run
    baseline: list[Run]
    distilled: list[Run]
    stock_baseline: list[Evaluation]
    stock_distilled: list[Evaluation]
    stock_teacher: Evaluation | None
    command: str
    jobs: int
    seconds: float | None

    def gains(self, metric: Metric | None = None) -> list[float]:
        """Distilled minus baseline, in points of the metric, for each seed."""
        name = (metric or self.task.metric).name
        pairs = zip(self.distilled, self.baseline, strict=True)
        return [distilled.test[name] - baseline.test[name] for distilled, baseline in pairs]

    def headings(self) -> tuple[str, ...]:
        """Of the table."""
        metrics = (f"{metric.title} (%)" for metric in self.task.metrics)
        return ("", *metrics, "parameters", "MACs", "ms/step", "labels")

    def rows(self) -> list[tuple[str, ...]]:
        """The table, a tuple of the headings' length for each model."""
        return [
            self._row("teacher", [self.teacher]),
            self._row("student alone", self.baseline),
            self._row("student distilled", self.distilled),
        ]

    def _row(self, name: str, runs: Sequence[Run]) -> tuple[str, ...]:
        return (
            name,
            *(mean_and_spread([run.test[m.name] for run in runs]) for m in self.task.metrics),
            f"{runs[0].parameters:,}",
            f"{runs[0].macs / 1e6:.2f} M",
            f"{step_ms(runs):.1f}",
            str(runs[0].train_images),
        )

    def verdict(self) -> str:
        """What the gain is, and whether it is more than its spread."""
        metric, *others = self.task.metrics
        gains = self.gains()
        text = f"Distillation gains {mean_and_spread(gains, signed=True)} points of {metric.title}"
        for other in others:
            text += f" and {mean_and_spread(self.gains(other), signed=True)} of {other.title}"
        # What follows is about the first metric; where there is another, it has to be named.
        which = f"; that of {metric.title} is" if others else ":"
        if len(gains) < 2:
            return f"{text} (one seed: no spread, so no claim)."
        if statistics.mean(gains) > statistics.stdev(gains):
            return f"{text}{which} more than its spread."
        return f"{text}{which} NOT more than its spread, so this run shows no gain."

    def cost(self) -> str:
        """What distillation adds to the training, and to the student (nothing)."""
        alone, taught = step_ms(self.baseline), step_ms(self.distilled)
        added = self.distilled[0].added_parameters
        return (
            f"It adds {added:,} parameters of loss modules and {taught - alone:.1f} ms a step "
            f"({taught / alone:.1f} times), in training only; the student stays as it is."
        )

    def stock_check(self) -> str:
        """Say that the stock config scores every checkpoint as its own run did.

        Raises:
            UserError: It does not, for one of them.
        """
        runs = self.baseline + self.distilled
        for run, result in zip(runs, self.stock_baseline + self.stock_distilled, strict=True):
            for metric in self.task.metrics:
                own, stock = run.test[metric.name], result.scores[metric.name]
                if own != stock:
                    raise UserError(
                        f"{run.checkpoint} scores {stock:.4f} % in the stock config, but "
                        f"{own:.4f} % in its own run: the checkpoint does not hold the student."
                    )
        name = self.task.metric.name
        scores = ", ".join(f"{result.scores[name]:.2f}" for result in self.stock_distilled)
        config = self.task.config(BASELINE).rpartition("/")[2]
        return (
            f"Checked: loaded by stock {self.task.library} into {config}, the distilled "
            f"checkpoints score exactly what they scored in their own runs ({scores} %)."
        )

    def conditions(self) -> list[str]:
        """What the figures stand for: how, on which data, on what hardware."""
        seeds = ", ".join(str(run.seed) for run in self.baseline)
        metrics = " ".join(metric.about for metric in self.task.metrics)
        return [
            f"Measured here, by: {self.command}",
            f"Data: {self.task.about_data}. "
            f"The students see {self.baseline[0].train_images} labelled images and the teacher "
            f"{self.teacher.train_images}; {self.stock_distilled[0].count} others are the "
            "test split. Loss weights were chosen on a third split.",
            f"{metrics} Seeds of the students: {seeds}. After ± stands the "
            "standard deviation over seeds (n - 1), for the gain that of the differences at equal "
            "seeds. "
            f"Epochs: students {self.baseline[0].epochs}, teacher {self.teacher.epochs}.",
            f"Hardware: {hardware()}{self._at_a_time()}. ms/step: median of forward, backward and "
            "update on a batch, without data loading, of the fastest seed. "
            "MACs: multiply-accumulates of one image. "
            f"labels: labelled training images. {self._time()}",
        ]

    def _at_a_time(self) -> str:
        return f"; {self.jobs} runs at a time, each on a thread" if self.jobs > 1 else ""

    def _time(self) -> str:
        if self.seconds is not None:
            return f"The whole demo took {self.seconds:.0f} s."
        runs = [self.teacher, *self.baseline, *self.distilled]
        return f"The trainings took {sum(run.seconds for run in runs):.0f} s, added up."

    def as_dict(self) -> dict:
        """Plain values, for JSON."""
        results: dict = {
            "command": self.command,
            "hardware": hardware(),
            "seconds": self.seconds,
            "jobs": self.jobs,
            "teacher": self.teacher.as_dict(),
            "baseline": [run.as_dict() for run in self.baseline],
            "distilled": [run.as_dict() for run in self.distilled],
        }
        for metric in self.task.metrics:
            for name, stock in (
                ("baseline", self.stock_baseline),
                ("distilled", self.stock_distilled),
            ):
                scores = [result.scores[metric.name] for result in stock]
                results[f"stock_{metric.name}_of_{name}"] = scores
        results["gains"] = self.gains()
        for metric in self.task.metrics[1:]:
            results[f"gains_{metric.name}"] = self.gains(metric)
        results["table"] = [list(self.headings()), *map(list, self.rows())]
        return results


def step_ms(runs: Sequence[Run]) -> float:
    """The least of the runs' median steps, in milliseconds: other work only ever slows a run."""
    return 1000 * min(run.step_seconds for run in runs)
