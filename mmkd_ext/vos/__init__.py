"""Semi-supervised video object segmentation: SWEM as a task of the OpenMMLab stack.

The names below are imported when they are first used (PEP 562), so that importing the package
costs nothing.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "FrameMemory": "memory",
    "SWEM": "models",
    "SWEMMemory": "memory",
    "VOSDataSample": "structures",
    "VOSInferencer": "inferencer",
    "VOSSession": "session",
    "boundary_f_score": "metrics.functional",
    "region_similarity": "metrics.functional",
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
