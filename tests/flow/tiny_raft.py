"""A RAFT that takes milliseconds, and batches for it."""

from __future__ import annotations

import torch
from torch import Tensor

from mmkd_ext.flow.structures import FlowDataSample


def config(width: int = 16, hidden: int = 16, iters: int = 3, **options) -> dict:
    """A RAFT of two levels and radius 2, whose encoders have ``width`` channels and a little more."""
    layers = (width, width, width + 8, width + 8, 32)
    return (
        dict(
            type="mmkd_ext.RAFT",
            feature_encoder=dict(type="RAFTEncoder", layers=layers),
            context_encoder=dict(
                type="RAFTEncoder", layers=(*layers[:4], 2 * hidden), norm="batch"
            ),
            correlation=dict(type="Correlation", levels=2, radius=2),
            hidden_channels=hidden,
            motion_encoder=dict(corr_layers=(32, 24), flow_layers=(16, 8), out_channels=24),
            flow_head_channels=32,
            upsampler=dict(type="ConvexUpsampler", hidden_channels=32),
            iters=iters,
        )
        | options
    )


def image_pairs(*sizes: tuple[int, int], seed: int = 0) -> list[Tensor]:
    """Pairs of noise, (2, 3, H, W) uint8 each."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=generator)
        for size in sizes
    ]


def sample(height: int, width: int, seed: int = 0, **metainfo) -> FlowDataSample:
    """Ground truth of up to some pixels, a tenth of which is not known."""
    generator = torch.Generator().manual_seed(seed)
    data = FlowDataSample(metainfo=metainfo)
    data.gt_flow = 4 * torch.randn(2, height, width, generator=generator)
    data.gt_valid = torch.rand(height, width, generator=generator) > 0.1
    return data
