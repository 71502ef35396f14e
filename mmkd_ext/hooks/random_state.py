"""The state of the random generators as plain data that a weights-only reader can load."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

RANDOM_STATE_KEY = "random_state"  # in a checkpoint: a list of captured states, one a rank


def capture_random_state() -> dict[str, Any]:
    """The states of python's, numpy's and torch's global generators in this process.

    Returns:
        Tensors and plain numbers only. ``cuda`` is the state of the current device, or None when
        this process has not used CUDA (asking must not initialise it).
    """
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    on_cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "python": {
            "version": version,
            "state": torch.tensor(internal, dtype=torch.int64),
            "gauss": gauss,
        },
        "numpy": {
            "name": str(name),
            "keys": torch.from_numpy(keys.astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached_gaussian": float(cached),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if on_cuda else None,
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put back what :func:`capture_random_state` returned, on whatever device it was loaded."""
    python = state["python"]
    random.setstate((python["version"], tuple(python["state"].tolist()), python["gauss"]))
    numpy = state["numpy"]
    keys = numpy["keys"].cpu().numpy().astype(np.uint32)
    np.random.set_state(
        (numpy["name"], keys, numpy["position"], numpy["has_gauss"], numpy["cached_gaussian"])
    )
    torch.set_rng_state(state["torch"].cpu())
    if state.get("cuda") is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


@contextmanager
def preserved_random_state() -> Iterator[None]:
    """Whatever is drawn inside from the CPU generators leaves no trace outside."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def seed_generators(seed: int) -> None:
    """Seed the CPU generators of python, numpy and torch.

    Args:
        seed: An integer of 64 bits.
    """
    random.seed(seed)
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])
    # torch.manual_seed would also queue a call for CUDA's lazy initialisation, once per sample,
    # and is not meant for forked workers.
    torch.default_generator.manual_seed(seed)
