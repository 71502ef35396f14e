"""Whole sequences to processes."""

from __future__ import annotations

from collections.abc import Sequence


def deal(counts: Sequence[int], players: int) -> list[list[int]]:
    """Deal sequences of these lengths out to ``players``; each hand is in ascending order.

    The longest first, each to the one that has the fewest frames so far: nobody works much longer
    than the others. A hand may be shorter than another, or empty.
    """
    hands: list[list[int]] = [[] for _ in range(players)]
    loads = [0] * players
    for sequence in sorted(range(len(counts)), key=lambda index: (-counts[index], index)):
        player = loads.index(min(loads))
        hands[player].append(sequence)
        loads[player] += counts[sequence]
    return [sorted(hand) for hand in hands]
