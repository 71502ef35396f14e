"""Losses of optical flow."""

from .feature_alignment import (
    FeatureAlignmentLoss,
    align_features,
    alignment_distance,
    alignment_loss,
)
from .pseudo_label import FlowPseudoLabelLoss
from .sequence import SequenceLoss, sequence_loss

__all__ = [
    "FeatureAlignmentLoss",
    "FlowPseudoLabelLoss",
    "SequenceLoss",
    "align_features",
    "alignment_distance",
    "alignment_loss",
    "sequence_loss",
]
