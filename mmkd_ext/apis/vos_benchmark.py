"""Measure frames per second and memory of a network that follows objects, on made-up videos.

Either for several sizes of the memory (K bases, R iterations), or, with --length, along one long
video beside a memory that grows.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmkd_ext.apis.errors import main_guard
from mmkd_ext.apis.measure import hardware
from mmkd_ext.apis.options import CONFIG_HELP

if TYPE_CHECKING:
    from mmkd_ext.vos.benchmark import FrameCosts
    from mmkd_ext.vos.models.network import SWEMNetwork


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``vos-benchmark``."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("config", help=f"{CONFIG_HELP}; weights are random, as speed needs none")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(480, 864), metavar="N", help="of the frames: H W"
    )
    parser.add_argument(
        "--objects", type=int, nargs="+", default=[1], metavar="N", help="how many (default: 1)"
    )
    parser.add_argument(
        "--num-bases",
        type=int,
        nargs="+",
        default=[64, 128, 256],
        metavar="K",
        help="of the memory",
    )
    parser.add_argument(
        "--iters", type=int, nargs="+", default=[1, 2, 4], metavar="R", help="EM iterations a frame"
    )
    parser.add_argument(
        "--frames", type=int, default=20, metavar="N", help="of a video (default: %(default)s)"
    )
    parser.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="the median counts (default: 3)"
    )
    parser.add_argument("--mem-every", type=int, default=1, metavar="N", help="memorise every N")
    parser.add_argument("--amp", action="store_true", help="compute in bfloat16 where that is safe")
    parser.add_argument("--device", help="such as cuda:1 or cpu (default: the GPU if there is one)")
    parser.add_argument(
        "--length",
        type=int,
        metavar="N",
        help="follow a video of N frames with the config's memory, and with FrameMemory",
    )
    parser.add_argument(
        "--out-dir",
        default="vos_benchmark",
        metavar="DIR",
        help="with --length: where the plot and the table go (default: %(default)s)",
    )
    args = parser.parse_args(argv)
    counts = ("frames", "repeats", "mem_every", "length")
    for name in counts:
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} takes a number above 0")
    for name in ("size", "objects", "num_bases", "iters"):
        if min(getattr(args, name)) < 1:
            parser.error(f"--{name.replace('_', '-')} takes numbers above 0")
    return args


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Measure, and print a table."""
    args = parse_args(argv, prog)
    # After the arguments, so that -h and a misspelt option answer at once.
    from mmkd_ext.apis.config import load_config
    from mmkd_ext.vos import VOSInferencer

    model = VOSInferencer(load_config(args.config), device=args.device).model
    if args.length is None:
        measure_sizes(model, args)
    else:
        measure_length(model, args)


def measure_sizes(model: SWEMNetwork, args: argparse.Namespace) -> None:
    """Frames per second for each number of objects, of bases and of iterations."""
    from rich.console import Console
    from rich.table import Table

    from mmkd_ext.vos.benchmark import follow, other_memory

    table = Table(
        "objects", "K", "R", "frames/s", "kept MiB", "peak MiB", title=_setting(model, args)
    )
    for objects, bases, iters in itertools.product(args.objects, args.num_bases, args.iters):
        with other_memory(model, dict(num_bases=bases, iters=iters)):
            options = dict(objects=objects, amp=args.amp, mem_every=args.mem_every)
            follow(model, min(args.frames, 3), args.size, **options)  # warms up
            runs = [follow(model, args.frames, args.size, **options) for _ in range(args.repeats)]
        fps = statistics.median(run.fps for run in runs)
        kept, peak = runs[-1].session_mib[-1], max(runs[-1].peak_mib)
        numbers = (f"{fps:.2f}", f"{kept:.2f}", f"{peak:.0f}")
        table.add_row(*map(str, (objects, bases, iters)), *numbers)
    Console(soft_wrap=True).print(table)


def measure_length(model: SWEMNetwork, args: argparse.Namespace) -> None:
    """The cost of each frame of a long video, with the model's memory and with FrameMemory."""
    from mmkd_ext.atomic_file import atomic_write_bytes, atomic_write_text
    from mmkd_ext.vos.benchmark import follow, other_memory

    growing = dict(type="FrameMemory", topl=model.new_memory().similarity_channels // 2)
    memories = {model.memory_cfg["type"]: model.memory_cfg, "FrameMemory": growing}
    options = dict(objects=args.objects[0], amp=args.amp, mem_every=args.mem_every)
    costs = {}
    for name, memory in memories.items():
        with other_memory(model, memory):
            follow(model, 3, args.size, **options)  # warms up
            costs[name] = follow(model, args.length, args.size, **options)
    out_dir = Path(args.out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    atomic_write_text(_csv(costs), out_dir / "frames.csv")
    atomic_write_bytes(_plot(costs, _setting(model, args)), out_dir / "frames.png")
    print(_setting(model, args))
    for name, cost in costs.items():
        for frame in sorted({min(50, args.length - 1), args.length - 1}):
            print(
                f"{name:12} frame {frame:5}: {1000 * cost.around(frame):8.2f} ms, "
                f"kept {cost.session_mib[frame]:8.2f} MiB, peak {cost.peak_mib[frame]:6.0f} MiB"
            )
    print(f"{out_dir / 'frames.png'}, {out_dir / 'frames.csv'}")


def _setting(model: SWEMNetwork, args: argparse.Namespace) -> str:
    """What was measured, in a line."""
    device = next(model.parameters()).device
    height, width = args.size
    return (
        f"{height} x {width} pixels, memorised every {args.mem_every}, "
        f"{'bfloat16' if args.amp else 'float32'} on {device}; {hardware(device.type == 'cuda')}"
    )


def _csv(costs: dict[str, FrameCosts]) -> str:
    """A row a frame and memory."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("memory", "frame", "seconds", "session_mib", "peak_mib"))
    for name, cost in costs.items():
        rows = zip(cost.seconds, cost.session_mib, cost.peak_mib, strict=True)
        writer.writerows((name, frame, *row) for frame, row in enumerate(rows))
    return text.getvalue()


def _plot(costs: dict[str, FrameCosts], title: str) -> bytes:
    """Time, kept and highest memory by frame, as a PNG."""
    from mmkd_ext.apis.demo.figures import BASELINE, DISTILLED, figure, png

    drawing = figure(12.6, 3.8)
    time, kept, peak = drawing.subplots(1, 3)
    for (name, cost), colour in zip(costs.items(), (DISTILLED, BASELINE), strict=False):
        frames = range(len(cost.seconds))
        time.plot(frames, [1000 * cost.around(frame) for frame in frames], color=colour, label=name)
        kept.plot(frames, cost.session_mib, color=colour, label=name)
        peak.plot(frames, cost.peak_mib, color=colour, label=name)
    time.set(ylabel="ms, median of 15 frames", title="Time of a frame")
    kept.set(ylabel="MiB", title="Kept between frames")
    peak.set(ylabel="MiB", title="Highest memory")
    for axes in (time, kept, peak):
        axes.set(xlabel="frame")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
    drawing.suptitle(title)
    return png(drawing)
