"""Computing in full precision whatever the precision around it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def full_precision(tensor: Tensor) -> AbstractContextManager:
    """No autocast on the tensor's device."""
    if tensor.device.type == "meta":  # shapes without values, as a cost count uses; has no autocast
        return nullcontext()
    return torch.autocast(tensor.device.type, enabled=False)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision becomes float32; float32 and float64 stay."""
    return tensor.float() if tensor.dtype in HALF else tensor
