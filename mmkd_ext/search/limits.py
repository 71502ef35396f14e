"""What a search may spend on a network: its costs, and the ranges they must be in."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

from mmkd_ext.search.constraints import Range, number, parse_constraints
from mmkd_ext.search.space import Genotype, SearchSpace, cost_functions

MEASURED_COSTS = ("latency", "memory")  # told with the score, since no formula gives them
_NEIGHBOURS = 1000  # that are tried around a space's smallest network


class Limits:
    """The constraints of a search, and the costs of a space.

    Args:
        space: Its methods are the costs in closed form.
        constraints: See :func:`parse_constraints`.
        input_size: ``(H, W)`` in pixels, for costs that depend on it.

    Attributes:
        measured: Names of the limited costs that no method of the space gives.

    Raises:
        ValueError: A range is none, or there is no such cost.
    """

    def __init__(
        self,
        space: SearchSpace,
        constraints: Mapping[str, Range] | None,
        input_size: tuple[int, int] | None,
    ) -> None:
        self.space = space
        self.constraints = parse_constraints(constraints)
        self.measured = tuple(name for name in self.constraints if name in MEASURED_COSTS)
        limited = [name for name in self.constraints if name not in self.measured]
        self._functions = cost_functions(space, limited, input_size)
        self._seen: dict[str, tuple[float, float]] = {}

    def __str__(self) -> str:
        return " and ".join(map(str, self.constraints.values())) or "no constraint"

    @property
    def ranges(self) -> dict[str, list[float | None]]:
        """The constraints as plain data; None where a side is open."""
        return {
            name: [value if math.isfinite(value) else None for value in (one.low, one.high)]
            for name, one in self.constraints.items()
        }

    @property
    def seen(self) -> str:
        """The ranges in which limited costs have been, in words."""
        return ", ".join(
            f"{name} from {number(low)} to {number(high)}"
            for name, (low, high) in self._seen.items()
            if name in self.constraints
        )

    def costs(self, genotype: Genotype) -> dict[str, float]:
        """The costs in closed form, limited or not."""
        return plain_numbers({name: cost(genotype) for name, cost in self._functions.items()})

    def note(self, costs: Mapping[str, float]) -> None:
        """Remember costs for :attr:`seen`."""
        for name, value in costs.items():
            low, high = self._seen.get(name, (math.inf, -math.inf))
            self._seen[name] = (min(low, value), max(high, value))

    def broken(self, costs: Mapping[str, float]) -> str | None:
        """The first constraint that costs break; those that are not there break none."""
        for name, constraint in self.constraints.items():
            if name in costs and not constraint.admits(costs[name]):
                return name
        return None

    def check_ends(self, rng: random.Random, mutation_prob: float) -> None:
        """Refuse a limit beyond the smallest or the largest network, where the space has them.

        Raises:
            ValueError: With the cost of that network.
        """
        for end, word in (("min", "smallest"), ("max", "largest")):
            if not hasattr(self.space, end):
                continue
            genotype = getattr(self.space, end)()
            for name in self._beyond(end, genotype):
                # With every gene least, a cost need not be: a wider stage may spare a shortcut's
                # convolution. So its neighbours are asked, too.
                near = (self.space.mutate(genotype, rng, mutation_prob) for _ in range(_NEIGHBOURS))
                if all(name in self._beyond(end, one) for one in near):
                    cost = number(self._functions[name](genotype))
                    raise ValueError(
                        f"EvolutionSearch: no genotype meets {self.constraints[name]}: even the "
                        f"space's {word} network has {name} {cost}; change the limit, or the space"
                    )

    def _beyond(self, end: str, genotype: Genotype) -> list[str]:
        """Limited costs above the greatest value (at ``'min'``) or below the least."""
        names = []
        for name, constraint in self.constraints.items():
            if name in self._functions:
                value = self._functions[name](genotype)
                if value > constraint.high if end == "min" else value < constraint.low:
                    names.append(name)
        return names


def plain_numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Numbers of python, which JSON holds without loss."""
    return {k: v if type(v) in (int, float) else float(v) for k, v in values.items()}
