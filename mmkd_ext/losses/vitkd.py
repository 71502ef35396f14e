"""Feature distillation of vision transformers.

Source: Yang et al., "ViTKD: Practical Guidelines for ViT Feature Knowledge Distillation", 2022,
arXiv:2209.02432.

Shapes: N batch, L patch tokens, D_s and D_t token widths of student and teacher, H x W the grid of
the patches (L = H W).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmkd_ext.registry import MODELS

from .base import DistillLoss, run_module
from .checks import check_channels, check_ndim, check_ratio
from .maps import sse_per_sample
from .mgd import mgd_generator

TAPS = ("block 0", "block 1", "last")


def vitkd_mask(tokens: Tensor, mask_ratio: float) -> Tensor:
    """Choose the tokens to mask: in each sample those of the largest random numbers.

    One ``torch.rand`` of shape (N, L) on the tokens' device; L - int(L (1 - mask_ratio)) tokens of
    each sample are masked, an exact number.

    Args:
        tokens: (N, L, D).
        mask_ratio: Fraction in (0, 1].

    Returns:
        (N, L, 1) bool, True where masked.
    """
    batch, length = tokens.shape[:2]
    noise = torch.rand(batch, length, device=tokens.device)
    rank = noise.argsort(dim=1).argsort(dim=1)
    return (rank >= int(length * (1 - mask_ratio)))[..., None]


@MODELS.register_module()
class ViTKDLoss(DistillLoss):
    r"""Mimic the teacher's first two blocks, generate its last from the student's masked one.

    .. math:: L_{mimic} = w_m \frac1N \sum_{b = 0, 1} \sum (A_b(S_b) - T_b)^2, \qquad
        L_{gen} = \frac{w_g}{\lambda} \frac1N \sum_{masked} (G(S') - T_{last})^2

    S' are the student's last tokens, widened by the ``align`` layer, with a fraction
    :math:`\lambda` of them replaced by a learned mask token; G sees them as a square map. Only
    masked tokens count in the second sum. The A are linear layers, left out if D_s = D_t.

    Student and teacher tap: the outputs of block 0, of block 1, and of the final norm, each
    (N, num_extra_tokens + L, D). The last may be the backbone's map instead, (N, D, H, W): it
    brings its grid along, so that images of any size and shape will do. Uses no labels. Returns the
    terms ``mimic`` and ``generation``.

    Args:
        student_dims: D_s; inferred by a Distiller.
        teacher_dims: D_t; inferred by a Distiller.
        mimic_weight: w_m. Published: 3e-5.
        generation_weight: w_g. Published: 3e-6.
        mask_ratio: Fraction of masked tokens, in (0, 1]. Published: 0.5.
        num_extra_tokens: Tokens before the patch tokens, dropped: 1 with a class token, 2 with a
            distillation token, too.
        grid_size: (rows, columns) of the patch tokens; None means a square. Not needed where the
            last tap is a map.
    """

    tap_structure = "sequence"
    inferred_args = ("student_dims", "teacher_dims")

    def __init__(
        self,
        student_dims: int | None = None,
        teacher_dims: int | None = None,
        mimic_weight: float = 3e-5,
        generation_weight: float = 3e-6,
        mask_ratio: float = 0.5,
        num_extra_tokens: int = 1,
        grid_size: Sequence[int] | None = None,
    ) -> None:
        super().__init__({"mimic": mimic_weight, "generation": generation_weight})
        self.require(student_dims=student_dims, teacher_dims=teacher_dims)
        check_ratio(self.name, mask_ratio, allow_zero=False)
        if not isinstance(num_extra_tokens, int) or num_extra_tokens < 0:
            raise ValueError(
                f"{self.name}: num_extra_tokens must be an integer >= 0, not {num_extra_tokens!r}"
            )
        if grid_size is not None and len(grid_size) != 2:
            raise ValueError(f"{self.name}: grid_size must be (rows, columns), not {grid_size!r}")
        self.student_dims, self.teacher_dims = student_dims, teacher_dims
        self.mask_ratio, self.num_extra_tokens = mask_ratio, num_extra_tokens
        self.grid_size = None if grid_size is None else tuple(grid_size)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, teacher_dims))
        self.align2 = self.align = None
        if student_dims != teacher_dims:
            self.align2 = nn.ModuleList(nn.Linear(student_dims, teacher_dims) for _ in range(2))
            self.align = nn.Linear(student_dims, teacher_dims)
        self.generation = mgd_generator(teacher_dims)

    @classmethod
    def infer_args(cls, student: Any, teacher: Any, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """Token widths of both networks."""
        sides = {"student": student, "teacher": teacher}
        maps = {side: cls.firings(tapped, side)[0] for side, tapped in sides.items()}
        for side, tokens in maps.items():
            check_ndim(cls.__name__, side, tokens[0], "N, L, D")
        return {f"{side}_dims": tokens[0].shape[2] for side, tokens in maps.items()}

    def compute(
        self, student: list[Tensor], teacher: list[Tensor], data_samples: object
    ) -> dict[str, Tensor]:
        """Both terms of one firing."""
        tapped = student, teacher
        student = self._patch_tokens(student, "student", self.student_dims)
        teacher = self._patch_tokens(teacher, "teacher", self.teacher_dims)
        for name, one, other in zip(TAPS, student, teacher, strict=True):
            if one.shape[:2] != other.shape[:2]:
                raise ValueError(
                    f"{self.name}: student tokens {tuple(one.shape)} and teacher tokens "
                    f"{tuple(other.shape)} of {name} differ in batch size or number (without the "
                    f"{self.num_extra_tokens} extra ones); use networks of the same input size, "
                    "patch size and extra tokens"
                )
        grid = self._grid_of_maps(*tapped) or self._grid(student[2])
        mimic = sum(
            sse_per_sample(self._align_low(index, student[index]), teacher[index])
            for index in range(2)
        )
        return {"mimic": mimic, "generation": self._generate(student[2], teacher[2], grid)}

    def _align_low(self, index: int, tokens: Tensor) -> Tensor:
        return tokens if self.align2 is None else run_module(self.align2[index], tokens)

    def _generate(self, student: Tensor, teacher: Tensor, grid: tuple[int, int]) -> Tensor:
        if self.align is not None:
            student = run_module(self.align, student)
        mask = vitkd_mask(student, self.mask_ratio)
        tokens = torch.where(mask, self.mask_token.to(student.dtype), student)
        masked = tokens.transpose(1, 2).unflatten(2, grid)
        generated = run_module(self.generation, masked).flatten(2).transpose(1, 2)
        return sse_per_sample(generated * mask, teacher * mask) / self.mask_ratio

    def _grid_of_maps(self, student: list[Tensor], teacher: list[Tensor]) -> tuple[int, int] | None:
        """Rows and columns as the last taps have them, where they are maps."""
        maps = [taps[-1] for taps in (student, teacher) if taps[-1].ndim == 4]
        grids = {tuple(feature.shape[2:]) for feature in maps}
        if len(grids) > 1:
            raise ValueError(
                f"{self.name}: student map {tuple(maps[0].shape)} and teacher map "
                f"{tuple(maps[1].shape)} differ in height or width; use networks of the same patch "
                "size"
            )
        return next(iter(grids), None)

    def _grid(self, tokens: Tensor) -> tuple[int, int]:
        length = tokens.shape[1]
        rows, columns = self.grid_size or (math.isqrt(length), math.isqrt(length))
        if rows * columns != length:
            raise ValueError(
                f"{self.name}: {length} patch tokens are no "
                f"{'square' if self.grid_size is None else f'{rows} x {columns} grid'}; set "
                "grid_size=(rows, columns), and num_extra_tokens to the number of tokens that are "
                f"no patches (now {self.num_extra_tokens})"
            )
        return rows, columns

    def _patch_tokens(self, taps: list[Tensor], side: str, dims: int) -> list[Tensor]:
        if len(taps) != len(TAPS):
            raise ValueError(
                f"{self.name}: the {side} tap must be a list of {len(TAPS)} token maps "
                f"({', '.join(TAPS)}), not of {len(taps)}"
            )
        last = taps[-1]
        if last.ndim == 4:
            check_channels(self.name, side, last, dims)
            last = last.flatten(2).transpose(1, 2)
            taps = taps[:-1]
        else:
            last = None
        for tokens in taps:
            check_ndim(self.name, side, tokens, "N, L, D")
            check_channels(self.name, side, tokens, dims, axis=2)
            if tokens.shape[1] <= self.num_extra_tokens:
                raise ValueError(
                    f"{self.name}: {side} tokens {tuple(tokens.shape)} hold no patch beside the "
                    f"{self.num_extra_tokens} extra ones; correct num_extra_tokens or the tap"
                )
        patches = [tokens[:, self.num_extra_tokens :] for tokens in taps]
        return patches if last is None else [*patches, last]
