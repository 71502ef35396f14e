"""A seed for every visit of a sample, independent of which process loads it and when.

A *visit* is one appearance of a sample in one rank's stream of indices. Its seed depends on the
run's seed, the pass over the data, the rank and the position in the stream, and travels with the
index: through the batch sampler and the worker's queue to the dataset, which seeds the
generators from it before its pipeline runs. So the augmentation of a sample does not depend on
the number of workers, on whether they persist, or on what they loaded before a run was resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Integral
from typing import Any

import torch
from mmengine.dataset import InfiniteSampler
from torch.utils.data import Dataset, get_worker_info

from mmkd_ext.hooks.random_state import preserved_random_state, seed_generators

_MASK = (1 << 64) - 1
_END = object()


def mix_seed(*parts: int) -> int:
    """One well-spread 64-bit integer from several (the finaliser of splitmix64, chained)."""
    mixed = 0
    for part in parts:
        mixed = (mixed + part + 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        mixed ^= mixed >> 31
    return mixed


class VisitIndex(int):
    """An index which carries the seed of its visit; an ordinary int to everybody else."""

    visit_seed: int

    def __new__(cls, index: int, visit_seed: int) -> VisitIndex:  # noqa: D102
        made = super().__new__(cls, index)
        made.visit_seed = visit_seed
        return made

    def __reduce__(self) -> tuple:
        return VisitIndex, (int(self), self.visit_seed)


class VisitTuple(tuple):
    """The same for samplers that yield tuples (video and frame, image and size ...)."""

    visit_seed: int

    def __new__(cls, items: tuple, visit_seed: int) -> VisitTuple:  # noqa: D102
        made = super().__new__(cls, items)
        made.visit_seed = visit_seed
        return made

    def __reduce__(self) -> tuple:
        return VisitTuple, (tuple(self), self.visit_seed)


def _visit(index: Any, seed: int) -> Any:
    if isinstance(index, Integral):
        return VisitIndex(int(index), seed)
    if type(index) is tuple:
        return VisitTuple(index, seed)
    return index


def _plain(index: Any) -> Any:
    if isinstance(index, VisitIndex):
        return int(index)
    return tuple(index) if isinstance(index, VisitTuple) else index


class VisitClock:
    """Where a sampler stands in its stream.

    Args:
        seed: The run's seed, the same in every rank.
        rank: This process's rank.
        pass_number: Tells how many passes over the data were complete when an iteration begins
            (the epoch).
        continuing: The sampler's next ``__iter__`` goes on where the last one was left
            (mmengine's InfiniteSampler), so the position does, too.
        batches: The items are batches of indices.
    """

    def __init__(
        self,
        seed: int,
        rank: int,
        pass_number: Callable[[], int],
        continuing: bool = False,
        batches: bool = False,
    ) -> None:
        self.seed = seed
        self.rank = rank
        self.pass_number = pass_number
        self.continuing = continuing
        self.batches = batches
        self.position = 0

    def follow(self, iterate: Callable[[], Iterator]) -> Iterator:
        """Yield what ``iterate()`` yields, one by one, with ``(pass, position)`` counted here."""
        if not self.continuing:
            self.position = 0
        pass_number = self.pass_number()
        # torch's RandomSampler draws its permutation's seed from the global generator.
        with preserved_random_state():
            seed_generators(mix_seed(self.seed, pass_number, self.position))
            stream = iter(iterate())
            item = next(stream, _END)
        # A local counter: somebody else may iterate the sampler meanwhile (a `__len__` that
        # counts does), and must not move ours.
        position = self.position
        while item is not _END:
            visits = [
                _visit(index, self.seed_at(pass_number, position + offset))
                for offset, index in enumerate(item if self.batches else [item])
            ]
            position += len(visits)
            self.position = position
            yield visits if self.batches else visits[0]
            item = next(stream, _END)

    def seed_at(self, pass_number: int, position: int) -> int:
        """The seed of one visit."""
        return mix_seed(self.seed, pass_number, self.rank, position)


def _visiting_class(base: type) -> type:
    """A class like ``base`` whose iteration hands out visits."""

    def __iter__(self: Any) -> Iterator:
        return self._mmkd_clock.follow(lambda: base.__iter__(self))

    def skip(self: Any, num_samples: int) -> None:
        base.skip(self, num_samples)
        self._mmkd_clock.position = num_samples  # absolute, says mmengine's contract

    names = {
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
        "__iter__": __iter__,
        "_mmkd_visiting": True,
    }
    if hasattr(base, "skip"):
        names["skip"] = skip
    # One base only: with a mixin beside it python refuses to change an object's class.
    return type(base.__name__, (base,), names)


def seed_visits_of_sampler(sampler: Any, clock: VisitClock) -> bool:
    """Make a sampler, or a batch sampler, yield indices that carry their visit's seed.

    The object stays the same one and keeps its attributes and, to ``isinstance``, its class:
    data loader, batch sampler and hooks hold references to it.

    Returns:
        False when the object cannot be changed (a plain list, a class with slots).
    """
    base = type(sampler)
    clock.continuing = hasattr(base, "skip") or isinstance(sampler, InfiniteSampler)
    if not hasattr(base, "_mmkd_visiting"):
        try:
            sampler.__class__ = _visiting_class(base)
        except TypeError:
            return False
    sampler._mmkd_clock = clock
    return True


class SeededFetch:
    """``dataset.__getitems__``, which torch's fetcher calls with the indices of a batch.

    It seeds the generators for each visit. In the training process (no workers) they are put
    back afterwards, so that loading never moves the numbers of the training itself.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __call__(self, indices: list) -> list:
        """Fetch the samples of one batch."""
        if get_worker_info() is not None:
            return self._fetch(indices)
        with preserved_random_state():
            return self._fetch(indices)

    def _fetch(self, indices: list) -> list:
        # Through the class: on the instance this very object stands.
        batched = getattr(type(self.dataset), "__getitems__", None)
        if batched is not None:
            _seed_from(indices[0])
            return batched(self.dataset, [_plain(index) for index in indices])
        samples = []
        for index in indices:
            _seed_from(index)
            samples.append(self.dataset[_plain(index)])
        return samples


def _seed_from(index: Any) -> None:
    seed = getattr(index, "visit_seed", None)
    if seed is not None:
        seed_generators(seed)


def seed_visits_of_dataset(dataset: Dataset) -> bool:
    """Give the dataset object a ``__getitems__``; no wrapper, so hooks still reach its pipeline.

    Returns:
        False when the object takes no attributes.
    """
    try:
        dataset.__getitems__ = SeededFetch(dataset)
    except AttributeError:
        return False
    return isinstance(getattr(dataset, "__getitems__", None), SeededFetch)


def index_source(dataloader: torch.utils.data.DataLoader) -> Any:
    """The object of a data loader whose items decide what is loaded: sampler or batch sampler."""
    batch_sampler = dataloader.batch_sampler
    if batch_sampler is None:
        return dataloader.sampler
    return getattr(batch_sampler, "sampler", batch_sampler)
