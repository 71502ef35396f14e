"""Limits of what a candidate may cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Range = Sequence[float | None] | float


@dataclass(frozen=True)
class Constraint:
    """A range, both ends included, that a cost must be in.

    Attributes:
        name: Of the cost.
        low: Least value.
        high: Greatest value.
    """

    name: str
    low: float = -math.inf
    high: float = math.inf

    def admits(self, value: float) -> bool:
        """Whether the value is in the range; NaN never is."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        low = "" if self.low == -math.inf else f"{number(self.low)} <= "
        high = "" if self.high == math.inf else f" <= {number(self.high)}"
        return f"{low}{self.name}{high}"


def parse_constraints(constraints: Mapping[str, Range] | None) -> dict[str, Constraint]:
    """Constraints as in a config: ``dict(params=(low, high), macs=(None, high), latency=high)``.

    Raises:
        ValueError: A range is none; the message names it.
    """
    parsed = {}
    for name, limits in (constraints or {}).items():
        pair = (None, limits) if isinstance(limits, (int, float)) else tuple(limits or ())
        if len(pair) != 2 or pair == (None, None):
            raise ValueError(
                f"constraints: {name}={limits!r} is no range; give (low, high), either may be "
                "None, or the highest value"
            )
        low, high = (
            end if value is None else float(value)
            for end, value in zip((-math.inf, math.inf), pair, strict=True)
        )
        if not low <= high:
            raise ValueError(f"constraints: {name}={limits!r} is empty, {low} is above {high}")
        parsed[name] = Constraint(name, low, high)
    return parsed


def number(value: float) -> str:
    """A cost for people: thousands apart, no digits that mean nothing."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"
