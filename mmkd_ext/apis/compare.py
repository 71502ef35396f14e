"""Train several configs with several seeds, and tabulate mean, spread and gain.

Each training and each test is a process of its own, run by the commands ``train`` and ``test``.
What is finished is kept, so the same command goes on after an interruption.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkd_ext.apis.errors import UserError, main_guard
from mmkd_ext.apis.options import CONFIG_HELP, options_action

if TYPE_CHECKING:
    from mmengine.config import Config

RESULT = "result.json"
CONSOLE_LOG = "console.log"
SECONDS = "seconds.txt"  # a line for each process that trained
TABLE = "table.md"
# Taken before the first one: mmseg's IoUMetric lists the accuracy over all pixels first.
HEADLINES = ("mIoU",)


@dataclass
class Result:
    """One training.

    Attributes:
        config: Its stem.
        seed: Random seed.
        settings: Hash of the config as trained.
        val: The metrics of the last validation.
        test: The metrics of the last checkpoint on the test split; None where it was not tested.
        step_seconds: Median seconds of a training step, without waiting for data.
        seconds: The whole training, start-up and validation included.
    """

    config: str
    seed: int
    settings: str
    val: dict[str, float]
    test: dict[str, float] | None
    step_seconds: float
    seconds: float


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``compare``."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("configs", nargs="+", help=f"{CONFIG_HELP}; the first is the baseline")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="SEED")
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/compare"))
    parser.add_argument("--data-root", metavar="PATH", help="as for train")
    parser.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="train N epochs; learning rates and loss weights are scaled with them",
    )
    parser.add_argument("--metric", help="key of the metric (default: mIoU, else the first one)")
    parser.add_argument(
        "--split",
        choices=["test", "val"],
        default="test",
        help="report on the test split; or on the validation split alone, to choose settings by",
    )
    parser.add_argument("--auto-scale-lr", action="store_true", help="as for train")
    parser.add_argument("--gpus", type=int, metavar="N", help="train on N GPUs, through torchrun")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=options_action(),
        metavar="KEY=VALUE",
        help="as for train; a key goes to those configs that have its parent, so "
        "model.teacher.checkpoint=PATH leaves the baseline alone",
    )
    args = parser.parse_args(argv)
    for name in ("epochs", "gpus"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name} must be at least 1, not {value}")
    if len(set(args.seeds)) < len(args.seeds):
        parser.error(f"--seeds: {args.seeds} names one twice")
    return args


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Compare from the command line."""
    args = parse_args(argv, prog)
    from mmkd_ext.apis.config import check_placed, load_config

    configs = [load_config(name) for name in args.configs]
    check_placed(args.cfg_options, configs)
    plans = [Plan(cfg, args) for cfg in configs]
    stems = [plan.stem for plan in plans]
    if len(set(stems)) < len(stems):
        raise UserError(f"Two of the configs have the same name: {', '.join(stems)}.")
    args.work_dir.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    for seed in args.seeds:
        for plan in plans:
            done = f"[{len(results) + 1}/{len(plans) * len(args.seeds)}]"
            print(f"{done} {plan.stem} seed {seed} ...", end=" ", flush=True)
            result, kept = plan.run(seed)
            metric = args.metric or headline(result.val)
            value = figure(result, metric, args.split)
            print(f"{value:.{decimals([value])}f}{' (kept)' if kept else ''}", flush=True)
            results.append(result)
        # After each seed, so that an interrupted comparison leaves a table.
        rows = table(results, stems, args.metric or headline(results[0].val), args.split)
        write(rows, results, args.work_dir)
    show(rows, args.work_dir)


