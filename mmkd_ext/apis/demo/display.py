"""What the demo prints: which trainings run, how far they are, and the table in the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mmkd_ext.apis.demo.jobs import Job, Results
from mmkd_ext.apis.demo.plan import Demo
from mmkd_ext.apis.demo.runs import Run
from mmkd_ext.apis.demo.summary import Summary


class Display(Progress):
    """Shows what runs, and leaves a line for each training; reports on a task that is done.

    Args:
        demos: One for each task.
        console: Where to.
        command: What was typed.
        jobs: How many run at a time.
        begin: When the whole began, by ``time.perf_counter()``.
    """

    def __init__(
        self, demos: Sequence[Demo], console: Console, command: str, jobs: int, begin: float
    ) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("epoch {task.completed:.0f}/{task.total:.0f}"),
            TextColumn("{task.fields[score]}"),
            TimeElapsedColumn(),
        )
        super().__init__(*columns, console=console, transient=True)
        self.demos, self.command, self.jobs, self.begin = demos, command, jobs, begin
        self._places = {
            job.name: place
            for place, job in enumerate((job for demo in demos for job in demo.trainings), start=1)
        }
        self._bars: dict[str, Any] = {}

    def began(self, job: Job) -> None:
        """Show a bar for a training."""
        if job.reports:
            # Escaped, since rich reads [..] as markup.
            title = self._title(job).replace("[", r"\[")
            self._bars[job.name] = self.add_task(title, total=1, score="")

    def progress(self, job: Job, done: int, total: int, score: float | None) -> None:
        """Move its bar."""
        metric = self._demo(job).task.metric
        text = "" if score is None else f"val {metric.title} {score:.1f} %"
        self.update(self._bars[job.name], completed=done, total=total, score=text)

    def done(self, job: Job, result: Any, results: Results) -> None:
        """Say what a training gave; report on a task of which everything is done."""
        demo = self._demo(job)
        if job.reports:
            self.remove_task(self._bars.pop(job.name))
            self._say(f"{self._title(job)}: {_line(demo, result)}")
            if all(training.name in results for training in demo.trainings):
                if demo.keeps_teacher:
                    self._say(demo.keep_teacher(results))
                which = f"{demo.task.name}: " if len(self.demos) > 1 else ""
                self._say(f"{which}scoring every checkpoint in the stock config ...")
        if all(one.name in results for one in demo.jobs):
            self._report(demo, results)

    def _report(self, demo: Demo, results: Results) -> None:
        alone = len(self.demos) == 1 and not demo.args.resume
        seconds = time.perf_counter() - self.begin if alone else None
        summary = demo.summary(results, self.command, self.jobs, seconds)
        stock_check = summary.stock_check()
        self._show(summary, stock_check, demo.write(summary, stock_check))

    def _show(self, summary: Summary, stock_check: str, report: Path) -> None:
        table = Table(title=summary.task.title)
        for place, heading in enumerate(summary.headings()):
            scores = 0 < place <= len(summary.task.metrics)
            table.add_column(heading, justify="right" if place else "left", no_wrap=scores)
        for row in summary.rows():
            table.add_row(*row)
        self.console.print(table)
        for text in (summary.verdict(), summary.cost(), stock_check, *summary.conditions()):
            self._say(text, soft_wrap=False)
        self._say(f"report: {report.absolute()}")

    def _say(self, text: str, soft_wrap: bool = True) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=soft_wrap)

    def _demo(self, job: Job) -> Demo:
        return next(demo for demo in self.demos if job in demo.jobs)

    def _title(self, job: Job) -> str:
        name = job.name if len(self.demos) > 1 else job.name.partition(" ")[2]
        return f"[{self._places[job.name]}/{len(self._places)}] {name}"


def _line(demo: Demo, run: Run) -> str:
    scores = ", ".join(
        f"{metric.title} {run.test[metric.name]:.2f} %" for metric in demo.task.metrics
    )
    kept = " (kept)" if run.kept else ""
    return f"{run.epochs} epochs in {run.seconds:.0f} s, {scores} on the test split{kept}"
