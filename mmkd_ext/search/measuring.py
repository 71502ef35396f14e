"""Costs that no formula gives: the time and the memory of a forward pass."""

from __future__ import annotations

import statistics
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

MIB = 1024**2


def measure_latency(
    forward: Callable[[Any], Any],
    new_input: Callable[[], Any],
    device: torch.device,
    runs: int,
    warmup: int,
) -> float:
    """Median time of a forward pass.

    Args:
        forward: Is timed.
        new_input: Makes its input, untimed, before each run.
        device: Where it runs.
        runs: That are timed.
        warmup: Before them.

    Returns:
        Milliseconds.
    """
    times = []
    for run in range(warmup + runs):
        batch = new_input()
        _wait(device)
        begin = time.perf_counter()
        forward(batch)
        _wait(device)
        if run >= warmup:
            times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times)


def measure_memory(
    forward: Callable[[Any], Any],
    new_input: Callable[[], Any],
    device: torch.device,
    fixed: Iterable[Tensor],
) -> float:
    """Peak memory that a forward pass takes beside weights and input.

    On CUDA it is the allocator's, on other devices that of the tensors that live at the same time
    (which is the same in every run); work space inside an operator counts on CUDA only.

    Args:
        forward: Is run once, on CUDA twice.
        new_input: Makes its input.
        device: Where it runs.
        fixed: Tensors that are there anyway, such as the weights.

    Returns:
        MiB.
    """
    batch = new_input()
    if device.type == "cuda":
        forward(batch)  # the first in a process also allocates what cuBLAS keeps
        batch = new_input()
        _wait(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        forward(batch)
        _wait(device)
        return (torch.cuda.max_memory_allocated(device) - before) / MIB
    inputs = [leaf for leaf in tree_leaves(batch) if isinstance(leaf, Tensor)]
    with _LiveBytes([*fixed, *inputs]) as live:
        forward(batch)
    return live.peak / MIB


class _LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that operators make, as long as they live."""

    def __init__(self, fixed: Iterable[Tensor]) -> None:
        super().__init__()
        self.peak = 0
        self._live = 0
        self._known = {_address(tensor): None for tensor in fixed}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and _address(leaf) not in self._known:
                storage = leaf.untyped_storage()
                # The finaliser lets go of the address, which another storage may get.
                size, address = storage.nbytes(), _address(leaf)
                self._known[address] = weakref.finalize(storage, self._freed, address, size)
                self._live += size
                self.peak = max(self.peak, self._live)
        return result

    def _freed(self, address: int, size: int) -> None:
        self._live -= size
        del self._known[address]


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
