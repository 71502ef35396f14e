from __future__ import annotations

import copy
import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from mmkd_ext.distill.checkpoint import atomic_save, read_checkpoint
from mmkd_ext.hooks.random_state import capture_random_state, restore_random_state
from mmkd_ext.hooks.visit_seed import (
    SeededFetch,
    VisitClock,
    VisitIndex,
    VisitTuple,
    index_source,
    mix_seed,
    seed_visits_of_dataset,
    seed_visits_of_sampler,
)


class Draws(Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, random.random(), np.random.rand(), torch.rand(1).item()


class BatchedDraws(Draws):
    def __getitems__(self, indices):
        return [(index, torch.rand(1).item()) for index in indices]


def clock(seed=1, rank=0, number=lambda: 0, **kwargs):
    return VisitClock(seed, rank, number, **kwargs)


def draw_all():
    return random.random(), np.random.rand(), np.random.randn(), torch.rand(2).tolist()


def test_seeds_are_spread():
    seeds = {
        mix_seed(seed, number, rank, position)
        for seed in (0, 1)
        for number in range(10)
        for rank in range(4)
        for position in range(500)
    }
    assert len(seeds) == 2 * 10 * 4 * 500
    assert all(0 <= seed < 2**64 for seed in seeds)
    assert mix_seed(0, 1) != mix_seed(1, 0)


def test_a_visit_is_the_plain_index_to_everybody_else():
    visit = pickle.loads(pickle.dumps(VisitIndex(3, 99)))
    assert visit == 3
    assert isinstance(visit, int)
    assert list(range(5))[visit] == 3
    assert visit.visit_seed == 99
    pair = pickle.loads(pickle.dumps(VisitTuple((3, 4), 98)))
    assert pair == (3, 4)
    assert pair.visit_seed == 98


def test_the_sampler_stays_the_object_it_was():
    sampler = DefaultSampler(Draws(), seed=5)
    plain = list(sampler)
    assert seed_visits_of_sampler(sampler, clock())
    assert isinstance(sampler, DefaultSampler)
    assert len(sampler) == 10
    assert isinstance(sampler.dataset, Draws)
    first = list(sampler)
    assert first == plain  # the order is the sampler's own
    assert len({visit.visit_seed for visit in first}) == 10
    assert [visit.visit_seed for visit in sampler] == [visit.visit_seed for visit in first]
    sampler.set_epoch(1)
    assert list(sampler) != plain
    # Once more, as a second `train()` does: the class is not wrapped twice.
    assert seed_visits_of_sampler(sampler, clock(seed=2))
    assert type(sampler).__mro__[1] is DefaultSampler
    assert list(copy.deepcopy(sampler)) == list(sampler)


@pytest.mark.parametrize("change", [dict(seed=2), dict(rank=1), dict(number=lambda: 1)])
def test_seeds_depend_on_run_rank_and_pass(change):
    seeds = []
    for arguments in ({}, change):
        sampler = DefaultSampler(Draws(), seed=5)
        seed_visits_of_sampler(sampler, clock(**arguments))
        seeds.append({visit.visit_seed for visit in sampler})
    assert not seeds[0] & seeds[1]


def test_an_infinite_sampler_continues_its_positions():
    def visits(sampler, count):
        stream = iter(sampler)
        return [(int(visit), visit.visit_seed) for visit in (next(stream) for _ in range(count))]

    whole = InfiniteSampler(Draws(), seed=5)
    seed_visits_of_sampler(whole, clock())
    expected = visits(whole, 25)
    skipped = InfiniteSampler(Draws(), seed=5)
    seed_visits_of_sampler(skipped, clock())
    skipped.skip(13)
    assert visits(skipped, 12) == expected[13:]


def test_iterating_meanwhile_does_not_disturb():
    sampler = DefaultSampler(Draws(), seed=5)
    seed_visits_of_sampler(sampler, clock())
    expected = [visit.visit_seed for visit in sampler]
    seen = []
    for visit in sampler:
        seen.append(visit.visit_seed)
        list(sampler)  # as a batch sampler's `__len__` may
    assert seen == expected


def test_random_sampler_neither_reads_nor_moves_the_global_generator():
    orders, number = [], [0]
    for start in (1, 2):
        torch.manual_seed(start)
        before = torch.get_rng_state()
        sampler = RandomSampler(Draws())
        seed_visits_of_sampler(sampler, clock(number=lambda: number[0]))
        orders.append(list(sampler))
        assert torch.equal(torch.get_rng_state(), before)
    assert orders[0] == orders[1]
    number[0] = 1
    assert list(sampler) != orders[0]


def test_what_cannot_be_changed_is_refused():
    assert not seed_visits_of_sampler([3, 1, 2], clock())
    assert not seed_visits_of_dataset(tuple(range(3)))


def test_index_source():
    data = Draws()
    assert isinstance(index_source(DataLoader(data, sampler=DefaultSampler(data))), DefaultSampler)
    groups = BatchSampler(DefaultSampler(data), 2, False)
    assert index_source(DataLoader(data, batch_sampler=groups)) is groups.sampler
    fixed = [[0, 1], [2, 3]]
    assert index_source(DataLoader(data, batch_sampler=fixed)) is fixed


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("data", [Draws, BatchedDraws])
def test_loading_depends_on_the_visit_only_and_leaves_no_trace(data, workers):
    batches = []
    for start in (1, 2):
        random.seed(start), np.random.seed(start), torch.manual_seed(start)
        dataset = data()
        sampler = DefaultSampler(dataset, seed=5)
        loader = DataLoader(
            dataset,
            batch_size=4,
            sampler=sampler,
            num_workers=workers,
            collate_fn=list,
            generator=torch.Generator(),
        )
        assert seed_visits_of_sampler(sampler, clock())
        assert seed_visits_of_dataset(dataset)
        state = capture_random_state()
        batches.append(list(loader))
        expected = draw_all()  # what follows after loading ...
        restore_random_state(state)
        assert draw_all() == expected  # ... is what would have followed without
    assert batches[0] == batches[1]
    assert type(batches[0][0][0][0]) is int
    draws = [sample[1:] for batch in batches[0] for sample in batch]
    assert len(set(draws)) == 10


def test_the_dataset_can_be_sent_to_spawned_workers():
    dataset = Draws()
    seed_visits_of_dataset(dataset)
    sent = pickle.loads(pickle.dumps(dataset))
    assert isinstance(sent.__getitems__, SeededFetch)
    assert sent.__getitems__.dataset is sent
    indices = [VisitIndex(3, 7), VisitIndex(4, 8)]
    assert sent.__getitems__(indices) == dataset.__getitems__(indices)


def test_the_random_state_survives_a_weights_only_file(tmp_path):
    random.gauss(0, 1), np.random.randn(), torch.rand(1)  # half of each pair of normals is kept
    atomic_save({"random_state": [capture_random_state()]}, tmp_path / "a.pth")
    expected = random.gauss(0, 1), draw_all()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    restore_random_state(read_checkpoint(tmp_path / "a.pth")["random_state"][0])
    assert (random.gauss(0, 1), draw_all()) == expected
