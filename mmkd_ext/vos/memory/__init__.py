"""Memories: what a network keeps of the frames it has seen."""

from .base import VOSMemory
from .em import Bases, weighted_em
from .frames import FrameMemory, frame_affinity
from .swem import SWEMMemory
from .weights import class_weights

__all__ = [
    "Bases",
    "FrameMemory",
    "SWEMMemory",
    "VOSMemory",
    "class_weights",
    "frame_affinity",
    "weighted_em",
]
