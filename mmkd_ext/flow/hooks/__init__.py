"""Hooks of optical flow."""

from mmkd_ext.flow.hooks.dump import FlowDumpHook
from mmkd_ext.flow.hooks.visualization import FlowVisualizationHook

__all__ = ["FlowDumpHook", "FlowVisualizationHook"]