class Plan:
    """How one config is trained and tested, whatever the seed."""

    def __init__(self, cfg: Config, args: argparse.Namespace) -> None:
        from mmkd_ext.apis.config import fitting
        from mmkd_ext.apis.shorten import epoch_options

        self.config, self.stem = str(cfg.filename), Path(cfg.filename).stem
        self.options = {} if args.epochs is None else epoch_options(cfg, args.epochs)
        self.options |= fitting(cfg, args.cfg_options)
        cfg.merge_from_dict(self.options)
        self.args = args
        for split in ("val", args.split):
            if cfg.get(f"{split}_dataloader") is None:
                raise UserError(f"Config {self.config} has no {split}_dataloader to compare on.")
        if args.split == "val" and cfg.val_dataloader.dataset == cfg.get("test_dataloader", {}).get(
            "dataset"
        ):
            print(f"{self.stem}: its validation data ARE its test data; choose nothing by them.")
        self.settings = settings_hash(
            cfg, gpus=args.gpus, auto_scale_lr=args.auto_scale_lr, data_root=args.data_root
        )

    def run(self, seed: int) -> tuple[Result, bool]:
        """Train and test, or take what an earlier call left; and whether it was that.

        Raises:
            UserError: The folder holds a run of other settings, or a process failed.
        """
        from mmkd_ext.atomic_file import atomic_write_text

        folder = self.args.work_dir / f"{self.stem}_seed{seed}"
        path = folder / RESULT
        if path.is_file():
            result = Result(**json.loads(path.read_text(encoding="utf-8")))
            self._check_settings(result.settings, folder)
            if result.test is not None or self.args.split == "val":
                return result, True
        else:
            result = self._train(folder, seed)
            atomic_write_text(json.dumps(asdict(result), indent=2) + "\n", path)
        if self.args.split == "test":
            result.test = self._test(folder)
            atomic_write_text(json.dumps(asdict(result), indent=2) + "\n", path)
        return result, False

    def _check_settings(self, settings: str, folder: Path) -> None:
        if settings != self.settings:
            raise UserError(
                f"{folder} holds a run of {self.stem} with other settings. Give another "
                "--work-dir, or delete that folder."
            )

    def _train(self, folder: Path, seed: int) -> Result:
        mark, options = folder / "settings.txt", {**self.options, "randomness.seed": seed}
        resume: list[str] = []
        if (folder / "last_checkpoint").is_file():
            self._check_settings(mark.read_text(encoding="utf-8"), folder)
            options.pop("load_from", None)  # with --resume it would be what is resumed
            resume = ["--resume"]
        elif folder.exists():
            shutil.rmtree(folder)  # a start that failed before its first checkpoint
        folder.mkdir(parents=True, exist_ok=True)
        mark.write_text(self.settings, encoding="utf-8")
        if self.args.auto_scale_lr:
            resume.append("--auto-scale-lr")
        self._process("train", [self.config, *resume], folder, options)
        val, steps = _scalars(folder)
        seconds = sum(map(float, (folder / SECONDS).read_text(encoding="utf-8").split()))
        return Result(self.stem, seed, self.settings, val, None, statistics.median(steps), seconds)

    def _test(self, folder: Path) -> dict[str, float]:
        checkpoint = (folder / "last_checkpoint").read_text(encoding="utf-8").strip()
        out = folder / "test_metrics.json"
        arguments = [self.config, checkpoint, "--out", str(out), "--out-item", "metrics"]
        self._process("test", arguments, folder, self.options)
        return json.loads(out.read_text(encoding="utf-8"))

    def _process(
        self, command: str, arguments: Sequence[str], folder: Path, options: dict[str, Any]
    ) -> None:
        launch = [sys.executable, "-m", "mmkd_ext", command]
        if self.args.gpus and command == "train":
            launch[1:] = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
            launch += [str(self.args.gpus), "-m", "mmkd_ext", "train", "--launcher", "pytorch"]
        line = [*launch, *arguments, "--work-dir", str(folder)]
        if self.args.data_root is not None:
            line += ["--data-root", self.args.data_root]
        if options:
            line += ["--cfg-options", *(f"{key}={_as_text(v)}" for key, v in options.items())]
        log, begin = folder / CONSOLE_LOG, time.perf_counter()
        with log.open("ab") as stream:
            start = stream.tell()
            try:
                code = subprocess.call(line, stdout=stream, stderr=subprocess.STDOUT)
            finally:
                if command == "train":  # interrupted ones count, too
                    with (folder / SECONDS).open("a", encoding="utf-8") as times:
                        times.write(f"{time.perf_counter() - begin:.1f}\n")
        if code != 0:
            said = log.read_bytes()[start:].decode(errors="replace").strip().splitlines()
            causes = [text for text in said if text.startswith("error")] or said[-3:]
            raise UserError(
                f"`{command} {self.stem}` failed with exit code {code}; {log} says:\n"
                + "\n".join(causes)
            )


def settings_hash(
    cfg: Config,
    *,
    gpus: int | None = None,
    auto_scale_lr: bool = False,
    data_root: str | None = None,
) -> str:
    """What a run depends on beside its seed: the config, the data, the GPUs, the teacher's file."""
    parts: list[Any] = [cfg.pretty_text, gpus, auto_scale_lr]
    if data_root is not None:
        parts.append(Path(data_root).expanduser().resolve())
    model = cfg.get("model") or {}
    for teacher in (model.get("teacher"), *(model.get("teachers") or {}).values()):
        if isinstance(teacher, Mapping) and Path(str(teacher.get("checkpoint"))).is_file():
            stat = Path(teacher["checkpoint"]).stat()
            parts += [stat.st_size, stat.st_mtime_ns]
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


