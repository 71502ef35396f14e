"""The demo's figures: statistics over seeds, and the table that is printed and reported."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mmkd_ext.apis.demo.runs import Evaluation, Run
from mmkd_ext.apis.measure import hardware, mean_and_spread

HEADINGS = ("", "top-1 (%)", "parameters", "MACs", "ms/step", "labels")


@dataclass
class Summary:
    """All that one demo measured.

    Attributes:
        teacher: The teacher's run.
        baseline: The student alone, one run a seed.
        distilled: The student with the teacher, the same seeds in the same order.
        stock_baseline: The baselines' checkpoints in the stock config.
        stock_distilled: The distilled checkpoints in the stock config.
        command: What was typed.
        seconds: The whole demo.
    """

    teacher: Run
    baseline: list[Run]
    distilled: list[Run]
    stock_baseline: list[Evaluation]
    stock_distilled: list[Evaluation]
    command: str
    seconds: float

    @property
    def gains(self) -> list[float]:
        """Distilled minus baseline, in points of top-1, for each seed."""
        pairs = zip(self.distilled, self.baseline, strict=True)
        return [distilled.test_top1 - baseline.test_top1 for distilled, baseline in pairs]

    def rows(self) -> list[tuple[str, ...]]:
        """The table, a tuple of :data:`HEADINGS`' length for each model."""
        return [
            _row("teacher", [self.teacher]),
            _row("student alone", self.baseline),
            _row("student distilled", self.distilled),
        ]

    def verdict(self) -> str:
        """What the gain is, and whether it is more than its spread."""
        text = f"Distillation gains {mean_and_spread(self.gains, signed=True)} points of top-1"
        if len(self.gains) < 2:
            return f"{text} (one seed: no spread, so no claim)."
        if statistics.mean(self.gains) > statistics.stdev(self.gains):
            return f"{text}: more than its spread."
        return f"{text}: NOT more than its spread, so this run shows no gain."

    def cost(self) -> str:
        """What distillation adds to the training, and to the student (nothing)."""
        alone, taught = step_ms(self.baseline), step_ms(self.distilled)
        added = self.distilled[0].added_parameters
        return (
            f"It adds {added:,} parameters of loss modules and {taught - alone:.1f} ms a step "
            f"({taught / alone:.1f} times), in training only; the student stays as it is."
        )

    def conditions(self) -> list[str]:
        """What the figures stand for: how, on which data, on what hardware."""
        seeds = ", ".join(str(run.seed) for run in self.baseline)
        return [
            f"Measured here, by: {self.command}",
            "Data: scikit-learn's handwritten digits (1797 real scans), enlarged to 32x32. "
            f"The students see {self.baseline[0].train_images} labelled images and the teacher "
            f"{self.teacher.train_images}; {len(self.stock_distilled[0].labels)} others are the "
            "test split. Loss weights were chosen on a third split.",
            f"Top-1: on the test split. Seeds of the students: {seeds}. After ± stands the "
            "standard deviation over seeds (n - 1), for the gain that of the differences at equal "
            "seeds. "
            f"Epochs: students {self.baseline[0].epochs}, teacher {self.teacher.epochs}.",
            f"Hardware: {hardware()}. ms/step: median of forward, backward and update on a batch, "
            "without data loading, of the fastest seed. MACs: multiply-accumulates of one image. "
            f"labels: labelled training images. The whole demo took {self.seconds:.0f} s.",
        ]

    def as_dict(self) -> dict:
        """Plain values, for JSON."""
        return {
            "command": self.command,
            "hardware": hardware(),
            "seconds": self.seconds,
            "teacher": self.teacher.as_dict(),
            "baseline": [run.as_dict() for run in self.baseline],
            "distilled": [run.as_dict() for run in self.distilled],
            "stock_top1_of_baseline": [result.top1 for result in self.stock_baseline],
            "stock_top1_of_distilled": [result.top1 for result in self.stock_distilled],
            "gains": self.gains,
            "table": [list(HEADINGS), *map(list, self.rows())],
        }


def step_ms(runs: Sequence[Run]) -> float:
    """The least of the runs' median steps, in milliseconds: other work only ever slows a run."""
    return 1000 * min(run.step_seconds for run in runs)


def _row(name: str, runs: Sequence[Run]) -> tuple[str, ...]:
    return (
        name,
        mean_and_spread([run.test_top1 for run in runs]),
        f"{runs[0].parameters:,}",
        f"{runs[0].macs / 1e6:.2f} M",
        f"{step_ms(runs):.1f}",
        str(runs[0].train_images),
    )
