"""The published space and others: what is in them, and how genotypes are drawn and changed."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from random import Random

import pytest

from mmkd_ext.flow.nas import FLOWNAS_K, FLOWNAS_S, FlowNASSpace
from mmkd_ext.registry import MODELS

from . import tiny

GENES = ("width", "kernel_size", "depth", "expand_ratio")


def test_the_published_space():
    space = FlowNASSpace()
    assert space.size == 80_621_568
    assert space.min() == dict(
        width=(56, 64, 88, 96, 112, 128),
        kernel_size=(3,) * 6,
        depth=(1, 1, 1, 1, 2, 1),
        expand_ratio=(1, 1, 4, 4, 6, 6),
    )
    assert space.max() == dict(
        width=(64, 72, 96, 112, 128, 136),
        kernel_size=(5,) * 6,
        depth=(2, 3, 3, 3, 4, 2),
        expand_ratio=(1, 4, 6, 6, 6, 6),
    )
    for genotype in (FLOWNAS_S, FLOWNAS_K):
        assert space.check(genotype) == genotype
        assert tuple(genotype) == GENES
    assert space.key(FLOWNAS_S) == (
        64, 72, 96, 104, 120, 136, 3, 3, 5, 3, 5, 5, 2, 2, 2, 1, 2, 1, 1, 2, 5, 5, 6, 6
    )  # fmt: skip


def test_samples_are_uniform():
    space, rng = FlowNASSpace(), Random(0)
    drawn = [space.sample(rng) for _ in range(3000)]
    for gene in GENES:
        for stage, choices in enumerate(space.choices[gene]):
            counts = Counter(genotype[gene][stage] for genotype in drawn)
            assert set(counts) == set(choices)
            for count in counts.values():  # five standard deviations
                assert abs(count / 3000 - 1 / len(choices)) < 5 * (0.25 / 3000) ** 0.5
    assert len({space.key(genotype) for genotype in drawn}) > 2990
    assert drawn[:9] == [space.sample(again) for again in [Random(0)] for _ in range(9)]
    # The share of the published count below 5.0 million: 2.75 % of 400 draws were reported.
    share = sum(space.published_params(genotype) <= 5e6 for genotype in drawn) / len(drawn)
    assert 0.01 < share < 0.05


def test_mutation_draws_each_number_anew():
    space, rng = FlowNASSpace(), Random(0)
    parent = space.max()
    assert space.mutate(parent, rng, prob=0.0) == parent
    always = [space.mutate(parent, rng, prob=1.0) for _ in range(500)]
    assert {genotype["depth"][4] for genotype in always} == {2, 3, 4}
    changed = 0
    for _ in range(1000):
        child = space.mutate(parent, rng)
        assert space.check(child) == child
        changed += sum(a != b for a, b in zip(space.key(child), space.key(parent), strict=True))
    # Each of 24 numbers is drawn with 0.1, and differs with 1 - 1/n of n choices.
    choices = [len(stage) for stages in space.choices.values() for stage in stages]
    expected = 1000 * 0.1 * sum(1 - 1 / n for n in choices)
    assert changed == pytest.approx(expected, rel=0.1)
    assert parent == space.max()


def test_crossover_takes_each_number_from_a_parent():
    space, rng = FlowNASSpace(), Random(0)
    a, b = space.max(), space.min()
    from_a = differing = 0
    for _ in range(500):
        child = space.key(space.crossover(a, b, rng))
        for value, one, other in zip(child, space.key(a), space.key(b), strict=True):
            assert value in (one, other)
            if one != other:
                from_a, differing = from_a + (value == one), differing + 1
    assert from_a / differing == pytest.approx(0.5, abs=0.03)
    assert space.crossover(a, a, rng) == a


def test_genotypes_and_spaces_are_stored():
    space = FlowNASSpace(**tiny.SPACE)
    assert space.size == 2**5 * 2**6 * 2**5 * 2**4
    genotype = space.sample(Random(1))
    again = json.loads(json.dumps(genotype))
    assert again["width"] == list(genotype["width"])
    assert space.check(dict(reversed(again.items()))) == genotype
    assert space.key(again) == space.key(genotype)
    for other in (
        pickle.loads(pickle.dumps(space)),
        FlowNASSpace(**json.loads(json.dumps(space.to_dict()))),
        MODELS.build(dict(type="mmkd_ext.FlowNASSpace", **tiny.SPACE)),
        FlowNASSpace.of(tiny.SPACE),
        eval(repr(space)),
    ):
        assert other == space
        assert hash(other) == hash(space)
    assert space != FlowNASSpace()
    assert space != FlowNASSpace(**{**tiny.SPACE, "rest_params": 1001})
    assert FlowNASSpace.of(None) == FlowNASSpace()
    assert FlowNASSpace.of(space) is space


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(width=(64, 72, 96, 104, 120, 100)), "width of stage 6 is one of 128, 136"),
        (dict(depth=(2, 2, 2, 1, 2)), "depth has one number for each of 6 stages"),
        (dict(kernel_size=3), "kernel_size has one number for each of 6 stages; this is 3"),
        (dict(kernel_size=(3, 3, 5, 3, 5, 7)), "kernel_size of stage 6 is one of 3, 5 .* not 7"),
        (dict(depth=(True, 2, 2, 1, 2, 1)), "depth of stage 1 .* not True"),
        (dict(depth=("2", 2, 2, 1, 2, 1)), "depth of stage 1 .* not '2'"),
        (dict(groups=(1,) * 6), "is a dict of width, kernel_size, depth, expand_ratio"),
    ],
)
def test_a_wrong_genotype_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        FlowNASSpace().params({**FLOWNAS_S, **change})
    with pytest.raises(ValueError, match=message):
        FlowNASSpace().mutate({**FLOWNAS_S, **change}, Random(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(strides=(1, 1, 2, 1, 1, 1)), r"multiply to 4.*not \(1, 1, 2, 1, 1, 1\)"),
        (dict(strides=(4, 1, 1, 1, 1, 1)), "strides are 1 or 2"),
        (dict(widths=((8,),) * 5), "widths has choices for each of 6 stages"),
        (dict(depths=((1,),) * 5 + ((),)), r"depths has, for each stage, distinct integers.*\(\)"),
        (dict(depths=((0, 1),) * 6), "depths has, .*>= 1"),
        (dict(widths=((8, 8),) * 6), "widths has, for each stage, distinct"),
        (dict(widths=(8, 16, 24, 24, 24, 24)), "widths has, for each stage, .*not 8"),
        (dict(kernel_sizes=((3, 4),) * 6), "kernel_sizes are odd"),
        (dict(stem_width=0), "stem_width is an integer >= 1, not 0"),
        (dict(rest_params=1.5), "rest_params is an integer >= 0, not 1.5"),
    ],
)
def test_choices_that_make_no_network(change, message):
    with pytest.raises(ValueError, match=message):
        FlowNASSpace(**{**tiny.SPACE, **change})
