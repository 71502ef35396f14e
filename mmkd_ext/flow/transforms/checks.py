"""Arguments of the random transforms."""

from __future__ import annotations

from collections.abc import Sequence


def check_probabilities(owner: str, **values: float) -> None:
    """Raise ``ValueError`` unless all lie in [0, 1]."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{owner}: {name} is a probability in [0, 1], not {value!r}")


def check_whole_pair(owner: str, name: str, pair: Sequence[int], least: int) -> tuple[int, int]:
    """Two whole numbers as a tuple.

    Raises:
        ValueError: They are not two, not whole, or one is smaller than ``least``.
    """
    values = tuple(pair) if isinstance(pair, Sequence) else ()
    if len(values) != 2 or not all(isinstance(v, int) and v >= least for v in values):
        raise ValueError(f"{owner}: {name} is two whole numbers from {least} on, not {pair!r}")
    return values
