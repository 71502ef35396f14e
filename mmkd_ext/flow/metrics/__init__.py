"""Error measures of optical flow: functions of one field, and metrics of a whole dataset."""

from mmkd_ext.flow.metrics.base import FlowMetric
from mmkd_ext.flow.metrics.epe import EndPointError
from mmkd_ext.flow.metrics.functional import end_point_error, end_point_errors, outlier_rate
from mmkd_ext.flow.metrics.outliers import FlowOutliers

__all__ = [
    "EndPointError",
    "FlowMetric",
    "FlowOutliers",
    "end_point_error",
    "end_point_errors",
    "outlier_rate",
]
