"""Evolutionary search for a network under limits of its cost; knows no task.

The names below are imported when they are first used (PEP 562): the search itself
(:class:`EvolutionSearch`) needs neither torch nor mmengine.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Candidate": "candidates",
    "Constraint": "constraints",
    "Evaluated": "candidates",
    "EvolutionSearch": "evolution",
    "EvolutionSearchLoop": "loop",
    "FeatureDistance": "evaluation",
    "History": "history",
    "SearchSpace": "space",
    "pareto_front": "report",
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
