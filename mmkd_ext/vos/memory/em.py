"""Sequential weighted expectation-maximisation, the core of SWEM.

Source: Lin et al., "SWEM: Towards Real-Time Video Object Segmentation with Sequential Weighted
Expectation-Maximization", CVPR 2022, arXiv:2208.10128.

Shapes: B batch, N objects, two classes (0 background, 1 foreground of that object), K bases a
class, P positions at stride 16, Ck and Cv key and value channels. A frame has one key per position,
which all objects share, and one value per object and position.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

EPS_NORM = 1e-6  # added to a norm, not a floor under it
EPS_ZETA = 1e-6  # evidence of bases that have seen nothing: enough to divide by


class Bases(NamedTuple):
    """The bases of some objects.

    Attributes:
        kappa: Keys (B, N, 2, Ck, K); no gradient.
        nu: Values (B, N, 2, Cv, K); the only part with a gradient, linear in the frames' values.
        zeta: Evidence (B, N, 2, 1, K), the summed responsibilities; no gradient.
    """

    kappa: Tensor
    nu: Tensor
    zeta: Tensor

    @property
    def num_objects(self) -> int:
        """N."""
        return self.kappa.shape[1]

    def select(self, index: Tensor) -> Bases:
        """The objects of an index (n,)."""
        return Bases(*(part.index_select(1, index.to(part.device)) for part in self))

    def append(self, other: Bases) -> Bases:
        """These objects, then those of the other."""
        return Bases(*(torch.cat(pair, dim=1) for pair in zip(self, other, strict=True)))


def unit(x: Tensor, dim: int) -> Tensor:
    """``x / (||x||_2 + 1e-6)`` along an axis."""
    return x / (x.norm(dim=dim, keepdim=True) + EPS_NORM)


def fresh_bases(kappa: Tensor, value_channels: int) -> Bases:
    """Bases that have seen nothing: the given keys, values 0, evidence 1e-6.

    Args:
        kappa: Initial keys (B, N, 2, Ck, K).
        value_channels: Cv.
    """
    batch, objects, classes, _, bases = kappa.shape
    nu = kappa.new_zeros(batch, objects, classes, value_channels, bases)
    zeta = kappa.new_full((batch, objects, classes, 1, bases), EPS_ZETA)
    return Bases(kappa, nu, zeta)


def weighted_em(
    prior: Bases,
    key: Tensor,
    value: Tensor,
    weights: Tensor,
    iters: int = 4,
    tau: float = 0.05,
    adaptive_ratio: float = 1.0,
    weight_topk: int | None = None,
) -> Bases:
    r"""Merge one frame into the bases, all objects and both classes at once.

    From the prior :math:`\kappa^0, \nu^0, \zeta^0` and the weights :math:`w^{(1)} = m`, for
    r = 1 .. R, with u(a) = a / (|a| + 1e-6):

    .. math::
        \gamma_{ik} &= w^{(r)}_i \, \mathrm{softmax}_k(x_i \cdot u(\kappa^{(r-1)}_k) / \tau) \\
        \zeta_k &= \zeta^0_k + \sum_i \gamma_{ik}, \quad
        \kappa^{(r)}_k = (\zeta^0_k \kappa^0_k + \sum_i \gamma_{ik} x_i) / \zeta_k \\
        w^{(r+1)}_{is} &= m_{is} (1 - p_{is}), \quad
        p_{is} \propto \sum_k \exp(u(x_i) \cdot u(\kappa^{(r)}_{sk}) / \tau)

    and in the end :math:`\nu_k = (\zeta^0_k \nu^0_k + \sum_i \gamma_{ik} v_i) / \zeta_k`. Positions
    that their own class explains already weigh less in the next iteration. The E step takes the
    keys as they are, the weights take their cosine. Each iteration restarts from the prior; from
    frame to frame the evidence accumulates, so that the bases are a running weighted mean.

    Args:
        prior: The bases before this frame.
        key: x, (B, Ck, P).
        value: v, (B, N, Cv, P).
        weights: m, (B, N, 2, P), in [0, 1].
        iters: R.
        tau: Temperature.
        adaptive_ratio: Share of each class's bases, from the first on, that take the adapted
            weights; the rest keep m. The first public code had 0.5.
        weight_topk: Sum only so many of the largest terms of p. The first public code had 5.

    Returns:
        The bases after this frame. Only ``nu`` carries a gradient, through ``value`` and the
        prior's ``nu``.
    """
    batch, objects, classes, channels, bases = prior.kappa.shape
    positions = key.shape[-1]
    grid = (batch, positions, objects, classes, bases)

    def similarity(vectors: Tensor, kappa: Tensor) -> Tensor:
        """Vectors (B, P, Ck) against unit bases: (B, P, N, 2, K)."""
        flat = unit(kappa, dim=3).permute(0, 3, 1, 2, 4).reshape(batch, channels, -1)
        return (vectors @ flat / tau).view(grid)

    with torch.no_grad():
        x = key.detach().transpose(1, 2)  # (B, P, Ck)
        direction = unit(x, dim=2)
        mask = weights.detach().permute(0, 3, 1, 2).unsqueeze(-1)  # (B, P, N, 2, 1)
        adaptive = torch.arange(bases, device=key.device) < int(bases * adaptive_ratio)
        kappa, current = prior.kappa, mask
        for iteration in range(1, iters + 1):
            gamma = similarity(x, kappa).softmax(dim=-1) * current
            zeta = prior.zeta + gamma.sum(dim=1).unsqueeze(3)
            merged = key.detach() @ gamma.view(batch, positions, -1)  # (B, Ck, N 2 K)
            merged = merged.view(batch, channels, objects, classes, bases).permute(0, 2, 3, 1, 4)
            kappa = (prior.zeta * prior.kappa + merged) / zeta
            if iteration < iters:
                cosine = similarity(direction, kappa)
                if weight_topk is not None and weight_topk < bases:
                    cosine = cosine.topk(weight_topk, dim=-1).values
                explained = cosine.logsumexp(dim=-1, keepdim=True).softmax(dim=3)
                current = mask * (1 - explained)
                if adaptive_ratio < 1:
                    current = torch.where(adaptive, current, mask)
        share = gamma.permute(0, 2, 1, 3, 4).reshape(batch, objects, positions, classes * bases)
        decay = prior.zeta / zeta
    gained = (value @ share).view(batch, objects, value.shape[2], classes, bases).transpose(2, 3)
    return Bases(kappa, decay * prior.nu + gained / zeta, zeta)


def read_bases(bases: Bases, key: Tensor, tau: float, topl: int) -> tuple[Tensor, Tensor]:
    r"""Read a frame's positions out of the bases.

    With :math:`e_{sk} = \exp((c_{sk} - \max c) / \tau)` of the cosine c between a position's key
    and each base, the read-out is the mean of the values :math:`\nu` under e, both classes in one
    softmax. The similarity feature does not depend on the order of the bases: with
    :math:`A_s^l` the sum of class s's l largest e, it is the background's share
    :math:`A_0^l / (A_0^l + A_1^l)` for l = 1 .. topl, then the foreground's.

    Args:
        bases: Templates of both classes.
        key: (B, Ck, P).
        tau: Temperature.
        topl: l's of the similarity feature, at most the bases of a class.

    Returns:
        The read-out (B, N, Cv, P) and the similarity (B, N, 2 topl, P), which carries a gradient
        through ``key`` alone.
    """
    batch, objects, classes, channels, templates = bases.kappa.shape
    flat = unit(bases.kappa, dim=3).transpose(3, 4).reshape(batch, -1, channels)
    cosine = (flat @ unit(key, dim=1)).view(batch, objects, classes, templates, key.shape[2])
    affinity = ((cosine - cosine.amax(dim=(2, 3), keepdim=True).detach()) / tau).exp()
    both = affinity.flatten(2, 3)  # (B, N, 2 T, P)
    values = bases.nu.transpose(2, 3).flatten(3, 4)  # (B, N, Cv, 2 T)
    readout = (values @ both) / both.sum(dim=2, keepdim=True)
    best = affinity.topk(topl, dim=3).values.cumsum(dim=3)  # (B, N, 2, topl, P)
    background = best[:, :, 0] / best.sum(dim=2)
    return readout, torch.cat([background, 1 - background], dim=2)
