"""The learnable cost volume: features are compared by an inner product that is learnt.

Source: Xiao et al., "Learnable Cost Volume Using the Cayley Representation", ECCV 2020,
arXiv:2007.11431.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mmkd_ext.precision import at_least_float32, full_precision
from mmkd_ext.registry import MODELS


@MODELS.register_module()
class LearnableCostVolume(nn.Module):
    r"""Elliptical inner product of features, :math:`f_1^\top W f_2`.

    W is symmetric and positive definite whatever the parameters are:

    .. math::
        W = P^\top \Lambda P,\quad P = (I + S)(I - S)^{-1},\quad
        \lambda = \frac{1 + t}{1 - t},\quad t = \frac{2}{\pi} \arctan d

    with a skew-symmetric S, whose upper triangle is half of ``upper``, and d = ``raw_d``. Both
    begin as zero, where W is the identity, and the cost that of the plain inner product. There, P
    gets no gradient yet: the eigenvalues move first. W is computed in float64, since in float32 P
    is no longer orthogonal when S has grown large.

    State dicts with the original's square ``raw_P`` and ``raw_D`` load, too.

    Args:
        dim: C, channels of the features.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        if isinstance(dim, bool) or not isinstance(dim, int) or dim < 1:
            raise ValueError(f"LearnableCostVolume: dim is an integer >= 1, not {dim!r}")
        self.dim = dim
        self.upper = nn.Parameter(torch.zeros(dim * (dim - 1) // 2))
        self.raw_d = nn.Parameter(torch.zeros(dim))
        rows, columns = torch.triu_indices(dim, dim, offset=1)
        self.register_buffer("_rows", rows, persistent=False)
        self.register_buffer("_columns", columns, persistent=False)
        self.register_load_state_dict_pre_hook(_from_square)

    def rotation(self) -> Tensor:
        """P, (C, C) float64, orthogonal, of determinant 1."""
        with full_precision(self.upper):
            half = self.upper.double() / 2
            skew = half.new_zeros(self.dim, self.dim)
            skew = skew.index_put((self._rows, self._columns), half)
            skew = skew - skew.T
            unit = torch.eye(self.dim, dtype=skew.dtype, device=skew.device)
            # The transpose of (I + S)(I - S)^-1 is (I + S)^-1 (I - S), as S^T = -S.
            return torch.linalg.solve(unit + skew, unit - skew).T

    def eigenvalues(self) -> Tensor:
        """Of W, (C,) float64, all above 0."""
        t = torch.atan(self.raw_d.double()) * (2 / math.pi)
        return (1 + t) / (1 - t)

    def matrix(self) -> Tensor:
        """W, (C, C) symmetric positive definite, in the parameters' precision, float32 at least."""
        with full_precision(self.upper):
            rotation = self.rotation()
            matrix = rotation.T @ (self.eigenvalues()[:, None] * rotation)
        return matrix.to(at_least_float32(self.upper).dtype)

    def forward(self, features: Tensor) -> Tensor:
        """W times the features; their plain inner product with others is then the learnt one.

        Args:
            features: (N, C, H, W).

        Returns:
            (N, C, H, W), in the features' dtype.

        Raises:
            ValueError: Other channels than ``dim``.
        """
        if features.ndim != 4 or features.shape[1] != self.dim:
            raise ValueError(
                f"LearnableCostVolume({self.dim}) takes features (N, {self.dim}, H, W), not "
                f"{tuple(features.shape)}"
            )
        with full_precision(features):
            matrix = self.matrix()
            product = torch.einsum("dc,nchw->ndhw", matrix, features.to(matrix.dtype))
        return product.to(features.dtype)


def _from_square(module: LearnableCostVolume, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Take the upper triangle out of the original's parameters."""
    square, diagonal = state.pop(f"{prefix}raw_P", None), state.pop(f"{prefix}raw_D", None)
    if square is not None:
        rows, columns = module._rows.to(square.device), module._columns.to(square.device)
        state[f"{prefix}upper"] = square[rows, columns]
    if diagonal is not None:
        state[f"{prefix}raw_d"] = diagonal
