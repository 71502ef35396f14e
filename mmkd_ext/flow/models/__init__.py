"""Networks of optical flow."""

from .build import build_raft, raft_config
from .correlation import Correlation
from .encoders import RAFTEncoder
from .raft import RAFT
from .upsamplers import BilinearUpsampler, ConvexUpsampler

__all__ = [
    "RAFT",
    "BilinearUpsampler",
    "ConvexUpsampler",
    "Correlation",
    "RAFTEncoder",
    "build_raft",
    "raft_config",
]
