"""The figures of DAVIS."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.logging import print_log

from mmkd_ext.registry import METRICS
from mmkd_ext.vos.metrics.sequence import VideoMetric
from mmkd_ext.vos.metrics.statistics import Statistics, statistics

COLUMNS = ("J&F", "J", "J_recall", "J_decay", "F", "F_recall", "F_decay")


@METRICS.register_module()
class DAVISMetric(VideoMetric):
    """J, F and J&F as the official tool computes them, in 0..1.

    A mean goes over all objects of all videos, each with the same weight. The first and the last
    frame of a video do not count. An object that appears later counts from the frame after the
    one that gives it.

    Keys: ``davis/JF`` (mean of the next two means), ``J``, ``J_recall``, ``J_decay``, ``F``,
    ``F_recall``, ``F_decay``. A table of all objects goes to the log.

    Args:
        skip_last: False to count the last frame.
        void: ``'background'``, as the tool has it for semi-supervised methods, or ``'ignore'``.
        csv_file: Write the table of objects there as well, in the tool's columns.
        workers: Threads that compute the figures; 0 for none.
        **kwargs: Of mmengine's ``BaseMetric``.

    Raises:
        ValueError: No object has a frame that counts.
    """

    default_prefix = "davis"

    def __init__(
        self,
        skip_last: bool = True,
        void: str = "background",
        csv_file: str | None = None,
        workers: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(skip_last, void, workers, **kwargs)
        self.csv_file = csv_file

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figures of the records of all videos."""
        rows = {}
        for record in results:
            for number, scores in sorted(record["objects"].items()):
                pair = statistics(scores["J"]), statistics(scores["F"])
                rows[f"{record['video']}_{number}"] = as_row(*pair)
        if not rows:
            raise ValueError(
                f"DAVISMetric: {len(results)} videos, but no object has a frame with ground truth "
                "between the one that gives it and the last"
            )
        total = np.mean(list(rows.values()), axis=0)
        # The mean of two means, to the bit.
        total[0] = (total[1] + total[4]) / 2
        print_log("\n" + table(rows | {"mean of all objects": total}), logger="current")
        if self.csv_file and is_main_process():
            self._write_csv(rows)
        names = ("JF", *COLUMNS[1:])
        return {name: float(value) for name, value in zip(names, total, strict=True)}

    def _write_csv(self, rows: dict[str, Sequence[float]]) -> None:
        path = Path(self.csv_file)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["Sequence", "J-Mean", "F-Mean"])
            writer.writerows([name, f"{row[1]:.3f}", f"{row[4]:.3f}"] for name, row in rows.items())


def as_row(region: Statistics, contour: Statistics) -> tuple[float, ...]:
    """The figures of one object in the order of COLUMNS."""
    return ((region.mean + contour.mean) / 2, *region, *contour)


def table(rows: dict[str, Sequence[float]]) -> str:
    """Rows as lines of text."""
    width = max(len(name) for name in rows)
    lines = [" " * width + "".join(f"{column:>10}" for column in COLUMNS)]
    for name, row in rows.items():
        lines.append(f"{name:<{width}}" + "".join(f"{value:10.3f}" for value in row))
    return "\n".join(lines)
