"""Text of messages."""

from __future__ import annotations

from collections.abc import Sequence


def listed(items: Sequence[str], most: int = 5) -> str:
    """The first few items, and how many more there are."""
    rest = len(items) - most
    return ", ".join(items[:most]) + (f" and {rest} more" if rest > 0 else "")
