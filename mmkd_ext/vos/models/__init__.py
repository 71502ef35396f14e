"""SWEM and its parts."""

from .aggregation import Aggregation, soft_aggregation
from .swem import SWEM
from .trunk import ResNetTrunk

__all__ = ["SWEM", "Aggregation", "ResNetTrunk", "soft_aggregation"]
