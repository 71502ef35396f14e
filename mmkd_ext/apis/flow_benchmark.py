"""Measure time and memory of RAFT on made-up images, each measurement in a process of its own.

Either of both ways to correlate, the volume of all pairs and on demand, for several image sizes;
or, with --lcv, what a learnable cost volume adds to a training step.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkd_ext.apis.errors import UserError, main_guard
from mmkd_ext.apis.flow_benchmark_report import METHODS, Row, plot, table
from mmkd_ext.apis.measure import hardware
from mmkd_ext.apis.options import CONFIG_HELP

if TYPE_CHECKING:
    from mmkd_ext.flow.benchmark import Bench

Size = tuple[int, int]  # height and width, in pixels
PREDICTION, TRAINING, LCV = "prediction", "training step", "lcv"
SIZES = ((128, 160), (256, 320), (384, 512), (436, 1024), (720, 1280), (1080, 1920))
LCV_SIZES = ((384, 512),)  # about what RAFT is trained at
# How often the size of the volume is needed at least: in training it has a gradient, and lookups
# add to that. 2.5 times was the least that was measured.
VOLUMES = {PREDICTION: 1.0, TRAINING: 2.5}
MIB, GIB = 2**20, 2**30


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``flow-benchmark``."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("config", nargs="?", help=f"{CONFIG_HELP}; weights are random")
    parser.add_argument(
        "--size",
        choices=("large", "small"),
        help="of the published RAFT, where no config is given (default: large)",
    )
    parser.add_argument(
        "--sizes",
        type=_size,
        nargs="+",
        metavar="HxW",
        help=f"of the images (default: {_names(SIZES)}; with --lcv {_names(LCV_SIZES)})",
    )
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, help="to correlate by (default: both)"
    )
    parser.add_argument("--train", action="store_true", help="measure a training step as well")
    parser.add_argument(
        "--lcv",
        action="store_true",
        help="measure training steps with and without a learnable cost volume, in turn",
    )
    parser.add_argument(
        "--iters", type=int, default=12, metavar="N", help="iterations (default: %(default)s)"
    )
    parser.add_argument(
        "--repeats",
        type=int,
        default=3,
        metavar="N",
        help="runs that are timed; the median counts (default: %(default)s)",
    )
    parser.add_argument(
        "--out-dir",
        type=Path,
        default=Path("flow_benchmark"),
        metavar="DIR",
        help="where figures and plot go (default: %(default)s)",
    )
    parser.add_argument("--device", help="such as cuda:1 or cpu (default: the GPU if there is one)")
    parser.add_argument("--threads", type=int, metavar="N", help="of the CPU (default: PyTorch's)")
    # What one of the processes measures.
    parser.add_argument("--only", choices=(PREDICTION, TRAINING, LCV), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    for name in ("iters", "repeats", "threads"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name} takes a number above 0")
    if args.config is not None and args.size is not None:
        parser.error("give a config or --size, not both")
    if args.lcv and (args.methods or args.train):
        parser.error(
            "--lcv measures training steps with the config's own correlation: "
            "leave out --methods and --train"
        )
    args.sizes = list(dict.fromkeys(args.sizes or (LCV_SIZES if args.lcv else SIZES)))
    args.methods = list(dict.fromkeys(args.methods or METHODS))
    return args


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Measure, print a table, and write figures and plot."""
    args = parse_args(argv, prog)
    args.device = _device(args.device)
    if args.only:
        print(json.dumps(_answer(args)))
        return
    # Here as well, so that what cannot be measured is refused before a process starts.
    bench = _bench(args, device="cpu")
    network = Path(args.config).stem if args.config else f"RAFT {args.size or 'large'}"
    counts = dict(iters=args.iters, repeats=args.repeats)
    setting = dict(network=network, **counts, device=args.device, hardware=_hardware(args))
    args.out_dir.mkdir(parents=True, exist_ok=True)
    if args.lcv:
        _lcv(args, setting)
    else:
        _correlation(args, bench, setting)


def _correlation(args: argparse.Namespace, bench: Bench, setting: dict[str, Any]) -> None:
    from mmkd_ext.atomic_file import atomic_write_bytes
    from mmkd_ext.frames.progress import progress_bar

    out, rows = args.out_dir / "correlation.json", []
    works = (PREDICTION, TRAINING) if args.train else (PREDICTION,)
    plans = list(itertools.product(works, args.sizes, args.methods))
    with progress_bar("flow-benchmark", len(plans)) as advance:
        for work, size, method in plans:
            volume = bench.volume_bytes(size)
            row = Row(work, method, *size, volume / MIB)
            if method == "all_pairs":
                row.skipped = _too_large(VOLUMES[work] * volume, args.device)
            if not row.skipped:
                answer = _ask(args, work, size, "--methods", method)
                setting["hardware"] = answer.pop("hardware")
                row = replace(row, **answer)
            rows.append(row)
            _write(out, setting, [asdict(one) for one in rows])
            advance(f"{row.work} {row.size} {row.method}")
    title = _title(setting)
    atomic_write_bytes(plot(rows, title), out.with_suffix(".png"))
    _print(table(rows, title))
    for row in rows:
        if row.skipped:
            print(f"skipped {row.work} {row.size} {row.method}: {row.skipped}")
    print(f"{out.with_suffix('.png')}, {out}")


