"""What an optimizer constructor sees of a Distiller: the student, then the loss modules.

Constructors decide by parameter name and module type (layer-wise decay reads ``backbone.``, takes
the number of layers, ...). Handed the student itself they build exactly the groups of the stock
config; the loss modules' parameters follow, one group a loss or as ``custom_keys`` and the
``*_mult`` options say for names under ``distill.``.
"""

from __future__ import annotations

import functools
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

# The options of mmengine's own constructor; others (layer decay) do not concern loss modules.
_GENERAL = {
    "custom_keys",
    "bias_lr_mult",
    "bias_decay_mult",
    "norm_decay_mult",
    "dwconv_decay_mult",
    "flat_decay_mult",
}


def install() -> None:
    """Teach mmengine's constructor, and all that inherit its ``__call__``, about Distillers."""
    original = DefaultOptimWrapperConstructor.__call__
    if getattr(original, "knows_distillers", False):
        return

    @functools.wraps(original)
    def call(self: DefaultOptimWrapperConstructor, model: nn.Module) -> OptimWrapper:
        inner = getattr(model, "module", model)
        student = inner.__dict__.get("student")
        losses = inner._modules.get("distill")
        if not (isinstance(student, nn.Module) and isinstance(losses, nn.ModuleDict)):
            return original(self, model)
        wrapper = original(self, student)
        names = {id(p): f"distill.{name}" for name, p in losses.named_parameters()}
        for group in _loss_groups(self, losses):
            # Layer decay of mmdet and mmseg names its parameters, and torch wants all groups alike.
            if "param_names" in wrapper.optimizer.param_groups[0]:
                group["param_names"] = [names[id(p)] for p in group["params"]]
            wrapper.optimizer.add_param_group(group)
        return wrapper

    call.knows_distillers = True
    DefaultOptimWrapperConstructor.__call__ = call


def _loss_groups(
    constructor: DefaultOptimWrapperConstructor, losses: nn.ModuleDict
) -> list[dict[str, Any]]:
    options = {k: v for k, v in (constructor.paramwise_cfg or {}).items() if k in _GENERAL}
    if "custom_keys" in options:  # the others mean modules of the student, by parts of their names
        keys = options.pop("custom_keys")
        options |= {"custom_keys": {k: v for k, v in keys.items() if k.startswith("distill")}}
    trained = [[p for p in loss.parameters() if p.requires_grad] for loss in losses.values()]
    if not options:
        return [{"params": params} for params in trained if params]
    plain = DefaultOptimWrapperConstructor(
        dict(constructor.optim_wrapper_cfg, optimizer=constructor.optimizer_cfg), options
    )
    groups: list[dict[str, Any]] = []
    plain.add_params(groups, losses, prefix="distill")
    return groups
