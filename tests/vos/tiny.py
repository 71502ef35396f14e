"""A small SWEM, and clips of moving squares for it."""

from __future__ import annotations

import torch

from mmkd_ext.registry import MODELS
from mmkd_ext.vos import VOSDataSample


def config(width=8, channels=16, **options):
    return dict(
        type="mmkd_ext.SWEM",
        key_encoder=dict(type="ResNetTrunk", depth=18, width=width),
        value_trunk=dict(width=width),
        memory=dict(type="SWEMMemory", num_bases=8, topl=4),
        key_channels=8,
        value_channels=channels,
        decoder_channels=channels,
        **options,
    )


def build(seed=0, **options):
    torch.manual_seed(seed)
    return MODELS.build(config(**options))


def squares(frames, objects, size=(32, 48)):
    """Ids (T, H, W): object n is a square that moves to the right."""
    ids = torch.zeros(frames, *size, dtype=torch.long)
    for t in range(frames):
        for n in range(objects):
            ids[t, 4 + 9 * n : 14 + 9 * n, 3 + 12 * n + 2 * t : 15 + 12 * n + 2 * t] = n + 1
    return ids


def images(ids, seed=0):
    """Normalised frames (T, 3, H, W): a colour for each id, and noise."""
    generator = torch.Generator().manual_seed(seed)
    colours = torch.randn(256, 3, generator=generator)
    noise = 0.3 * torch.randn(*ids.shape, 3, generator=generator)
    return (colours[ids] + noise).permute(0, 3, 1, 2)


def clip(frames=3, objects=2, valid=None, seed=0, size=(32, 48)):
    """One training clip: images and its data sample."""
    ids = squares(frames, objects, size)
    valid = [True] * objects if valid is None else valid
    sample = VOSDataSample(
        gt_masks=ids,
        valid_objects=torch.tensor(valid),
        metainfo=dict(video=f"v{seed}", frames=[str(t) for t in range(frames)], ori_shape=size),
    )
    return images(ids, seed), sample


def batch(*clips):
    """Several clips as a batch."""
    return torch.stack([frames for frames, _ in clips]), [sample for _, sample in clips]
