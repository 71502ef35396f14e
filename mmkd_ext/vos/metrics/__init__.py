"""Metrics of video object segmentation."""

from mmkd_ext.vos.metrics.davis import DAVISMetric
from mmkd_ext.vos.metrics.functional import boundary_f_score, region_similarity
from mmkd_ext.vos.metrics.statistics import Statistics, statistics
from mmkd_ext.vos.metrics.youtube_vos import YouTubeVOSMetric

__all__ = [
    "DAVISMetric",
    "Statistics",
    "YouTubeVOSMetric",
    "boundary_f_score",
    "region_similarity",
    "statistics",
]
