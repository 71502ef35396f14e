"""Weights under the names of the published FlowNAS checkpoints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_PARTS = {"inverted_bottleneck": "expand", "depth_conv": "depthwise", "point_linear": "project"}
_BLOCK = re.compile(
    r"blocks\.(?P<block>\d+)\.(?:mobile_inverted_conv\.(?P<part>\w+)|(?P<shortcut>shortcut))\."
    r"(?:(?P<conv>conv\.conv)|bn\.bn|(?P<tracking>bn\.bn_tracking)\.\d+)\.(?P<name>\w+)"
)
_OUTSIDE = (
    ("first_conv.", "stem.conv."),
    ("norm1.", "stem.norm."),
    ("last_conv.point_linear.conv.conv.", "last_conv."),
)


def rename_published_keys(state: dict[str, Any], prefix: str, depths: Sequence[int]) -> None:
    """Give the entries of one published encoder the names of :class:`ElasticFlowEncoder`.

    Entries under other names stay as they are. Statistics that the published training kept of the
    largest and smallest network (``bn_tracking``) are used nowhere, and dropped.

    Args:
        state: A state dict, changed in place.
        prefix: Where the encoder is in it, such as ``'feature_encoder.'``.
        depths: Blocks that every stage holds; the published names count them through.
    """
    places = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
    for key in [key for key in state if key.startswith(prefix)]:
        name = _rename(key[len(prefix) :], places)
        if name is None:
            del state[key]
        elif prefix + name != key:
            state[prefix + name] = state.pop(key)


def _rename(key: str, places: Sequence[tuple[int, int]]) -> str | None:
    """The new name, or ``None`` to drop the entry."""
    for old, new in _OUTSIDE:
        if key.startswith(old):
            return new + key[len(old) :]
    match = _BLOCK.fullmatch(key)
    if match is None or int(match["block"]) >= len(places):
        return key
    if match["tracking"]:
        return None
    stage, block = places[int(match["block"])]
    if match["shortcut"]:
        part = "shortcut"
    else:
        part = f"{_PARTS[match['part']]}.{'conv' if match['conv'] else 'norm'}"
    return f"stages.{stage}.blocks.{block}.{part}.{match['name']}"
