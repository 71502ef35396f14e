"""Samplers of video object segmentation."""

from mmkd_ext.vos.samplers.video_frames import VideoFrameSampler

__all__ = ["VideoFrameSampler"]
