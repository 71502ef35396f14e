"""Is a checkpoint worth loading into this model, and is this model worth saving?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmkd_ext.distill.checkpoint import CheckpointError, non_finite_keys, weights_of


class DivergedError(RuntimeError):
    """The model's weights are not finite any more; nothing was saved."""


def require_match(model: nn.Module, checkpoint: Mapping[str, Any], origin: str) -> None:
    """Refuse a checkpoint of which mmengine would load nothing, with a mere line in the log.

    A part that fits is enough: fine-tuning loads a backbone and leaves the head.

    Args:
        model: The runner's. Wrappers that cut parameters up (FSDP) are not looked into.
        checkpoint: As read, before its weights are loaded.
        origin: Its path, for the message.

    Raises:
        CheckpointError: Not one weight fits the model by name and shape, or there are none.
    """
    weights = weights_of(checkpoint)
    while isinstance(model, (DistributedDataParallel, BaseTTAModel)):
        model = model.module
    if is_model_wrapper(model):
        return
    own = model.state_dict()
    fits = (
        key in own and getattr(w, "shape", None) == own[key].shape for key, w in weights.items()
    )
    if own and not any(fits):
        raise CheckpointError(
            f"{origin} is a checkpoint of another network: not one of its weights fits this "
            f"{type(model).__name__} by name and shape (it begins with {_first(weights)}; the "
            f"model with {_first(own)}). Give a checkpoint of this model."
        )


def require_finite(model: nn.Module, last_good: str | None) -> None:
    """Refuse to save a model that diverged, before it takes the place of a good checkpoint.

    Parameters only: a buffer may hold an infinity on purpose, as attention masks do.

    Args:
        model: The runner's.
        last_good: The checkpoint that was saved last, for the message.

    Raises:
        DivergedError: A parameter holds NaN or infinity.
    """
    parameters = dict(model.named_parameters())
    bad = non_finite_keys(parameters)
    if not bad:
        return
    kept = f"The last good one is {last_good}. " if last_good else ""
    raise DivergedError(
        f"Training diverged: {len(bad)} of {len(parameters)} parameters hold NaN or infinity "
        f"({_first(bad)}), so no checkpoint was written. {kept}The log shows where the loss "
        "left its course; lower the learning rate or the loss weights, or clip the gradients."
    )


def _first(keys: Any) -> str:
    return ", ".join(list(keys)[:2])
