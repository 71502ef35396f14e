"""Datasets of optical flow."""

from mmkd_ext.flow.datasets.base import FlowDataset
from mmkd_ext.flow.datasets.chairs import FlyingChairsDataset
from mmkd_ext.flow.datasets.folder import FlowFolderDataset
from mmkd_ext.flow.datasets.hd1k import HD1KDataset
from mmkd_ext.flow.datasets.kitti import KITTI2015Dataset
from mmkd_ext.flow.datasets.middlebury import MiddleburyDataset
from mmkd_ext.flow.datasets.sintel import SintelDataset
from mmkd_ext.flow.datasets.things import FlyingThings3DDataset

__all__ = [
    "FlowDataset",
    "FlowFolderDataset",
    "FlyingChairsDataset",
    "FlyingThings3DDataset",
    "HD1KDataset",
    "KITTI2015Dataset",
    "MiddleburyDataset",
    "SintelDataset",
]
