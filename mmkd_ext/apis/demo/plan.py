"""One task's demo: its jobs, and what is made of their results."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmkd_ext.apis.config import load_config
from mmkd_ext.apis.demo.jobs import Job, Results
from mmkd_ext.apis.demo.report import write_report
from mmkd_ext.apis.demo.runs import Run, evaluate_stock, train, write_json
from mmkd_ext.apis.demo.summary import Summary
from mmkd_ext.apis.demo.task import BASELINE, DISTILLED, TEACHER, Task
from mmkd_ext.atomic_file import atomic_write_bytes

REPORT, RESULTS = "report.html", "results.json"


@dataclass
class Demo:
    """A task, what was asked for, and where.

    Attributes:
        task: The task.
        args: The command line.
        folder: Of its runs and its report.
    """

    task: Task
    args: argparse.Namespace
    folder: Path

    def __post_init__(self) -> None:
        self._shows_teacher: bool = self.task.picture_module.NEEDS_TEACHER
        self.trainings = self._trainings()
        self.jobs = [*self.trainings, *self._evaluations()]

    def _trainings(self) -> list[Job]:
        jobs = [self._training("teacher", TEACHER, seed=0)]
        for seed in range(self.args.seeds):
            jobs.append(self._training(f"baseline_seed{seed}", BASELINE, seed))
            jobs.append(self._training(f"distilled_seed{seed}", DISTILLED, seed, taught=True))
        return jobs

    def _training(self, name: str, role: str, seed: int, taught: bool = False) -> Job:
        teacher = self._name("teacher")

        def arguments(results: Results) -> dict[str, Any]:
            epochs, scale, options = self.args.epochs, self.args.scale_epochs, {}
            if taught:
                options["model.teacher.checkpoint"] = results[teacher].checkpoint
            elif role == TEACHER and self.args.teacher_labels == "few":
                epochs = epochs or max(round((scale or 1) * self.task.few_labels_epochs), 1)
                scale = None
                few = load_config(self.task.config(BASELINE)).train_dataloader.dataset.ann_file
                options = {"train_dataloader.dataset.ann_file": few, "train_cfg.val_interval": 10}
            return dict(
                task=self.task,
                role=role,
                work_dir=self.folder / name,
                seed=seed,
                epochs=epochs,
                scale=scale,
                options=options | (self.args.cfg_options or {}),
                resume=self.args.resume,
            )

        after = (teacher,) if taught else ()
        return Job(self._name(name), train, arguments, after=after, reports=True)

    def _evaluations(self) -> list[Job]:
        jobs = []
        for training in self.trainings:
            teacher = training.name == self._name("teacher")
            if teacher and not self._shows_teacher:
                continue
            role = TEACHER if teacher else BASELINE
            arguments = partial(self._stock_arguments, training.name, role)
            name = _stock(training.name)
            jobs.append(Job(name, evaluate_stock, arguments, after=(training.name,)))
        return jobs

    def _stock_arguments(self, training: str, role: str, results: Results) -> dict[str, Any]:
        return dict(
            task=self.task,
            checkpoint=results[training].checkpoint,
            work_dir=self.folder / "stock",
            role=role,
            options=self.args.cfg_options,
        )

    def _name(self, run: str) -> str:
        return f"{self.task.name} {run}"

    @property
    def keeps_teacher(self) -> bool:
        """Whether the teacher is the one that the distillation config means."""
        args = self.args
        own_length = args.epochs is None and args.scale_epochs in (None, 1)
        return own_length and not args.cfg_options and args.teacher_labels == "all"

    def keep_teacher(self, results: Results) -> str:
        """Copy the teacher to where the distillation config looks for it, and say so."""
        config = load_config(self.task.config(DISTILLED))
        target = Path(config.model.teacher.checkpoint)
        teacher: Run = results[self._name("teacher")]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            atomic_write_bytes(Path(teacher.checkpoint).read_bytes(), target)
        except OSError as error:
            return f"the teacher could not be kept at {target}: {error}"
        return f"teacher kept for later distillations: {target}"

    def summary(self, results: Results, command: str, jobs: int, seconds: float | None) -> Summary:
        """What was measured, once all jobs are done; see :class:`Summary`."""
        seeds = range(self.args.seeds)
        baseline = [self._name(f"baseline_seed{seed}") for seed in seeds]
        distilled = [self._name(f"distilled_seed{seed}") for seed in seeds]
        teacher = self._name("teacher")
        return Summary(
            task=self.task,
            teacher=results[teacher],
            baseline=[results[name] for name in baseline],
            distilled=[results[name] for name in distilled],
            stock_baseline=[results[_stock(name)] for name in baseline],
            stock_distilled=[results[_stock(name)] for name in distilled],
            stock_teacher=results.get(_stock(teacher)),
            command=command,
            jobs=jobs,
            seconds=seconds,
        )

    def write(self, summary: Summary, stock_check: str) -> Path:
        """Write the report and all figures; returns the report's path."""
        write_json(self.folder / RESULTS, summary.as_dict())
        report = self.folder / REPORT
        write_report(report, summary, stock_check)
        return report


def _stock(training: str) -> str:
    return f"{training} stock"
