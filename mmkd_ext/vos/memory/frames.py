"""A memory that keeps every frame, for comparison and as a teacher's.

Source: Cheng et al., "Rethinking Space-Time Networks with Improved Memory Coverage for Efficient
Video Object Segmentation" (STCN), NeurIPS 2021, arXiv:2106.05210, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmkd_ext.precision import at_least_float32, full_precision
from mmkd_ext.registry import MODELS

from .base import Seeds, VOSMemory, bytes_of


def frame_affinity(memory_key: Tensor, key: Tensor, topk: int | None = None) -> Tensor:
    r"""How much each remembered position counts for each position of a frame.

    .. math:: W_{ij} = \mathrm{softmax}_i(-|k^M_i - k^Q_j|^2 / \sqrt{C_k})

    over the ``topk`` nearest remembered positions of each j; the others get 0.

    Args:
        memory_key: (B, Ck, M).
        key: (B, Ck, P).
        topk: How many; None, or more than M, takes all.

    Returns:
        (B, M, P); each column sums to 1.
    """
    # |k^Q_j|^2 is the same for all i, and so drops out of the softmax.
    closeness = 2 * memory_key.transpose(1, 2) @ key - memory_key.square().sum(dim=1).unsqueeze(2)
    closeness = closeness / memory_key.shape[1] ** 0.5
    if topk is None or topk >= closeness.shape[1]:
        return closeness.softmax(dim=1)
    best, where = closeness.topk(topk, dim=1)
    return torch.zeros_like(closeness).scatter(1, where, best.softmax(dim=1))


@MODELS.register_module()
class FrameMemory(VOSMemory):
    """All memorised frames, read by :func:`frame_affinity`; it grows with the video.

    An object is read from the frames since it appeared. Keys and values both carry gradients. There
    is no counterpart of SWEM's similarity feature: that part of :meth:`read` is zero, so that the
    same network takes either memory, or absent with ``topl=0``. The masks act through the values
    alone; the weights are not used. Nothing is drawn at random.

    Args:
        topk: Remembered positions that count; None takes all. Published: 20 in testing.
        topl: The similarity has ``2 * topl`` channels, all zero.
    """

    def __init__(self, topk: int | None = 20, topl: int = 64) -> None:
        if topk is not None and topk < 1:
            raise ValueError(f"FrameMemory: topk must be >= 1 or None, not {topk!r}")
        if topl < 0:
            raise ValueError(f"FrameMemory: topl must be >= 0, not {topl!r}")
        super().__init__(topl)
        self.topk = topk
        self.reset()

    def reset(self, seed: Seeds = None) -> None:
        """See :meth:`VOSMemory.reset`; the seed is not needed."""
        self.keys: Tensor | None = None  # (B, Ck, M)
        self.values: Tensor | None = None  # (B, N, Cv, M), 0 before an object appeared
        self._begin: list[int] = []  # for each object, its first remembered position
        self._checked = False

    @property
    def num_objects(self) -> int:
        """See :attr:`VOSMemory.num_objects`."""
        return len(self._begin)

    @property
    def num_bytes(self) -> int:
        """See :attr:`VOSMemory.num_bytes`."""
        return 0 if self.keys is None else bytes_of(self.keys, self.values)

    def memorize(self, key: Tensor, value: Tensor, weights: Tensor) -> None:
        """See :meth:`VOSMemory.memorize`."""
        self._check_frame(key, value, weights)
        key, value = at_least_float32(key).flatten(2), at_least_float32(value).flatten(3)
        if self.keys is None:
            self.keys, self.values, self._begin = key, value, [0] * value.shape[1]
            return
        wanted = *self.keys.shape[:2], self.values.shape[2]
        if (*key.shape[:2], value.shape[2]) != wanted:
            raise ValueError(
                f"FrameMemory.memorize: the memory was filled with (B, Ck, Cv) = {wanted}, but got "
                f"{(*key.shape[:2], value.shape[2])}; reset() it first"
            )
        self._begin += [self.keys.shape[2]] * (value.shape[1] - self.num_objects)
        batch, before, channels, positions = self.values.shape
        known = self.values
        if value.shape[1] > before:
            new = value.new_zeros(batch, value.shape[1] - before, channels, positions)
            known = torch.cat([known, new], dim=1)
        self.keys = torch.cat([self.keys, key], dim=2)
        self.values = torch.cat([known, value], dim=3)

    def read(self, key: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`VOSMemory.read`."""
        batch, channels = (None, None) if self.keys is None else self.keys.shape[:2]
        self._check_query(key, batch, channels)
        height, width = key.shape[2:]
        key = at_least_float32(key)
        begin = torch.tensor(self._begin, dtype=torch.long)
        order, parts = [], []
        with full_precision(key):
            # Objects that appeared together share one affinity.
            for start in sorted(set(self._begin)):
                index = (begin == start).nonzero().flatten()
                affinity = frame_affinity(self.keys[:, :, start:], key.flatten(2), self.topk)
                values = self.values.index_select(1, index.to(key.device))[..., start:]
                parts.append((values.flatten(1, 2) @ affinity).unflatten(1, values.shape[1:3]))
                order.append(index)
        if parts:
            back = torch.cat(order).argsort().to(key.device)
            readout = torch.cat(parts, dim=1).index_select(1, back)
        else:
            readout = self.values.new_zeros(batch, 0, self.values.shape[2], height * width)
        similarity = readout.new_zeros(
            batch, self.num_objects, self.similarity_channels, height, width
        )
        return readout.unflatten(3, (height, width)), similarity

    def remove(self, index: Sequence[int]) -> None:
        """See :meth:`VOSMemory.remove`."""
        kept = self._kept(index)
        self._begin = [self._begin[i] for i in kept.tolist()]
        if self.values is not None:
            self.values = self.values.index_select(1, kept.to(self.values.device))
