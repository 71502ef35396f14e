"""The demo's command line: data, teacher, students, table, stock check, report."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkd_ext.apis.errors import UserError, main_guard

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from mmkd_ext.apis.demo.runs import Evaluation, OnEpoch, Run
    from mmkd_ext.apis.demo.summary import Summary

TEACHER = "mmkd_ext::demo/cls_digits_teacher.py"
BASELINE = "mmkd_ext::demo/cls_digits_baseline.py"
DISTILLED = "mmkd_ext::demo/cls_digits_distill.py"
# With the students' few images an epoch of the teacher is as short as theirs.
FEW_LABELS_EPOCHS = 150


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``demo``."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Train a small network with and without a teacher, and compare."
    )
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=Path("work_dirs/demo"),
        help="folder for the runs, the report and its figures (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="trainings of each student (default: 3)"
    )
    parser.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="shorten every training to N epochs, for a quick look; such a teacher is not kept "
        "for the demo's distillation config",
    )
    parser.add_argument(
        "--teacher-labels",
        choices=["all", "few"],
        default="all",
        help="train the teacher on the whole train split (default), or on the same few images "
        "as the students; the latter is not kept either",
    )
    args = parser.parse_args(argv)
    for name in ("seeds", "epochs"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, not {value}")
    return args


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the demo from the command line."""
    args = parse_args(argv, prog)
    import torch

    threads = torch.get_num_threads()
    # Networks this small gain nothing from a second thread, and lose much when they share cores.
    torch.set_num_threads(1)
    try:
        _run(args, _command(argv))
    finally:
        torch.set_num_threads(threads)


def _command(argv: Sequence[str] | None) -> str:
    if argv is None:
        import sys

        argv = sys.argv[1:]
        argv = argv[1:] if argv[:1] == ["demo"] else argv
    return shlex.join(["python", "-m", "mmkd_ext", "demo", *argv])


def _run(args: argparse.Namespace, command: str) -> None:
    from rich.console import Console

    from mmkd_ext import demo_data
    from mmkd_ext.apis.demo.report import write_report
    from mmkd_ext.apis.demo.runs import write_json
    from mmkd_ext.apis.demo.summary import Summary

    begin = time.perf_counter()
    console = Console()
    work_dir = args.work_dir.expanduser()
    if work_dir.exists() and not work_dir.is_dir():
        raise UserError(f"--work-dir {work_dir} is a file; name a folder.")
    work_dir.mkdir(parents=True, exist_ok=True)
    console.print(f"data: {demo_data.ensure('cls_digits')}", highlight=False)

    with _progress(console, stages=1 + 2 * args.seeds) as stage:
        teacher = _train_teacher(args, work_dir, stage)
        baseline, distilled = [], []
        for seed in range(args.seeds):
            name = f"baseline_seed{seed}"
            baseline.append(stage(BASELINE, work_dir / name, seed=seed, epochs=args.epochs))
            name = f"distilled_seed{seed}"
            taught = {"model.teacher.checkpoint": teacher.checkpoint}
            distilled.append(
                stage(DISTILLED, work_dir / name, seed=seed, epochs=args.epochs, options=taught)
            )
    if args.epochs is None and args.teacher_labels == "all":
        _keep_teacher(teacher, console)

    console.print("scoring every checkpoint in the stock config ...", highlight=False)
    stock_baseline = _score_stock(baseline, work_dir)
    stock_distilled = _score_stock(distilled, work_dir)
    stock_check = _check_stock(baseline + distilled, stock_baseline + stock_distilled)

    summary = Summary(
        teacher=teacher,
        baseline=baseline,
        distilled=distilled,
        stock_baseline=stock_baseline,
        stock_distilled=stock_distilled,
        command=command,
        seconds=time.perf_counter() - begin,
    )
    write_json(work_dir / "results.json", summary.as_dict())
    report = work_dir / "report.html"
    write_report(report, summary, stock_check)
    _print(console, summary, stock_check, report)


