"""Objects of a batch as one axis, without those that only fill up the number."""

from __future__ import annotations

import torch
from torch import Tensor


class ObjectIndex:
    """Which of B x N objects are real, and the way between (B, N, ...) and (M, ...), M of them.

    What stands for no object is then never computed, is in no tap of a distiller, and counts in no
    mean over objects. One object remains where a batch has none at all, so that every module fires
    and every parameter is in the graph.

    Args:
        batch: B.
        objects: N.
        valid: (B, N) bool; None means that all are real.
        device: Where the index is used.
    """

    def __init__(
        self,
        batch: int,
        objects: int,
        valid: Tensor | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.batch, self.objects = batch, objects
        self.valid = None if valid is None or bool(valid.all()) else valid.to(device)
        self._rows: Tensor | None = None
        if self.valid is not None:
            rows = self.valid.flatten().nonzero().flatten()
            self._rows = rows if len(rows) else rows.new_zeros(1)

    def gather(self, x: Tensor) -> Tensor:
        """(B, N, ...) to (M, ...)."""
        flat = x.flatten(0, 1)
        return flat if self._rows is None else flat.index_select(0, self._rows)

    def expand(self, x: Tensor) -> Tensor:
        """What the objects of an image share, (B, ...), to (M, ...)."""
        if self._rows is not None:
            return x.index_select(0, self._rows.div(self.objects, rounding_mode="floor"))
        return x if self.objects == 1 else x.repeat_interleave(self.objects, dim=0)

    def scatter(self, x: Tensor) -> Tensor:
        """(M, ...) to (B, N, ...), 0 elsewhere."""
        if self._rows is not None:
            rows = x.new_zeros(self.batch * self.objects, *x.shape[1:])
            x = rows.index_copy(0, self._rows, x)
        return x.unflatten(0, (self.batch, self.objects))
