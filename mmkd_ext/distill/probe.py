"""One dry run of a network, to learn the shapes at its taps before the losses are built."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from .tap_spec import Structure, TapError, leaves
from .taps import Recorder, gather


@contextmanager
def untouched_random_state() -> Iterator[None]:
    """Leave the generators of python, numpy and torch (CPU and current GPUs) as they were."""
    python, array = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=list(devices)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)


def dry_run(
    model: nn.Module, structures: Sequence[Structure], input_shape: Sequence[int], side: str
) -> list[Any]:
    """What the taps of ``structures`` put out for one blank image.

    Evaluation mode, no gradient, random state and running statistics untouched, ended at the last
    tap.

    Args:
        model: A network with mmengine's ``forward(inputs, data_samples, mode)``.
        structures: Taps, as the losses want them.
        input_shape: ``(C, H, W)`` of the blank image.
        side: What to call the network in messages.

    Raises:
        TapError: A tap did not fire, or the forward failed before it did.
    """
    names = list(dict.fromkeys(tap.source for s in structures for tap in leaves(s)))
    handles: list[Any] = []
    recorder = Recorder(model, names, side, handles)
    training = {module: module.training for module in model.modules()}
    reference = next(model.parameters(), torch.empty(0))
    image = torch.zeros(1, *input_shape, device=reference.device, dtype=reference.dtype)
    try:
        model.eval()
        with untouched_random_state(), torch.no_grad(), recorder.arm(dict.fromkeys(names, 1)):
            model(image, None, mode="tensor")
        return [gather(structure, recorder) for structure in structures]
    except TapError as error:
        raise TapError(
            f"{error}. (Seen while inferring channels on a blank image of {tuple(input_shape)}, "
            "mode 'tensor'; channels given in the loss need no such run)"
        ) from None
    except Exception as error:
        silent = [name for name in names if name not in recorder.outputs]
        if not silent:
            raise
        raise TapError(
            f"tap {silent[0]!r}: the {side} failed on a blank image of {tuple(input_shape)} before "
            f"the tap fired ({type(error).__name__}: {error}); give the loss its channels, so "
            "that no such run is needed, or, if the image is to blame, set the Distiller's "
            "input_shape to what the network takes"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in training.items():
            module.training = mode
