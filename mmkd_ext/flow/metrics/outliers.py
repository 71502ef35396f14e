"""Fl, the share of wrong vectors, of a dataset."""

from __future__ import annotations

from mmkd_ext.flow.metrics.base import Errors, FlowMetric, Total, total
from mmkd_ext.flow.metrics.functional import outliers
from mmkd_ext.registry import METRICS


@METRICS.register_module()
class FlowOutliers(FlowMetric):
    """Fl of KITTI 2015: the share of vectors, in percent, wrong by more than 3 pixels and 5 %.

    Keys: ``flow/Fl_all``; where a pair has ``gt_occluded``, ``Fl_matched`` (pixels whose match lies
    within the second image, KITTI's ``noc``) and ``Fl_unmatched`` (the others). Source: Menze and
    Geiger, "Object Scene Flow for Autonomous Vehicles", CVPR 2015.

    Args:
        average: ``'pixel'``, as RAFT has it, ``'image'`` or ``'batch'``; see :class:`FlowMetric`.
        **kwargs: Of mmengine's ``BaseMetric``.
    """

    def measure(self, pixels: Errors) -> dict[str, Total]:
        """The sums of one pair."""
        percent = 100.0 * outliers(pixels.errors, pixels.lengths)
        found = {"Fl_all": total(percent)}
        if pixels.occluded is not None:
            found["Fl_matched"] = total(percent, ~pixels.occluded)
            found["Fl_unmatched"] = total(percent, pixels.occluded)
        return found
