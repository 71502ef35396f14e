"""Datasets of video object segmentation."""

from mmkd_ext.vos.datasets.davis import DAVISDataset
from mmkd_ext.vos.datasets.folder import FolderVOSDataset
from mmkd_ext.vos.datasets.static import StaticVOSDataset
from mmkd_ext.vos.datasets.video import VOSVideoDataset
from mmkd_ext.vos.datasets.youtube_vos import YouTubeVOSDataset

__all__ = [
    "DAVISDataset",
    "FolderVOSDataset",
    "StaticVOSDataset",
    "VOSVideoDataset",
    "YouTubeVOSDataset",
]
