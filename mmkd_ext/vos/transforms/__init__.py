"""Transforms of clips and frames."""

from mmkd_ext.vos.transforms.clip import LoadClip, SampleClip
from mmkd_ext.vos.transforms.color import ClipColorJitter, ClipRandomGrayscale, FrameColorJitter
from mmkd_ext.vos.transforms.formatting import LoadFrame, PackClip, PackFrame, SelectObjects
from mmkd_ext.vos.transforms.geometric import (
    ClipRandomAffine,
    ClipRandomFlip,
    ClipRandomResizedCrop,
    ClipResizeShort,
    FrameRandomAffine,
    FrameRandomCrop,
)
from mmkd_ext.vos.transforms.synthesis import SynthesizeClip
from mmkd_ext.vos.transforms.tps import FrameTPS

__all__ = [
    "ClipColorJitter",
    "ClipRandomAffine",
    "ClipRandomFlip",
    "ClipRandomGrayscale",
    "ClipRandomResizedCrop",
    "ClipResizeShort",
    "FrameColorJitter",
    "FrameRandomAffine",
    "FrameRandomCrop",
    "FrameTPS",
    "LoadClip",
    "LoadFrame",
    "PackClip",
    "PackFrame",
    "SampleClip",
    "SelectObjects",
    "SynthesizeClip",
]