def _train_teacher(args: argparse.Namespace, work_dir: Path, stage: Callable[..., Run]) -> Run:
    epochs, options = args.epochs, {}
    if args.teacher_labels == "few":
        from mmkd_ext.apis.config import load_config

        few = load_config(BASELINE).train_dataloader.dataset.ann_file
        options = {"train_dataloader.dataset.ann_file": few, "train_cfg.val_interval": 10}
        epochs = epochs or FEW_LABELS_EPOCHS
    return stage(TEACHER, work_dir / "teacher", seed=0, epochs=epochs, options=options)


@contextmanager
def _progress(console: Console, stages: int) -> Iterator[Callable[..., Run]]:
    """Show which training runs, how far it is and what it scores; a line stays for each one."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from mmkd_ext.apis.demo.runs import train

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("epoch {task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[score]}"),
        TimeElapsedColumn(),
    )
    done = 0
    with Progress(*columns, console=console, transient=True) as progress:

        def stage(config: str, work_dir: Path, **options: Any) -> Run:
            nonlocal done
            done += 1
            title = f"[{done}/{stages}] {work_dir.name}"
            # Escaped, since rich reads [..] as markup.
            task = progress.add_task(title.replace("[", r"\["), total=1, score="")
            run = train(config, work_dir, on_epoch=_update(progress, task), **options)
            progress.remove_task(task)
            console.print(
                f"{title}: {run.epochs} epochs in {run.seconds:.0f} s, "
                f"top-1 {run.test_top1:.2f} % on the test split",
                markup=False,
                highlight=False,
            )
            return run

        yield stage


def _update(progress: Progress, task: Any) -> OnEpoch:
    def update(done: int, total: int, top1: float | None) -> None:
        score = "" if top1 is None else f"val top-1 {top1:.1f} %"
        progress.update(task, completed=done, total=total, score=score)

    return update


def _keep_teacher(teacher: Run, console: Console) -> None:
    """Copy the teacher to where ``cls_digits_distill.py`` looks for it."""
    from mmkd_ext.apis.config import load_config
    from mmkd_ext.distill.atomic_file import atomic_write_bytes

    target = Path(load_config(DISTILLED).model.teacher.checkpoint)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(Path(teacher.checkpoint).read_bytes(), target)
    except OSError as error:
        console.print(f"the teacher could not be kept at {target}: {error}", highlight=False)
    else:
        console.print(f"teacher kept for later distillations: {target}", highlight=False)


def _score_stock(runs: Sequence[Run], work_dir: Path) -> list[Evaluation]:
    from mmkd_ext.apis.demo.runs import evaluate_stock

    return [evaluate_stock(BASELINE, run.checkpoint, work_dir / "stock") for run in runs]


def _check_stock(runs: Sequence[Run], stock: Sequence[Evaluation]) -> str:
    """Say that the stock config scores every checkpoint as its own run did.

    Raises:
        UserError: It does not, for one of them.
    """
    for run, result in zip(runs, stock, strict=True):
        if run.test_top1 != result.top1:
            raise UserError(
                f"{run.checkpoint} scores {result.top1:.4f} % in the stock config, but "
                f"{run.test_top1:.4f} % in its own run: the checkpoint does not hold the student."
            )
    scores = ", ".join(f"{result.top1:.2f}" for result in stock[len(stock) // 2 :])
    return (
        "Checked: loaded by stock mmpretrain into cls_digits_baseline.py, the distilled "
        f"checkpoints score exactly what they scored in their own runs ({scores} %)."
    )


def _print(console: Console, summary: Summary, stock_check: str, report: Path) -> None:
    from rich.table import Table

    from mmkd_ext.apis.demo.summary import HEADINGS

    table = Table(title="Handwritten digits, with and without a teacher")
    for place, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if place else "left")
    for row in summary.rows():
        table.add_row(*row)
    console.print(table)
    for text in (summary.verdict(), summary.cost(), stock_check, *summary.conditions()):
        console.print(text, markup=False, highlight=False)
    console.print(f"report: {report.absolute()}", markup=False, highlight=False, soft_wrap=True)
