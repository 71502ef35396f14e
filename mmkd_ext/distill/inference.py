"""A trained network, ready to be used."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseDataPreprocessor
from torch import nn

from .checkpoint import read_checkpoint
from .export import student_weights
from .teacher import build_model, load_weights
from .unwrap import student_of, unwrapped


def network_for_inference(
    model: str | PathLike | Mapping[str, Any] | Config | nn.Module,
    weights: str | PathLike | None,
    device: str | torch.device | None,
    name: str,
) -> tuple[nn.Module, nn.Module | None]:
    """Build a network, read its weights, and put it into eval mode.

    Args:
        model: Its config, a path, ``'pkg::path'`` or a dict; or the network. Of a Distiller the
            student is taken.
        weights: Checkpoint, read without running code that it may hold; None: as they are, which
            is said where the network was built here.
        device: Where to; None: that of a network given as such, else the GPU if there is one.
        name: Of the caller, for messages.

    Returns:
        The network, and its data preprocessor, None if it has no special one.

    Raises:
        CheckpointError: The weights cannot be read, or are of another network.
    """
    given = isinstance(model, nn.Module)
    if not given:
        config = model if isinstance(model, (Mapping, Config)) else str(model)
        model, _ = build_model(config)
    preprocessor = getattr(unwrapped(model), "data_preprocessor", None)
    network = student_of(model)
    if weights is not None:
        load_weights(network, student_weights(read_checkpoint(weights)), name, str(weights))
    elif not given:
        print_log(
            f"{name}: no weights are given; the network's are random", logger="current", level=30
        )
    if device is None and not given:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device is not None:
        network.to(device)
    if preprocessor is None or type(preprocessor) is BaseDataPreprocessor:
        return network.eval(), None
    return network.eval(), preprocessor.to(next(network.parameters()).device)
