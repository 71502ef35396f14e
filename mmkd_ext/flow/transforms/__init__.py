"""Transforms of image pairs with flow."""

from mmkd_ext.flow.transforms.color import FlowColorJitter
from mmkd_ext.flow.transforms.erase import FlowErase
from mmkd_ext.flow.transforms.formatting import PackFlowInputs
from mmkd_ext.flow.transforms.geometric import FlowRandomFlip, FlowResizeCrop
from mmkd_ext.flow.transforms.loading import LoadFlowAnnotations, LoadFlowPair, UnknownFlow

__all__ = [
    "FlowColorJitter",
    "FlowErase",
    "FlowRandomFlip",
    "FlowResizeCrop",
    "LoadFlowAnnotations",
    "LoadFlowPair",
    "PackFlowInputs",
    "UnknownFlow",
]
