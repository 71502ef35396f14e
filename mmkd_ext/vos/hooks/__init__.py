"""Hooks of video object segmentation."""

from mmkd_ext.vos.hooks.dump import VOSDumpHook
from mmkd_ext.vos.hooks.frame_skip import FrameSkipHook
from mmkd_ext.vos.hooks.speed import VOSSpeedHook

__all__ = ["FrameSkipHook", "VOSDumpHook", "VOSSpeedHook"]
