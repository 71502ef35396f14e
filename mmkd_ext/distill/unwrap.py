"""What a runner's model is inside."""

from __future__ import annotations

from mmengine.model import is_model_wrapper
from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """The model without what wraps it, such as ``DistributedDataParallel``."""
    while is_model_wrapper(model):
        model = model.module
    return model


def student_of(model: nn.Module) -> nn.Module:
    """A Distiller's student, which validates, tests and infers; any other model itself."""
    model = unwrapped(model)
    student = getattr(model, "student", None)
    return student if isinstance(student, nn.Module) else model
