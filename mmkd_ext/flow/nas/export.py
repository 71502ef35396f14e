"""From a super-network to the plain network of its active genotype.

The result computes, bit for bit, what the super-network computes with that genotype.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .elastic_encoder import ElasticFlowEncoder
from .genotype import Genotype
from .network import elastic_encoders
from .space import FlowNASSpace
from .static_encoder import StaticFlowEncoder

_BN_MODES = {"frozen01": "frozen", "batch": "batch", "calibrated": "tracked"}


def export_encoder(encoder: ElasticFlowEncoder) -> StaticFlowEncoder:
    """The active genotype of an elastic encoder, with its slice of the weights.

    Statistics of batch norms are those stored: calibrate before, where ``bn_mode='calibrated'``, or
    the exported encoder afterwards. It is in the same mode and on the same device.
    """
    static = StaticFlowEncoder(
        encoder.genotype,
        space=encoder.space,
        norm=encoder.norm,
        output_dim=encoder.output_dim,
        bn_mode=_BN_MODES[encoder.bn_mode],
    )
    weight = encoder.last_conv.weight
    static.to(device=weight.device, dtype=weight.dtype)
    stored = encoder.state_dict()
    static.load_state_dict(
        {name: _slice(stored[name], own) for name, own in static.state_dict().items()}
    )
    for name, parameter in encoder.named_parameters():
        if name in dict(static.named_parameters()):
            static.get_parameter(name).requires_grad_(parameter.requires_grad)
    return static.train(encoder.training)


def export_network(model: nn.Module) -> nn.Module:
    """A copy of a flow network with plain encoders of the active genotype.

    Raises:
        ValueError: The network has no elastic encoder.
    """
    exported = {name: export_encoder(encoder) for name, encoder in elastic_encoders(model).items()}
    if "" in exported:
        return exported[""]
    # The copy is made with the small encoders in place already.
    memo = {id(model.get_submodule(name)): static for name, static in exported.items()}
    return copy.deepcopy(model, memo)


def export_config(config: Mapping[str, Any], genotype: Genotype) -> dict[str, Any]:
    """A model's config with every ``ElasticFlowEncoder`` replaced by the genotype's plain encoder.

    Args:
        config: Of a super-network, or of anything that contains it.
        genotype: Of its space.

    Returns:
        A new config; :func:`export_network`'s state dict fits the model built from it.

    Raises:
        ValueError: There is no elastic encoder in it, or the genotype is none of its space.
    """
    replaced, found = _replace(config, genotype)
    if not found:
        raise ValueError("export_config: the config has no encoder of type ElasticFlowEncoder")
    return replaced


def _replace(node: Any, genotype: Genotype) -> tuple[Any, int]:
    """The node with encoders replaced, and how many were."""
    if isinstance(node, list | tuple):
        items = [_replace(item, genotype) for item in node]
        return type(node)(item for item, _ in items), sum(count for _, count in items)
    if not isinstance(node, Mapping):
        return node, 0
    if str(node.get("type")).rpartition(".")[2] == ElasticFlowEncoder.__name__:
        static = dict(node)
        scope = str(node["type"]).rpartition(".")[0]
        static["type"] = f"{scope}.StaticFlowEncoder".removeprefix(".")
        static["genotype"] = FlowNASSpace.of(node.get("space")).check(genotype)
        static["bn_mode"] = _BN_MODES[node.get("bn_mode", "frozen01")]
        return static, 1
    items = {key: _replace(value, genotype) for key, value in node.items()}
    return {key: value for key, (value, _) in items.items()}, sum(n for _, n in items.values())


def _slice(stored: Tensor, own: Tensor) -> Tensor:
    """The first channels, and the centre of a kernel."""
    part = stored[tuple(slice(size) for size in own.shape[:2])]
    for dim in range(2, own.ndim):
        part = part.narrow(dim, (stored.shape[dim] - own.shape[dim]) // 2, own.shape[dim])
    return part.clone(memory_format=torch.contiguous_format)
