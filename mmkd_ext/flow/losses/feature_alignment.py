"""Feature alignment distillation of FlowNAS: feature maps of any widths, compared without adapters.

Source: Lin et al., "FlowNAS: Neural Architecture Search for Optical Flow Estimation", IJCV 132(4),
2024, arXiv:2207.01271. The published code has the alignment (the largest of all channels) and the
distance, which its search uses. It has no training: :class:`FeatureAlignmentLoss` is our
reconstruction of the loss that its figure shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from mmkd_ext.losses.base import DistillLoss
from mmkd_ext.losses.checks import check_choice
from mmkd_ext.registry import MODELS

Pool = Literal["max", "mean", "l2", "none"]
POOLS = ("max", "mean", "l2", "none")


def align_features(features: Tensor, pool: Pool = "max") -> Tensor:
    """Make maps of different widths comparable.

    Args:
        features: (N, C, H, W).
        pool: ``'max'``: the largest of all channels, as published; ``'mean'``: their mean;
            ``'l2'``: the sum of their squares, divided by its root mean square over the image, as
            in attention transfer (Zagoruyko and Komodakis, ICLR 2017, arXiv:1612.03928); ours, not
            FlowNAS's; ``'none'``: all channels.

    Returns:
        (N, 1, H, W), with ``'none'`` (N, C, H, W).

    Raises:
        ValueError: Another shape, or another ``pool``.
    """
    check_choice("align_features", "pool", pool, POOLS)
    if features.ndim != 4:
        raise ValueError(f"align_features: maps are (N, C, H, W), not {tuple(features.shape)}")
    if pool == "max":
        return features.amax(dim=1, keepdim=True)
    if pool == "mean":
        return features.mean(dim=1, keepdim=True)
    if pool == "l2":
        energy = features.square().sum(dim=1, keepdim=True)
        return F.normalize(energy, dim=(2, 3)) * math.sqrt(energy[0].numel())
    return features


def alignment_loss(
    student: Tensor, teacher: Tensor, pool: Pool = "max", p: Literal[1, 2] = 1
) -> Tensor:
    r"""Mean over images and pixels of :math:`|A(F_s) - A(F_t)|^p`, A being the alignment.

    The gradient of a maximum reaches the largest channel alone.

    Args:
        student: (N, C_s, H, W).
        teacher: (N, C_t, H, W).
        pool: As for :func:`align_features`.
        p: 1 or 2.

    Returns:
        Scalar.

    Raises:
        ValueError: Maps that do not fit.
    """
    difference = _difference(align_features(student, pool), align_features(teacher, pool))
    return difference.abs().mean() if p == 1 else difference.square().mean()


def alignment_distance(
    student: Tensor, teacher: Tensor, pool: Pool = "max", pairs: int | None = None
) -> Tensor:
    r"""How far two maps are apart, in the form of the published search.

    .. math:: D = \mathrm{mean}_{pixels} \sqrt{\sum_n (A(F_s) - A(F_t))^2}

    The sum over the batch makes this depend on its size: n equal images have :math:`\sqrt{n}` times
    the distance of one. With ``pairs`` the sum goes over the images of each pair alone, and the
    mean over the pairs, too. For one pair it is the same.

    Args:
        student: (N, C_s, H, W).
        teacher: (N, C_t, H, W).
        pool: As for :func:`align_features`.
        pairs: Number B of pairs in the batch. N is B, or 2 B, the first images of all pairs before
            the second ones. None: as published.

    Returns:
        Scalar.

    Raises:
        ValueError: Maps that do not fit.
    """
    return aligned_distance(align_features(student, pool), align_features(teacher, pool), pairs)


def aligned_distance(student: Tensor, teacher: Tensor, pairs: int | None = None) -> Tensor:
    """:func:`alignment_distance` of maps that are aligned already, (N, 1 or C, H, W)."""
    difference = _difference(student, teacher)
    if pairs is not None:
        difference = difference.unflatten(0, (-1, pairs))
    return difference.norm(dim=0).mean()


def _difference(student: Tensor, teacher: Tensor) -> Tensor:
    if student.shape != teacher.shape:
        raise ValueError(
            f"feature alignment: aligned, the student's map is {tuple(student.shape)} and the "
            f"teacher's {tuple(teacher.shape)}; tap layers of one resolution, which with "
            "pool='none' have equal channels, too"
        )
    return student - teacher


@MODELS.register_module()
class FeatureAlignmentLoss(DistillLoss):
    r"""Feature alignment distillation: the sum over levels of :func:`alignment_loss`.

    .. math:: L = \lambda \sum_l \mathrm{mean}_{n,\, pixels} |A(F_s^l) - A(F_t^l)|^p

    No layer is learned, so every student of a super-network is compared in the same way.

    This is a reconstruction: the published figure shows the alignment at four levels of both
    encoders, and the published code, which has no training, has taps at five. Norm, levels and
    weight of the authors' training are not known.

    Taps: lists of one tensor (N, C, H, W) a level, such as those of a FlowNAS encoder and RAFT's::

        tap=dict(
            student=['feature_encoder.stem', 'feature_encoder.stages.{1,3,5}',
                     'feature_encoder.last_conv'],
            teacher=['feature_encoder.convnormrelu', 'feature_encoder.layer{1-3}',
                     'feature_encoder.conv'])

    In the feature encoder's batch are both images of a pair. Uses no labels.

    Args:
        pool: As for :func:`align_features`.
        p: 1 (distance) or 2 (its square).
        loss_weight: :math:`\lambda`.

    Raises:
        ValueError: Arguments that make no sense.
    """

    tap_structure = "sequence"

    def __init__(self, pool: Pool = "max", p: Literal[1, 2] = 1, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        check_choice(self.name, "pool", pool, POOLS)
        check_choice(self.name, "p", p, (1, 2))
        self.pool, self.p = pool, p

    def compute(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], data_samples: object
    ) -> Tensor:
        """The loss of one firing of all levels."""
        if len(student) != len(teacher):
            raise ValueError(
                f"{self.name}: {len(student)} levels of the student and {len(teacher)} of the "
                "teacher; tap as many of both"
            )
        return sum(
            alignment_loss(one, other, self.pool, self.p)
            for one, other in zip(student, teacher, strict=True)
        )
