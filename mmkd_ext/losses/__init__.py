"""Distillation losses: one method is one file, a pure function and a thin registered module."""

from .base import DistillLoss, labels_from_samples
from .boxes import box_masks, boxes_from_samples
from .cwd import CWDLoss, cwd_loss
from .dkd import DKDLoss, dkd_loss
from .fgd import FGDLoss, fgd_attention, fgd_focal_loss
from .kd import KDLoss, kd_loss
from .mgd import MGDLoss, mgd_mask
from .nkd import NKDLoss, nkd_loss
from .pkd import PKDLoss, pkd_loss
from .srrl import SRRLLoss, srrl_loss
from .tf_nkd import TFNKDLoss, tf_nkd_loss
from .uskd import USKDLoss, uskd_loss
from .vitkd import ViTKDLoss, vitkd_mask
from .wsld import WSLDLoss, wsld_loss

__all__ = [
    "CWDLoss",
    "DKDLoss",
    "DistillLoss",
    "FGDLoss",
    "KDLoss",
    "MGDLoss",
    "NKDLoss",
    "PKDLoss",
    "SRRLLoss",
    "TFNKDLoss",
    "USKDLoss",
    "ViTKDLoss",
    "WSLDLoss",
    "box_masks",
    "boxes_from_samples",
    "cwd_loss",
    "dkd_loss",
    "fgd_attention",
    "fgd_focal_loss",
    "kd_loss",
    "labels_from_samples",
    "mgd_mask",
    "nkd_loss",
    "pkd_loss",
    "srrl_loss",
    "tf_nkd_loss",
    "uskd_loss",
    "vitkd_mask",
    "wsld_loss",
]
