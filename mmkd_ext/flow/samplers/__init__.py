"""Samplers of optical flow."""

from mmkd_ext.flow.samplers.sequences import FlowSequenceSampler

__all__ = ["FlowSequenceSampler"]
