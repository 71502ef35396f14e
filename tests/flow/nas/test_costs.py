"""Closed forms against published figures, and against networks that are built and counted."""

from __future__ import annotations

from random import Random

import pytest
import torch

from mmkd_ext.flow.nas import FLOWNAS_K, FLOWNAS_S, FlowNASSpace, StaticFlowEncoder
from mmkd_ext.hooks.macs import counting_macs

from . import tiny

PUBLISHED = FlowNASSpace()


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("genotype", "params", "published", "giga_macs"),
    [
        (FLOWNAS_S, 5_071_824, 5_145_808, 10.151),
        (FLOWNAS_K, 5_101_712, 5_168_528, 10.549),
        (PUBLISHED.max(), 7_841_008, 8_100_464, 24.141),
        # As published, without the expansion by 1 of stage 2: 56 x 56 weights, and a norm in one.
        (PUBLISHED.min(), 4_442_496 + 2 * 56**2 + 2 * 56, 4_467_584, 5.405 + 56**2 * 192 * 256e-9),
    ],
)
def test_published_figures(genotype, params, published, giga_macs):
    assert PUBLISHED.params(genotype) == params
    assert PUBLISHED.published_params(genotype) == published
    macs = PUBLISHED.encoder_macs(genotype, (384, 512))
    assert macs / 1e9 == pytest.approx(giga_macs, abs=6e-4)
    assert PUBLISHED.macs(genotype, (384, 512)) == 3 * macs  # two features, one context
    assert PUBLISHED.macs(genotype, (377, 505)) == 3 * macs  # padded


@pytest.mark.parametrize(
    ("arguments", "draws"), [({}, 4), (tiny.SPACE | dict(context_dim=40, stem_width=12), 6)]
)
def test_random_genotypes_are_counted(arguments, draws):
    space, rng = FlowNASSpace(**arguments), Random(3)
    for genotype in (space.min(), space.max(), *(space.sample(rng) for _ in range(draws))):
        with torch.device("meta"):
            features = StaticFlowEncoder(genotype, space, "instance", space.feature_dim).eval()
            context = StaticFlowEncoder(genotype, space, "batch", space.context_dim).eval()
            two, one = torch.empty(2, 3, 64, 96), torch.empty(1, 3, 64, 96)
        total = parameters(features) + parameters(context)
        assert space.params(genotype) == total + space.rest_params
        with counting_macs() as count:
            features(two)
            context(one)
        assert space.macs(genotype, (64, 96)) == count.macs
