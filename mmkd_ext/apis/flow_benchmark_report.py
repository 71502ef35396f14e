"""What ``flow-benchmark`` found out about correlation, as a table and as a plot."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

METHODS = ("all_pairs", "on_demand")


@dataclass
class Row:
    """One measurement of a way to correlate.

    Attributes:
        work: ``'prediction'`` or ``'training step'``.
        method: ``'all_pairs'`` or ``'on_demand'``.
        height: Of the images, in pixels.
        width: Likewise.
        volume_mib: Of the volume of all pairs, in closed form.
        seconds: Of each repetition.
        idle_mib: Memory before the work.
        peak_mib: Highest memory during the work, ``idle_mib`` included.
        skipped: Why there are no numbers; empty: there are.
    """

    work: str
    method: str
    height: int
    width: int
    volume_mib: float
    seconds: list[float] = field(default_factory=list)
    idle_mib: float = 0.0
    peak_mib: float = 0.0
    skipped: str = ""

    @property
    def size(self) -> str:
        """As on the command line."""
        return f"{self.height}x{self.width}"

    @property
    def median(self) -> float:
        """Of the seconds."""
        return statistics.median(self.seconds)

    @property
    def added_mib(self) -> float:
        """What the work itself took."""
        return self.peak_mib - self.idle_mib


def table(rows: Sequence[Row], title: str) -> Any:
    """A rich table."""
    from rich.table import Table

    made = Table("work", "size", "method", "volume MiB", title=title, title_justify="left")
    for name in ("peak MiB", "added MiB", "seconds", "lowest", "highest"):
        made.add_column(name, justify="right")
    for row in rows:
        numbers = ["skipped"]
        if not row.skipped:
            numbers = [f"{row.peak_mib:.0f}", f"{row.added_mib:.1f}"]
            seconds = (row.median, min(row.seconds), max(row.seconds))
            numbers += [f"{one:.3f}" for one in seconds]
        made.add_row(row.work, row.size, row.method, f"{row.volume_mib:.1f}", *numbers)
    return made


def plot(rows: Sequence[Row], title: str) -> bytes:
    """Memory and time by pixels, a row of panels for each work, as a PNG."""
    from matplotlib.ticker import LogLocator, NullLocator

    from mmkd_ext.apis.demo.figures import BASELINE, DISTILLED, TEACHER, figure, png

    works = list(dict.fromkeys(row.work for row in rows))
    drawing = figure(12.6, 0.6 + 3.9 * len(works))
    panels = drawing.subplots(len(works), 2, squeeze=False)
    sizes = sorted({(row.height * row.width, row.size, row.volume_mib) for row in rows})
    pixels = [one[0] for one in sizes]
    for work, (memory, seconds) in zip(works, panels, strict=True):
        memory.plot(
            pixels, [one[2] for one in sizes], "--", color=TEACHER, label="volume of all pairs"
        )
        for method, colour in zip(METHODS, (BASELINE, DISTILLED), strict=True):
            done = [
                row for row in rows if (row.work, row.method, row.skipped) == (work, method, "")
            ]
            done.sort(key=lambda row: row.height * row.width)
            if not done:
                continue
            style = dict(color=colour, marker="o", ms=4, label=method)
            places = [row.height * row.width for row in done]
            memory.plot(places, [row.added_mib for row in done], **style)
            seconds.plot(places, [row.median for row in done], **style)
        memory.set(ylabel="MiB", title=f"Memory that a {work} adds")
        seconds.set(ylabel="seconds", title=f"Time of a {work}")
        for axes in (memory, seconds):
            axes.set(xscale="log", yscale="log", xlabel="pixels of an image")
            axes.set_xlim(0.8 * pixels[0], 1.25 * pixels[-1])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.set_xticks(pixels, [one[1] for one in sizes], rotation=30)
            if axes.lines:
                axes.legend(frameon=False)
    drawing.suptitle(title)
    return png(drawing)
