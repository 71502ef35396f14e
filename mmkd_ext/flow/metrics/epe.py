"""End-point error of a dataset, and what share of it is below a few pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmkd_ext.flow.metrics.base import Average, Errors, FlowMetric, Total, total
from mmkd_ext.registry import METRICS


@METRICS.register_module()
class EndPointError(FlowMetric):
    """EPE in pixels, and the share of vectors, in 0..1, that are wrong by less than 1, 3, 5 pixels.

    Keys: ``flow/EPE``; ``1px_acc``, ``3px_acc``, ``5px_acc`` (the higher the better; KITTI's own
    tables have the opposite, the share above); where a pair has ``gt_occluded``, ``EPE_matched``
    (pixels that both images show) and ``EPE_unmatched`` (the others), as Sintel's tables call them;
    with ``speeds``, ``EPE_s0-10``, ``EPE_s10-40``, ``EPE_s40+``.

    Args:
        average: ``'pixel'``, ``'image'`` or ``'batch'``; see :class:`FlowMetric`.
        thresholds: In pixels.
        occlusion: Split by occlusion where it is known.
        speeds: Split by the length of the true vector, in pixels: pairs of a lower bound, which
            belongs to the range, and an upper one, which does not. Sintel's tables have
            ``((0, 10), (10, 40), (40, float('inf')))``.
        **kwargs: Of mmengine's ``BaseMetric``.

    Raises:
        ValueError: Thresholds that are not positive, or ranges that are none.
    """

    def __init__(
        self,
        average: Average = "pixel",
        thresholds: Sequence[float] = (1, 3, 5),
        occlusion: bool = True,
        speeds: Sequence[tuple[float, float]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(average, **kwargs)
        if any(not limit > 0 for limit in thresholds):
            raise ValueError(
                f"EndPointError: thresholds are pixels above 0, not {tuple(thresholds)}"
            )
        self.thresholds = tuple(float(limit) for limit in thresholds)
        self.occlusion = occlusion
        self.speeds = tuple((float(low), float(high)) for low, high in speeds or ())
        if any(not 0 <= low < high for low, high in self.speeds):
            raise ValueError(
                "EndPointError: speeds are ranges (low, high) of pixels, 0 <= low < high, not "
                f"{self.speeds}"
            )

    def measure(self, pixels: Errors) -> dict[str, Total]:
        """The sums of one pair."""
        errors = pixels.errors
        found = {"EPE": total(errors)}
        for limit in self.thresholds:
            found[f"{limit:g}px_acc"] = total(errors < limit)
        if self.occlusion and pixels.occluded is not None:
            found["EPE_matched"] = total(errors, ~pixels.occluded)
            found["EPE_unmatched"] = total(errors, pixels.occluded)
        for low, high in self.speeds:
            name = f"{low:g}+" if high == float("inf") else f"{low:g}-{high:g}"
            within = (pixels.lengths >= low) & (pixels.lengths < high)
            found[f"EPE_s{name}"] = total(errors, within)
        return found
