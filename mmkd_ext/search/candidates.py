"""A network that the search proposes, and what became of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Origin = Literal["random", "mutation", "crossover"]


@dataclass(frozen=True)
class Candidate:
    """A genotype to be evaluated.

    Attributes:
        number: In the order of proposals, from 0.
        genotype: Of the space.
        generation: 0 for the random ones in the beginning, then 1 to ``max_epochs``.
        origin: How it came about.
        costs: Those in closed form.
    """

    number: int
    genotype: Any
    generation: int
    origin: Origin
    costs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluated:
    """A candidate that has been evaluated.

    Attributes:
        candidate: As it was proposed.
        score: None where a measured cost was outside its limits, so that no score was computed.
        metrics: What else was computed.
        costs: In closed form and measured.
        rejected: The constraint that a measured cost broke.
    """

    candidate: Candidate
    score: float | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    rejected: str | None = None

    @property
    def ranks(self) -> bool:
        """Whether it has a score that can be compared: a finite one."""
        return self.score is not None and math.isfinite(self.score)

    def to_record(self) -> dict[str, Any]:
        """Plain data for JSON, which has no NaN and no infinity: those become strings."""
        candidate = self.candidate
        record = dict(
            number=candidate.number,
            generation=candidate.generation,
            origin=candidate.origin,
            genotype=candidate.genotype,
            score=None if self.score is None else _encoded(self.score),
            metrics={name: _encoded(value) for name, value in self.metrics.items()},
            costs={name: _encoded(value) for name, value in self.costs.items()},
        )
        return record if self.rejected is None else {**record, "rejected": self.rejected}


def outcome_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Score, metrics and costs of a record, as :meth:`EvolutionSearch.tell` takes them.

    Raises:
        ValueError: The record has another form.
    """
    try:
        score = record["score"]
        return dict(
            score=None if score is None else _decoded(score),
            metrics={name: _decoded(value) for name, value in record["metrics"].items()},
            costs={name: _decoded(value) for name, value in record["costs"].items()},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is no record of a candidate ({error!r})") from error


def _encoded(value: float) -> float | str:
    return value if math.isfinite(value) else str(float(value))


def _decoded(value: float | str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError(f"{value!r} is no number")
    return float(value) if isinstance(value, str) else value
