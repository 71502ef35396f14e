"""Masked generative distillation of feature maps.

Source: Yang et al., "Masked Generative Distillation", ECCV 2022, arXiv:2205.01529.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mmkd_ext.registry import MODELS

from .aligned_maps import AlignedMapLoss
from .base import run_module
from .checks import check_choice, check_ratio
from .maps import Resize, sse_per_sample

MaskKind = Literal["pixel", "channel"]


def mgd_mask(feature: Tensor, mask_ratio: float, mask: MaskKind) -> Tensor:
    """Draw the 0/1 mask of a map: 1 keeps a cell, 0 masks it, with probability ``mask_ratio``.

    One ``torch.rand`` of the mask's shape on the feature's device. The two kinds compare in
    opposite directions, as published, so that equal random numbers give equal masks.

    Args:
        feature: (N, C, H, W).
        mask_ratio: Probability in [0, 1] that a cell is masked.
        mask: ``'pixel'``: one draw per position, shared by the channels. ``'channel'``: one per
            channel, shared by the positions.

    Returns:
        (N, 1, H, W) or (N, C, 1, 1), in the feature's dtype.
    """
    batch, channels, height, width = feature.shape
    if mask == "channel":
        draw = torch.rand(batch, channels, 1, 1, device=feature.device)
        masked = draw < mask_ratio
    else:
        draw = torch.rand(batch, 1, height, width, device=feature.device)
        masked = draw > 1 - mask_ratio
    return (~masked).to(feature.dtype)


def mgd_generator(channels: int, width: int | None = None) -> nn.Sequential:
    """Two 3 x 3 convolutions with a ReLU between, channels -> width -> channels."""
    width = channels if width is None else width
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(width, channels, kernel_size=3, padding=1),
    )


@MODELS.register_module()
class MGDLoss(AlignedMapLoss):
    r"""Generate the teacher's feature map from the student's masked one.

    .. math:: L = w \frac1N \sum (G(M \odot A(S)) - T)^2

    over every element of the whole map, masked or not, with A the 1 x 1 ``align`` convolution
    (only if the channels differ), M a fresh random mask and G the generator. Since it is a sum, the
    value grows with the map's area and channels: choose the weight accordingly.

    Student and teacher tap: (N, C_s, H, W) and (N, C_t, H, W). Uses no labels.

    Args:
        student_channels: C_s; inferred by a Distiller.
        teacher_channels: C_t; inferred by a Distiller.
        mask_ratio: Probability in [0, 1] that a cell is masked. Published: 0.15 (classification,
            'channel'), 0.65 (one-stage detection, SOLO), 0.45 (two-stage), 0.75 (segmentation).
        mask: ``'pixel'`` (dense tasks) or ``'channel'`` (classification).
        loss_weight: w. Published: 7e-5 (ImageNet), 1.2e-3 (CIFAR-100), 2e-5 (one-stage detection,
            segmentation), 5e-7 (two-stage).
        generator_channels: Channels between the two convolutions of the generator; None means C_t,
            as published.
        resize: Whose map to interpolate where sizes differ (after ``align``); None makes a
            difference an error.
    """

    def __init__(
        self,
        student_channels: int | None = None,
        teacher_channels: int | None = None,
        mask_ratio: float = 0.65,
        mask: MaskKind = "pixel",
        loss_weight: float = 2e-5,
        generator_channels: int | None = None,
        resize: Resize = None,
    ) -> None:
        super().__init__(student_channels, teacher_channels, loss_weight, resize)
        if generator_channels is not None:
            self.require(generator_channels=generator_channels)
        check_ratio(self.name, mask_ratio)
        check_choice(self.name, "mask", mask, ("pixel", "channel"))
        self.mask_ratio, self.mask = mask_ratio, mask
        self.generation = mgd_generator(teacher_channels, generator_channels)

    def compute(self, student: Tensor, teacher: Tensor, data_samples: object) -> Tensor:
        """The loss of one firing."""
        student, teacher = self.matched(student, teacher)
        masked = student * mgd_mask(student, self.mask_ratio, self.mask)
        return sse_per_sample(run_module(self.generation, masked), teacher)
