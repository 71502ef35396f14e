"""Several passes of one network over a batch in one optimizer step.

A network that is several networks in one (a super-network) has a method ``student_passes``, which
gives names and context managers: inside each, the network runs as one of them. Every pass has its
own forward and backward, so that memory is that of one; then comes one step with the mean of the
gradients. A Distiller runs its teachers once for all passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from mmengine.dist import all_reduce_params, is_distributed
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmkd_ext.registry import MODEL_WRAPPERS

Passes = Mapping[str, AbstractContextManager]


def passes_of(model: nn.Module) -> Passes | None:
    """The passes of the next step, or None for a network that has a single one."""
    student_passes = getattr(model, "student_passes", None)
    return None if student_passes is None else student_passes()


def train_in_passes(
    model: nn.Module,
    passes: Passes,
    data: Any,
    optim_wrapper: OptimWrapper,
    wrapper: nn.Module | None = None,
) -> dict[str, Tensor]:
    """One training step of a network in several passes.

    Args:
        model: The network, or the Distiller around it; an mmengine model.
        passes: Of this step, the same in every process.
        data: A batch from the data loader.
        optim_wrapper: Its accumulation of gradients counts this as one batch.
        wrapper: What calls the model where it is distributed: :class:`PassesDataParallel`.

    Returns:
        What is logged: the mean ``loss``, and all terms of each pass under ``<pass>.``.

    Raises:
        ValueError: There is no pass.
    """
    if not passes:
        raise ValueError(f"{type(model).__name__}: student_passes() gave no pass")
    entry = wrapper or model
    unsynchronised = wrapper.no_sync() if wrapper is not None else nullcontext()
    sharing = getattr(model, "sharing_teachers", nullcontext)
    log: dict[str, Tensor] = {}
    total = 0.0
    count = optim_wrapper._inner_count
    with unsynchronised, sharing():
        with optim_wrapper.optim_context(entry):
            data = model.data_preprocessor(data, training=True)
        for name, active in passes.items():
            with active:
                with optim_wrapper.optim_context(entry):
                    losses = entry._run_forward(data, mode="loss")
                loss, terms = model.parse_losses(losses)
                # Of accumulated batches all passes are one.
                optim_wrapper._inner_count = count
                optim_wrapper.backward(optim_wrapper.scale_loss(loss / len(passes)))
            total = total + loss.detach() / len(passes)
            log |= {f"{name}.{key}": value.detach() for key, value in terms.items()}
    if optim_wrapper.should_update():
        if wrapper is not None:
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            all_reduce_params(gradients, op="mean")
        optim_wrapper.step()
        optim_wrapper.zero_grad()
    return {"loss": total, **log}


@MODEL_WRAPPERS.register_module()
class PassesDataParallel(MMDistributedDataParallel):
    """Distributed training of a network in several passes.

    Which parameters get a gradient changes from pass to pass, and some get none in a whole step.
    So gradients are not reduced while they are computed, but once, before the step, which needs
    every process to run the same passes.

    Config: ``model_wrapper_cfg=dict(type='mmkd_ext.PassesDataParallel')``. Arguments are those of
    mmengine's ``MMDistributedDataParallel``.
    """

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """One step in as many passes as the model has."""
        passes = passes_of(self.module)
        if passes is None:
            return super().train_step(data, optim_wrapper)
        return train_in_passes(self.module, passes, data, optim_wrapper, self)


def refuse_single_pass(model: nn.Module, running: bool) -> None:
    """Refuse a distributed training forward that no wrapper for passes has begun.

    Raises:
        RuntimeError: It is one: mmengine's own wrapper would train one network only.
    """
    if running or not model.training or not torch.is_grad_enabled() or not is_distributed():
        return
    raise RuntimeError(
        f"{type(model).__name__} trains in several passes a step, which the model's wrapper does "
        "not know; set model_wrapper_cfg=dict(type='mmkd_ext.PassesDataParallel')"
    )
