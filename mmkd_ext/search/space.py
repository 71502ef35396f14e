"""What can be searched, and what its members cost."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Protocol, runtime_checkable

Genotype = Any  # plain data that JSON can hold: numbers, strings, tuples, lists, dicts of them
CostFunction = Callable[[Genotype], float]

REPORTED_COSTS = ("params", "macs")  # noted of every candidate, limited or not


@runtime_checkable
class SearchSpace(Protocol):
    """A set of architectures, each described by a genotype.

    All random numbers come from the generator that is handed over, so that a seed fixes a search.

    A cost in closed form is a method ``cost(genotype)`` or ``cost(genotype, input_size)``, such as
    ``params(genotype)`` and ``macs(genotype, (H, W))``; any such method can be limited by its name.
    A space may offer ``min()`` and ``max()``, its smallest and largest network: a budget beyond
    them is refused at once. By ``to_dict()`` it may say what it was made from. By
    ``draw(genotype, path, input_size)`` it may write a picture of a network (PNG); ``input_size``
    is (H, W) in pixels, or None.
    """

    @property
    def size(self) -> int:
        """How many genotypes there are."""

    def sample(self, rng: random.Random) -> Genotype:
        """Draw a genotype uniformly."""

    def mutate(self, genotype: Genotype, rng: random.Random, prob: float) -> Genotype:
        """A copy in which each gene is, with probability ``prob``, drawn anew."""

    def crossover(self, a: Genotype, b: Genotype, rng: random.Random) -> Genotype:
        """A child that has each gene from either parent."""

    def check(self, genotype: Genotype) -> Any:
        """Return if the genotype is of this space.

        Raises:
            ValueError: It is not.
        """

    def key(self, genotype: Genotype) -> Hashable:
        """What is equal for genotypes of the same network, and different for any others."""


def check_space(space: Any) -> None:
    """Raise ValueError where a space lacks what every search asks of it, naming it."""
    members = [name for name in vars(SearchSpace) if not name.startswith("_")]
    missing = [name for name in members if not hasattr(space, name)]
    if missing:
        raise ValueError(
            f"{type(space).__name__} is no search space: it lacks {', '.join(missing)}; see "
            "mmkd_ext.search.SearchSpace"
        )


def space_signature(space: SearchSpace) -> dict[str, Any]:
    """What tells a space from another one, as plain data.

    Its class, its size, some members and, where it offers them by ``to_dict()``, its arguments.
    """
    rng = random.Random(0)
    signature = {
        "type": f"{type(space).__module__}.{type(space).__qualname__}",
        "size": space.size,
        "samples": [space.sample(rng) for _ in range(4)],
    }
    if hasattr(space, "to_dict"):
        signature["arguments"] = space.to_dict()
    return signature


def cost_functions(
    space: SearchSpace, names: Iterable[str], input_size: tuple[int, int] | None
) -> dict[str, CostFunction]:
    """The costs in closed form that are limited, and those that are reported of every candidate.

    Args:
        space: Has them as methods.
        names: Of those that are limited.
        input_size: ``(H, W)`` in pixels, for costs that depend on it.

    Raises:
        ValueError: The space has no such cost, or a cost that is limited needs ``input_size``.
    """
    names = tuple(names)
    functions = {}
    for name in dict.fromkeys((*REPORTED_COSTS, *names)):
        method = getattr(space, name, None)
        if not callable(method):
            if name in names:
                raise ValueError(
                    f"constraints: {type(space).__name__} has no method {name}(genotype); a cost "
                    "is a method of the space, or the measured latency or memory"
                )
            continue
        if not _takes_input_size(method):
            functions[name] = method
        elif input_size is not None:
            functions[name] = _at(method, tuple(input_size))
        elif name in names:
            raise ValueError(f"constraints: {name} depends on the input; give input_size=(H, W)")
    return functions


def _takes_input_size(method: Callable) -> bool:
    parameters = inspect.signature(method).parameters.values()
    required = [p for p in parameters if p.default is p.empty and p.kind in (0, 1)]
    return len(required) > 1


def _at(method: Callable, input_size: tuple[int, ...]) -> CostFunction:
    return lambda genotype: method(genotype, input_size)
