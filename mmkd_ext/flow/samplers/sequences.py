"""Pairs of a sequence in their order, whole sequences in one process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.dataset import ConcatDataset
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from mmkd_ext.flow.datasets import FlowDataset
from mmkd_ext.frames.dealing import deal
from mmkd_ext.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class FlowSequenceSampler(Sampler):
    """Yield indices of pairs, sequence by sequence, so that a test can start each pair warm.

    Sequences are dealt out as :func:`mmkd_ext.frames.dealing.deal` says: none is split, and no pair
    is seen twice. A process may have fewer pairs than another, or none.

    Args:
        dataset: A :class:`mmkd_ext.flow.datasets.FlowDataset`, or a ``ConcatDataset`` of several.
            Sequences of different datasets are different ones, whatever they are called.
        seed: Ignored; nothing is random. mmengine passes one to every sampler.

    Raises:
        ValueError: It is another kind of dataset, a repeated one for example.
    """

    def __init__(self, dataset: Any, seed: int | None = None) -> None:
        rank, world_size = get_dist_info()
        sequences = _sequences(dataset)
        hand = deal([len(sequence) for sequence in sequences], world_size)[rank]
        self.indices = [index for number in hand for index in sequences[number]]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def set_epoch(self, epoch: int) -> None:
        """Nothing depends on the epoch."""


def _sequences(dataset: Any) -> list[list[int]]:
    if isinstance(dataset, FlowDataset):
        return dataset.sequences()
    if not isinstance(dataset, ConcatDataset):
        raise ValueError(
            "FlowSequenceSampler: wants a dataset of optical flow, or a ConcatDataset of such, not "
            f"a {type(dataset).__name__}"
        )
    found: list[list[int]] = []
    start = 0
    for part in dataset.datasets:
        found += [[start + index for index in sequence] for sequence in _sequences(part)]
        start += len(part)
    return found
