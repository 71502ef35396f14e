"""The demo's command line: data, teacher, students, table, stock check, report."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mmkd_ext.apis.demo.jobs import cores, run_jobs
from mmkd_ext.apis.demo.task import BASELINE, DENSE, DISTILLED, TASKS, TEACHER, Task
from mmkd_ext.apis.errors import UserError, main_guard
from mmkd_ext.apis.options import options_action

ALL_DENSE = "dense"


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``demo``."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Train a small network with and without a teacher, and compare."
    )
    parser.add_argument(
        "--task",
        nargs="+",
        choices=[*TASKS, ALL_DENSE],
        default=["cls"],
        metavar="TASK",
        help=f"what to learn: {', '.join(TASKS)}; {ALL_DENSE} is {', '.join(DENSE)} (default: cls)",
    )
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=Path("work_dirs/demo"),
        help="folder for the runs and the report; with other tasks than cls, each has a folder in "
        "it (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="trainings of each student (default: 3)"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="train everything for N epochs, for a quick look; such a teacher is not kept "
        "for the demo's distillation config",
    )
    length.add_argument(
        "--scale-epochs",
        type=float,
        metavar="F",
        help="train everything F times as long as its config says; such a teacher is not kept, "
        "either",
    )
    parser.add_argument(
        "--teacher-labels",
        choices=["all", "few"],
        default="all",
        help="cls only: train the teacher on the whole train split (default), or on the same few "
        "images as the students; the latter is not kept either",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="trainings at a time, of one thread each (default: 1 for cls, otherwise one for each "
        "core)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on where an interrupted call with the same settings stopped: keep the trainings "
        "that it finished",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=options_action(),
        metavar="KEY=VALUE",
        help="as for train; a key goes to those configs that have its parent; the teacher is not "
        "kept then",
    )
    args = parser.parse_args(argv)
    for name in ("seeds", "epochs", "jobs"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, not {value}")
    if args.scale_epochs is not None and not 0 < args.scale_epochs < float("inf"):
        parser.error(f"--scale-epochs must be above 0, not {args.scale_epochs}")
    args.task = _names(args.task)
    if args.teacher_labels == "few" and any(not TASKS[n].few_labels_epochs for n in args.task):
        parser.error(
            "--teacher-labels few is for --task cls alone: elsewhere the students have all labels"
        )
    return args


def _names(chosen: Sequence[str]) -> list[str]:
    """Tasks in the order given, each once."""
    names = [name for one in chosen for name in (DENSE if one == ALL_DENSE else (one,))]
    return list(dict.fromkeys(names))


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Run the demo from the command line."""
    args = parse_args(argv, prog)
    import torch

    from mmkd_ext.apis.demo.runs import use_one_thread

    threads = torch.get_num_threads()
    use_one_thread()
    try:
        _run(args, _command(argv))
    finally:
        torch.set_num_threads(threads)


def _command(argv: Sequence[str] | None) -> str:
    if argv is None:
        argv = sys.argv[1:]
        argv = argv[1:] if argv[:1] == ["demo"] else argv
    return shlex.join(["python", "-m", "mmkd_ext", "demo", *argv])


def _run(args: argparse.Namespace, command: str) -> None:
    from rich.console import Console

    from mmkd_ext import demo_data
    from mmkd_ext.apis.demo.display import Display
    from mmkd_ext.apis.demo.plan import Demo
    from mmkd_ext.apis.demo.runs import use_one_thread

    begin = time.perf_counter()
    # The stream of now: the runs turn sys.stdout off, but not the progress display.
    console = Console(file=sys.stdout)
    work_dir = args.work_dir.expanduser()
    if work_dir.exists() and not work_dir.is_dir():
        raise UserError(f"--work-dir {work_dir} is a file; name a folder.")
    tasks = [TASKS[name] for name in args.task]
    _check_options(args, tasks)
    work_dir.mkdir(parents=True, exist_ok=True)
    for form in dict.fromkeys(task.data for task in tasks):
        console.print(f"data: {demo_data.ensure(form)}", highlight=False)

    plain = args.task == ["cls"]
    demos = [Demo(task, args, work_dir if plain else work_dir / task.name) for task in tasks]
    jobs = [job for demo in demos for job in demo.jobs]
    at_once = args.jobs or (1 if plain else min(cores(), len(jobs)))
    with Display(demos, console, command, at_once, begin) as display:
        run_jobs(jobs, at_once, display, use_one_thread)
    if len(tasks) > 1:
        seconds = time.perf_counter() - begin
        console.print(f"{len(tasks)} tasks in {seconds:.0f} s", highlight=False)


def _check_options(args: argparse.Namespace, tasks: Sequence[Task]) -> None:
    """Raise for an option that no config has a place for."""
    from mmkd_ext.apis.config import check_placed, load_config

    if not args.cfg_options:
        return
    roles = (TEACHER, BASELINE, DISTILLED)
    configs = [load_config(task.config(role)) for task in tasks for role in roles]
    check_placed(args.cfg_options, configs)