def _lcv(args: argparse.Namespace, setting: dict[str, Any]) -> None:
    from rich.table import Table

    from mmkd_ext.flow.benchmark import ratios
    from mmkd_ext.frames.progress import progress_bar

    out, rows = args.out_dir / "lcv.json", []
    with progress_bar("flow-benchmark", len(args.sizes)) as advance:
        for size in args.sizes:
            row = dict(height=size[0], width=size[1], skipped="")
            row |= _ask(args, LCV, size)
            setting["hardware"] = row.pop("hardware")
            if not row["skipped"]:
                row |= ratios(row["seconds"])
            rows.append(row)
            _write(out, setting, rows)
            advance(_names([size]))
    made = Table("size", "cost volume", title=_title(setting), title_justify="left")
    for name in ("seconds", "lowest", "highest", "ratio", "lowest ratio", "highest ratio"):
        made.add_column(name, justify="right")
    for row in rows:
        for name, seconds in row.get("seconds", {}).items():
            numbers = [statistics.median(seconds), min(seconds), max(seconds)]
            if name == "learnable":
                numbers += [row[key] for key in ("ratio", "lowest", "highest")]
            size = _names([(row["height"], row["width"])])
            made.add_row(size, name, *(f"{number:.3f}" for number in numbers))
    _print(made)
    for row in rows:
        if row["skipped"]:
            print(f"skipped {row['height']}x{row['width']}: {row['skipped']}")
    print(out)


def _ask(args: argparse.Namespace, only: str, size: Size, *more: str) -> dict[str, Any]:
    """What a process of its own finds, or ``skipped`` where memory did not suffice.

    Raises:
        UserError: It failed for another reason.
    """
    network = [args.config] if args.config is not None else ["--size", args.size or "large"]
    command = [sys.executable, "-m", "mmkd_ext", "flow-benchmark", *network, *more]
    command += ["--only", only, "--sizes", _names([size]), "--device", args.device]
    for name in ("iters", "repeats", "threads"):
        if getattr(args, name) is not None:
            command += [f"--{name}", str(getattr(args, name))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == -signal.SIGKILL:
        return dict(skipped="killed, as Linux does where memory is short", hardware=_hardware(args))
    if done.returncode:
        said = done.stderr.strip().splitlines()
        causes = [line for line in said if line.startswith("error")] or said[-3:]
        raise UserError(
            f"Measuring {only} of {_names([size])} failed with exit code {done.returncode}:\n"
            + "\n".join(causes)
        )
    return json.loads(done.stdout.splitlines()[-1])


def _answer(args: argparse.Namespace) -> dict[str, Any]:
    """What :func:`_ask` asks for, found in this process."""
    import torch

    if args.threads is not None:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    answer: dict[str, Any] = dict(hardware=_hardware(args))
    bench, (size,) = _bench(args, args.device), args.sizes
    try:
        if args.only == LCV:
            return answer | dict(seconds=bench.with_and_without_lcv(size, args.repeats))
        (bench.network.correlation.method,) = args.methods
        kind = bench.training_step if args.only == TRAINING else bench.prediction
        return answer | asdict(bench.measure(kind, size, args.repeats))
    except RuntimeError as error:
        # The latter are the words of PyTorch's allocator for the CPU, which has no class for it.
        short = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
        if not short:
            raise
        return answer | dict(skipped="ran out of memory")


def _bench(args: argparse.Namespace, device: str) -> Bench:
    from mmkd_ext.apis.config import load_config
    from mmkd_ext.distill.inference import network_for_inference
    from mmkd_ext.flow import build_raft
    from mmkd_ext.flow.benchmark import Bench

    given = load_config(args.config) if args.config else build_raft(args.size or "large")
    return Bench(*network_for_inference(given, None, device, "flow-benchmark"), args.iters)


def _device(name: str | None) -> str:
    """A device that there is.

    Raises:
        UserError: There is no such one.
    """
    import torch

    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    found = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if found is None:
        raise UserError(f"--device {name}: give cpu, cuda or, of several GPUs, such as cuda:1.")
    if name != "cpu" and int(found[1] or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {name}: PyTorch sees {torch.cuda.device_count()} GPUs.")
    return name


def _too_large(volume: float, device: str) -> str:
    import torch

    from mmkd_ext.flow.benchmark import available_bytes

    free = available_bytes(torch.device(device))
    if volume <= free:
        return ""
    return (
        f"the volume of all pairs needs {volume / GIB:.1f} GiB at least, and {free / GIB:.1f} GiB "
        "of memory are free"
    )


def _write(path: Path, setting: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Once for each measurement, so that an interrupted benchmark leaves what it has found."""
    from mmkd_ext.atomic_file import atomic_write_text

    atomic_write_text(json.dumps(dict(setting=setting, rows=rows), indent=2) + "\n", path)


def _print(made: Any) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a pipe has no width; 80 columns would fold the table
    console.print(made)


def _hardware(args: argparse.Namespace) -> str:
    return hardware(args.device != "cpu")


def _title(setting: dict[str, Any]) -> str:
    return (
        f"{setting['network']}, {setting['iters']} iterations, median of {setting['repeats']}, "
        f"float32 on {setting['device']}; {setting['hardware']}"
    )


def _names(sizes: Sequence[Size]) -> str:
    return " ".join(f"{height}x{width}" for height, width in sizes)


def _size(text: str) -> Size:
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give height x width as 436x1024")
    return int(found[1]), int(found[2])
