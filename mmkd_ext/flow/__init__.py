"""Optical flow: RAFT and the learnable cost volume as a task of the OpenMMLab stack.

Flow is a numpy array (H, W, 2) float32 in pixels: u to the right, then v downwards. The names below
are imported when they are first used (PEP 562), so that importing the package costs nothing.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "FlowDataSample": "structures",
    "FlowInferencer": "inferencer",
    "LearnableCostVolume": "learnable_cost_volume",
    "RAFT": "models",
    "build_raft": "models",
    "end_point_error": "metrics.functional",
    "flow_to_color": "color",
    "outlier_rate": "metrics.functional",
    "read_flow": "formats",
    "write_flow": "formats",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
