"""Other people's names of RAFT's parameters, translated into ours.

Ours are torchvision's, but for the upsampler, which torchvision calls ``mask_predictor``. The
original's (princeton-vl/RAFT) begin with ``fnet.``, ``cnet.`` and ``update_block.``, often behind
``module.``.
"""

from __future__ import annotations

import re
from typing import Any

_ENCODERS = {"fnet": "feature_encoder", "cnet": "context_encoder"}
_FEATURES = {"c": "corr", "f": "flow"}
_PARTS = {"conv": 0, "norm": 1}  # places in torchvision's Conv2dNormActivation

# The original's names in full, and ours of what they match. The first that matches counts.
_RULES = (
    # The norm behind a shortcut has a second name: norm3 in residual blocks, norm4 in bottlenecks.
    (r"([fc]net)\.(layer\d\.\d\.downsample\..+)", lambda m: f"{_ENCODERS[m[1]]}.{m[2]}"),
    (
        r"([fc]net)\.(layer\d\.\d)\.(conv|norm)(\d)\.(.+)",
        lambda m: f"{_ENCODERS[m[1]]}.{m[2]}.convnormrelu{m[4]}.{_PARTS[m[3]]}.{m[5]}",
    ),
    (
        r"([fc]net)\.(conv|norm)1\.(.+)",
        lambda m: f"{_ENCODERS[m[1]]}.convnormrelu.{_PARTS[m[2]]}.{m[3]}",
    ),
    (r"([fc]net)\.conv2\.(.+)", lambda m: f"{_ENCODERS[m[1]]}.conv.{m[2]}"),
    (
        r"update_block\.encoder\.conv([cf])(\d)\.(.+)",
        lambda m: f"update_block.motion_encoder.conv{_FEATURES[m[1]]}{m[2]}.0.{m[3]}",
    ),
    (
        r"update_block\.encoder\.conv\.(.+)",
        lambda m: f"update_block.motion_encoder.conv.0.{m[1]}",
    ),
    (
        r"update_block\.gru\.conv([zrq])(\d?)\.(.+)",
        lambda m: f"update_block.recurrent_block.convgru{m[2] or 1}.conv{m[1]}.{m[3]}",
    ),
    (r"update_block\.mask\.0\.(.+)", lambda m: f"upsampler.convrelu.0.{m[1]}"),
    (r"update_block\.mask\.2\.(.+)", lambda m: f"upsampler.conv.{m[1]}"),
    (r"mask_predictor\.(.+)", lambda m: f"upsampler.{m[1]}"),
)
_OTHER_ENCODERS = ((r"([fc]net)\.(.+)", lambda m: f"{_ENCODERS[m[1]]}.{m[2]}"),)
_SHORTCUT_NORM = r"[fc]net\.layer\d\.\d\.norm%d\..+"


def rename(state: dict[str, Any], prefix: str = "", convolutions: int | None = 2) -> None:
    """Give the parameters of a RAFT our names, in place; those that have them keep them.

    Args:
        state: A state dict.
        prefix: What stands before the network's names in it.
        convolutions: Of a block beside its shortcut: 2 in residual blocks, 3 in bottlenecks. None:
            the encoders are no RAFT's, and translate the names of their parts themselves.
    """
    rules = _OTHER_ENCODERS + _RULES if convolutions is None else _RULES
    shortcut = _SHORTCUT_NORM % ((convolutions or 2) + 1)
    for key in [key for key in state if key.startswith(prefix)]:
        name = key[len(prefix) :].removeprefix("module.")
        value = state.pop(key)
        if not re.fullmatch(shortcut, name):  # is there as downsample.1 as well
            state[prefix + _ours(name, rules)] = value


def _ours(name: str, rules: tuple[tuple[str, Any], ...]) -> str:
    for pattern, ours in rules:
        found = re.fullmatch(pattern, name)
        if found:
            return ours(found)
    return name
