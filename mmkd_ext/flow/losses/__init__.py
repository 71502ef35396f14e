"""Losses of optical flow."""

from .pseudo_label import FlowPseudoLabelLoss
from .sequence import SequenceLoss, sequence_loss

__all__ = ["FlowPseudoLabelLoss", "SequenceLoss", "sequence_loss"]
