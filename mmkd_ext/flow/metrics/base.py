"""What the metrics of a dataset share: sums of each pair, gathered once, and three averages.

Shapes: H, W pixels; M valid pixels of one pair, in row-major order. Flow is in pixels.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from mmengine.dist import all_gather_object, get_rank
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmkd_ext.flow.arrays import flow_array, to_numpy
from mmkd_ext.flow.metrics.functional import end_point_errors

Average = Literal["pixel", "image", "batch"]
AVERAGES = ("pixel", "image", "batch")


class Total(NamedTuple):
    """A sum over pixels, in float64, and how many pixels they are."""

    sum: float
    count: int


@dataclass
class Errors:
    """The valid pixels of one pair.

    Attributes:
        errors: (M,) float64, end-point errors.
        lengths: (M,) float64, lengths of the true vectors.
        occluded: (M,) bool, what the second image does not show; None where nobody knows.
    """

    errors: np.ndarray
    lengths: np.ndarray
    occluded: np.ndarray | None


@dataclass
class Record:
    """What is kept of one pair.

    Attributes:
        pair: Its identity.
        batch: Number of the batch within its process, and the process.
        totals: By figure.
        pixels: Valid ones.
        subset: Of the dataset, such as Sintel's pass; '' where it has none.
    """

    pair: tuple
    batch: tuple[int, int]
    totals: dict[str, Total]
    pixels: int
    subset: str = ""


class FlowMetric(BaseMetric):
    """Figures of a whole dataset, as a mean that is one of three.

    * ``'pixel'``: over all valid pixels of the dataset, so that a pair with more of them weighs
      more. RAFT's EPE on Sintel, and its Fl on KITTI.
    * ``'image'``: each pair's mean first, then the mean of these. RAFT's EPE on KITTI.
    * ``'batch'``: over the pixels of each batch first, then the mean of these, as in mmflow 1.x.
      It depends on the batch size, the order and the number of processes: only to compare with
      figures taken so.

    Where each pair has the same number of valid pixels, the first two are equal.

    A pair counts once, however often it was seen: samplers of several processes repeat pairs so
    that each has as many. Pairs are told apart by the paths of their images, and without paths by
    ``sequence`` and ``index``. Sums are kept by pair, in float64, and added in the order of the
    pairs' names, so that ``'pixel'`` and ``'image'`` do not depend on who saw which pair. A pair
    without a valid pixel has no mean and is left out, with a warning. A figure to which no pixel of
    the dataset belongs is left out, too.

    Pairs of several subsets, such as both passes of Sintel, give the figures of each subset as
    well: ``flow/clean/EPE``, ``flow/final/EPE`` beside ``flow/EPE``.

    Args:
        average: One of the three.
        **kwargs: Of mmengine's ``BaseMetric``; ``prefix`` tells two of one kind apart.

    Raises:
        ValueError: ``average`` is none of them.
    """

    default_prefix = "flow"

    def __init__(self, average: Average = "pixel", **kwargs: Any) -> None:
        if average not in AVERAGES:
            raise ValueError(
                f"{type(self).__name__}: average is 'pixel', 'image' or 'batch', not {average!r}"
            )
        super().__init__(**kwargs)
        self.average = average
        self._batches = 0

    @abstractmethod
    def measure(self, pixels: Errors) -> dict[str, Total]:
        """The sums of one pair, by figure."""

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Take one batch.

        Args:
            data_batch: Ignored.
            data_samples: The fields of :class:`mmkd_ext.flow.structures.FlowDataSample`.

        Raises:
            ValueError: A pair has no ground truth, no prediction, or no name; shapes that do not
                fit; NaN or infinity.
        """
        batch = (self._batches, get_rank())
        self._batches += 1
        for sample in data_samples:
            pixels = self._pixels(sample)
            subset = sample.get("subset", "")
            totals = self.measure(pixels)
            self.results.append(
                Record(self._pair(sample), batch, totals, len(pixels.errors), subset)
            )

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather what all processes saw and compute the figures, the same in each.

        Args:
            size: Ignored; mmengine's own gathering would cut there.

        Raises:
            ValueError: There is no pair, or none has a valid pixel.
        """
        gathered = [record for part in all_gather_object(self.results) for record in part]
        self.results.clear()
        self._batches = 0
        # Samplers put their repetitions last: the copy of the earlier batch is the pair's own.
        first: dict[tuple, Record] = {}
        for record in sorted(gathered, key=lambda record: record.batch):
            first.setdefault(record.pair, record)
        figures = self.compute_metrics([first[pair] for pair in sorted(first, key=str)])
        return {f"{self.prefix}/{key}": value for key, value in figures.items()}

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The figures of the records of all pairs, each there once."""
        name = type(self).__name__
        if not results:
            raise ValueError(f"{name}: not one pair was evaluated; is the dataset empty?")
        empty = [record for record in results if not record.pixels]
        if len(empty) == len(results):
            raise ValueError(
                f"{name}: none of the {len(results)} pairs has a valid pixel; is gt_valid right?"
            )
        if empty:
            print_log(
                f"{name}: {len(empty)} of {len(results)} pairs have no valid pixel and do not "
                f"count; the first is {_readable(empty[0].pair)}",
                logger="current",
                level=logging.WARNING,
            )
        figures = means(results, self.average)
        subsets = sorted({record.subset for record in results})
        for subset in subsets if len(subsets) > 1 else ():
            own = means([record for record in results if record.subset == subset], self.average)
            figures.update({f"{subset or 'other'}/{key}": value for key, value in own.items()})
        return figures

    def _pixels(self, sample: Mapping[str, Any]) -> Errors:
        where = f"{type(self).__name__}: {_readable(self._pair(sample))}"
        if "gt_flow" not in sample:
            raise ValueError(
                f"{where}: no ground truth (gt_flow). A test set without it can be predicted "
                "(mmkd_ext.FlowDumpHook), but not evaluated: take the metric out of test_evaluator"
            )
        if "pred_flow" not in sample:
            raise ValueError(f"{where}: no prediction (pred_flow); what model is this?")
        pred, gt = (flow_array(sample[key]) for key in ("pred_flow", "gt_flow"))
        wrong = pred.size - int(np.isfinite(pred).sum())
        if wrong:
            raise ValueError(f"{where}: {wrong} of {pred.size} predicted values are not finite")
        valid = (
            to_numpy(sample["gt_valid"]) if "gt_valid" in sample else np.ones(gt.shape[:2], bool)
        )
        try:
            errors = end_point_errors(pred, gt, valid)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        occluded = to_numpy(sample["gt_occluded"]) if "gt_occluded" in sample else None
        if occluded is not None and occluded.shape != valid.shape:
            raise ValueError(f"{where}: gt_occluded is {occluded.shape}, gt_valid {valid.shape}")
        return Errors(
            errors,
            np.linalg.norm(gt[valid].astype(np.float64), axis=1),
            None if occluded is None else occluded[valid],
        )

    def _pair(self, sample: Mapping[str, Any]) -> tuple:
        if sample.get("img1_path"):
            return str(sample["img1_path"]), str(sample.get("img2_path", ""))
        if "sequence" in sample and "index" in sample:
            return str(sample["sequence"]), int(sample["index"])
        raise ValueError(
            f"{type(self).__name__}: which pair is this? Its metainfo has neither img1_path nor "
            "sequence and index; keep them in mmkd_ext.PackFlowInputs"
        )


def total(values: np.ndarray, where: np.ndarray | None = None) -> Total:
    """Sum and count of (M,) ``values``, or of those where (M,) ``where`` is true."""
    chosen = values if where is None else values[where]
    return Total(float(chosen.sum(dtype=np.float64)), len(chosen))


def means(records: Sequence[Record], average: Average) -> dict[str, float]:
    """The mean of each figure over the records; see :class:`FlowMetric` for the three ways."""
    found = {}
    for key in dict.fromkeys(key for record in records for key in record.totals):
        groups: dict[Any, list[Total]] = {}
        for position, record in enumerate(records):
            group = {"pixel": None, "image": position, "batch": record.batch}[average]
            groups.setdefault(group, []).append(record.totals.get(key, Total(0.0, 0)))
        values = [mean for mean in map(_pooled, groups.values()) if mean is not None]
        if values:
            found[key] = sum(values) / len(values)
    return found


def _pooled(totals: Iterable[Total]) -> float | None:
    sums, counts = zip(*totals, strict=True)
    return sum(sums) / sum(counts) if any(counts) else None


def _readable(pair: tuple) -> str:
    return f"pair {pair[1]} of {pair[0]}" if isinstance(pair[1], int) else f"pair {pair[0]}"