def headline(metrics: Mapping[str, float]) -> str:
    """The metric to compare by when none is named."""
    return next((name for name in HEADLINES if name in metrics), next(iter(metrics)))


def figure(result: Result, metric: str, split: str) -> float:
    """The value that is compared.

    Raises:
        UserError: There is no such metric.
    """
    metrics = result.val if split == "val" else result.test
    if metrics is None or metric not in metrics:
        known = ", ".join(metrics or ())
        raise UserError(
            f"{result.config} has no metric {metric!r} on the {split} split, but {known}; name one "
            "with --metric."
        )
    return metrics[metric]


def decimals(values: Sequence[float]) -> int:
    """Two for percentages, four for fractions such as mmdet's mAP."""
    return 2 if max(map(abs, values), default=0) > 1 else 4


def table(
    results: Sequence[Result], stems: Sequence[str], metric: str, split: str
) -> list[tuple[str, ...]]:
    """Heading and one row a config; the gain is that over the first one at equal seeds."""
    from mmkd_ext.apis.measure import mean_and_spread

    rows = [("config", f"{metric}, {split} split", "gain over the first", "ms/step", "minutes")]
    by_seed = {(r.config, r.seed): figure(r, metric, split) for r in results}
    digits = decimals(list(by_seed.values()))
    for stem in stems:
        own = [result for result in results if result.config == stem]
        gains = [by_seed[stem, r.seed] - by_seed[stems[0], r.seed] for r in own]
        rows.append(
            (
                stem,
                mean_and_spread([by_seed[stem, r.seed] for r in own], digits=digits),
                "" if stem == stems[0] else mean_and_spread(gains, signed=True, digits=digits),
                # The least: other work on the machine only ever slows a run.
                f"{1000 * min(r.step_seconds for r in own):.0f}",
                f"{statistics.mean(r.seconds for r in own) / 60:.1f}",
            )
        )
    return rows


def write(rows: Sequence[tuple[str, ...]], results: Sequence[Result], work_dir: Path) -> None:
    """Write the table as Markdown, and all results as JSON."""
    from mmkd_ext.apis.measure import hardware
    from mmkd_ext.atomic_file import atomic_write_text

    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    seeds = ", ".join(map(str, sorted({r.seed for r in results})))
    notes = (
        "± is the sample standard deviation over seeds; of a gain, that of the differences at "
        f"equal seeds. Seeds: {seeds}. {hardware()}."
    )
    atomic_write_text("\n".join([*lines, "", notes, ""]), work_dir / TABLE)
    content = {"hardware": hardware(), "results": [asdict(result) for result in results]}
    atomic_write_text(json.dumps(content, indent=2) + "\n", work_dir / "results.json")


def show(rows: Sequence[tuple[str, ...]], work_dir: Path) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    shown = Table()
    for i, heading in enumerate(rows[0]):
        shown.add_column(heading, no_wrap=i == 0, overflow="fold")
    for row in rows[1:]:
        shown.add_row(*row)
    Console().print(shown)
    print((work_dir / TABLE).read_text(encoding="utf-8").rpartition("|")[2].strip())
    print(f"written: {work_dir / TABLE}, {work_dir / 'results.json'}")


def _scalars(folder: Path) -> tuple[dict[str, float], list[float]]:
    """The last validation's metrics, and seconds a step as logged, of all logs in the folder."""
    val: dict[str, float] = {}
    steps: list[float] = []
    for line in _log_lines(folder):
        if "loss" in line:
            steps.append(line["time"] - line["data_time"])
        else:
            val = {k: v for k, v in line.items() if k not in ("time", "data_time", "step")}
    if not steps:
        raise UserError(f"{folder} logged no training.")
    if not val:
        raise UserError(
            f"{folder} logged no metric of a validation. Of a detector that finds no object yet, "
            "mmdet reports none: train it longer."
        )
    return val, steps


def _log_lines(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*/vis_data/scalars.json")):
        lines = path.read_text(encoding="utf-8").splitlines()
        for i, line in enumerate(lines):
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                if i + 1 < len(lines):  # a killed process leaves half a last line
                    raise UserError(f"{path}, line {i + 1}: {error}") from error


def _as_text(value: Any) -> str:
    """As mmengine's ``DictAction`` reads it back."""
    if isinstance(value, (list, tuple)):
        ends = "[]" if isinstance(value, list) else "()"
        return ends[0] + ",".join(_as_text(item) for item in value) + ends[1]
    return str(value)
