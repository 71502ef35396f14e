"""RAFT by name."""

from __future__ import annotations

from os import PathLike
from typing import Any, Literal

from mmkd_ext.registry import MODELS, SCOPE

from .raft import RAFT

SIZES = {
    "large": {},
    "small": {
        "feature_encoder": {
            "type": "mmkd_ext.RAFTEncoder",
            "layers": (32, 32, 64, 96, 128),
            "block": "bottleneck",
        },
        "context_encoder": {
            "type": "mmkd_ext.RAFTEncoder",
            "layers": (32, 32, 64, 96, 160),
            "block": "bottleneck",
            "norm": "none",
        },
        "correlation": {"type": "mmkd_ext.Correlation", "radius": 3},
        "hidden_channels": 96,
        "motion_encoder": {"corr_layers": (96,), "flow_layers": (64, 32), "out_channels": 82},
        "recurrent_kernels": ((3, 3),),
        "flow_head_channels": 128,
        "upsampler": {"type": "mmkd_ext.BilinearUpsampler"},
    },
}


def raft_config(
    size: Literal["large", "small"] = "large",
    cost_volume: Literal["inner_product", "learnable"] = "inner_product",
    **options: Any,
) -> dict[str, Any]:
    """The config of a published network, for ``MODELS.build``.

    Args:
        size: ``'large'`` (5,257,536 parameters) or ``'small'`` (990,162).
        cost_volume: ``'learnable'`` puts a
            :class:`~mmkd_ext.flow.learnable_cost_volume.LearnableCostVolume` before the
            correlation.
        **options: Arguments of :class:`~mmkd_ext.flow.models.raft.RAFT`, in place of its.

    Raises:
        ValueError: Unknown names.
    """
    if size not in SIZES:
        raise ValueError(f"raft_config: size is 'large' or 'small', not {size!r}")
    if cost_volume not in ("inner_product", "learnable"):
        raise ValueError(
            f"raft_config: cost_volume is 'inner_product' or 'learnable', not {cost_volume!r}"
        )
    config = {"type": "mmkd_ext.RAFT", "_scope_": SCOPE, **SIZES[size], **options}
    if cost_volume == "learnable":
        correlation = config.get("correlation", {"type": "mmkd_ext.Correlation"})
        if correlation.get("metric") is not None:
            raise ValueError(
                "raft_config: cost_volume='learnable' and a correlation with a metric of its own; "
                "give one of them"
            )
        config["correlation"] = {**correlation, "metric": {"type": "mmkd_ext.LearnableCostVolume"}}
    return config


def build_raft(
    size: Literal["large", "small"] = "large",
    cost_volume: Literal["inner_product", "learnable"] = "inner_product",
    weights: str | PathLike | None = None,
    **options: Any,
) -> RAFT:
    """Build RAFT, in eval mode.

    Args:
        size: As for :func:`raft_config`.
        cost_volume: Likewise.
        weights: Checkpoint, a path or URL: of ours, of torchvision or of the original. None:
            random weights.
        **options: As for :func:`raft_config`.

    Raises:
        ValueError: Unknown names.
        CheckpointError: The weights cannot be read, or are of another network.
    """
    from mmkd_ext.distill.inference import network_for_inference

    model = MODELS.build(raft_config(size, cost_volume, **options))
    network, _ = network_for_inference(model, weights, None, "build_raft")
    return network
