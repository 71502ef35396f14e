"""Losses of a clip."""

from .bootstrapped_ce import BootstrappedCELoss, bootstrapped_ce, kept_ratio
from .soft_iou import SoftIoULoss, soft_iou

__all__ = ["BootstrappedCELoss", "SoftIoULoss", "bootstrapped_ce", "kept_ratio", "soft_iou"]
