"""SWEM's memory: the published numbers, a reference written with loops, gradients."""

from __future__ import annotations

import math

import pytest
import torch

from mmkd_ext.vos import SWEMMemory
from mmkd_ext.vos.memory import Bases, class_weights, weighted_em

from . import em_golden as golden
from .em_golden import golden_memory, memorize, near


def check_state(bases, expected):
    for name, (total, absolute, head, tail) in expected.items():
        part = getattr(bases, name)
        near(part.sum(), total)
        near(part.abs().sum(), absolute)
        near(part[0, 0, 0, 0], head)
        near(part[0, 1, 1, -1], tail)


# --- the published code's numbers ----------------------------------------------------------------


def test_em_core():
    memory = golden_memory()
    memorize(memory, 0)
    check_state(memory, golden.AFTER_0)
    assert memory.update is None
    readout, similarity = memory.read(golden.key(1))
    assert readout.shape == (1, 2, 4, 3, 4)
    assert similarity.shape == (1, 2, 6, 3, 4)
    near(readout.sum(), -0.7729804153520439)
    near(readout.abs().sum(), 60.01799704146398)
    near(
        readout[0, 1, :, 2, 3],
        [-0.8311811693461221, -0.10808321347404497, 0.6968099635497372, 0.9743712521397145],
    )
    near(similarity.sum(), 72.0)
    background = [0.9989093422493195, 0.9980841167563113, 0.9974245728349334]
    foreground = [0.0010906577506805126, 0.001915883243688743, 0.002575427165066646]
    near(similarity[0, 0, :, 1, 2], background + foreground)

    memorize(memory, 1)
    check_state(memory, golden.AFTER_1)
    check_state(memory.update, golden.AFTER_1)
    check_state(memory.first, golden.AFTER_0)
    memorize(memory, 2)
    check_state(memory, golden.AFTER_2)
    check_state(memory.first, golden.AFTER_0)
    readout, similarity = memory.read(golden.key(3))
    near(readout.abs().sum(), 47.420386835404884)
    near(
        readout[0, 0, :, 0, 1],
        [0.5013329640866436, -0.19261655089477273, -0.7407977002668524, -0.728357919020946],
    )
    near(similarity[0, 1, :3, 0, 0], [0.9930959438747589, 0.9964630794318051, 0.9964334141915678])
    near(
        similarity[0, 1, 3:, 0, 0],
        [0.0069040561252411425, 0.003536920568194879, 0.0035665858084321655],
    )


def test_an_object_that_appears():
    memory = golden_memory()
    memorize(memory, 0)
    memory.init(golden.initial_keys(1))
    memorize(memory, 1, objects=3)
    assert memory.first.kappa.shape == memory.update.kappa.shape == (1, 3, 2, 5, 6)
    assert memory.first.nu.shape == (1, 3, 2, 4, 6)
    assert memory.first.zeta.shape == (1, 3, 2, 1, 6)
    near(memory.first.kappa.abs().sum(), 82.4937255319845)
    near(memory.first.nu.abs().sum(), 71.64148346668534)
    near(memory.first.zeta.sum(), 12.193874381467886)
    near(memory.first.zeta[:, 2].sum(), 3.9814919423544537)
    near(memory.update.kappa.abs().sum(), 79.42790704769357)
    near(memory.update.nu.abs().sum(), 64.24265211594377)
    near(memory.update.zeta.sum(), 16.919373692690797)
    near(memory.update.zeta[:, 2].sum(), 3.9814919423544537)
    memorize(memory, 2, objects=3)
    near(memory.kappa.abs().sum(), 75.92319892959762)
    near(memory.zeta.sum(), 21.52176587617912)
    near(memory.read(golden.key(3))[0].abs().sum(), 62.706542935)


# --- a reference with loops ----------------------------------------------------------------------


def unit(vector):
    norm = math.sqrt(sum(x * x for x in vector))
    return [x / (norm + 1e-6) for x in vector]


def dot(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True))


def reference_em(prior, x, v, m, iters, tau, ratio=1.0, topk=None):
    """One object: the formulas of ``weighted_em`` with lists and loops, from its docstring.

    prior: kappa0[s][k], nu0[s][k], zeta0[s][k]; x[i], v[i] vectors; m[s][i].
    """
    kappa0, nu0, zeta0 = prior
    bases, positions = len(kappa0[0]), range(len(x))
    w = [[[m[s][i]] * bases for i in positions] for s in range(2)]
    kappa = kappa0
    for iteration in range(1, iters + 1):
        gamma = [[], []]
        for s in range(2):
            directions = [unit(k) for k in kappa[s]]
            for i in positions:
                e = [math.exp(dot(x[i], d) / tau) for d in directions]
                gamma[s].append([e[k] / sum(e) * w[s][i][k] for k in range(bases)])
        zeta = [
            [zeta0[s][k] + sum(gamma[s][i][k] for i in positions) for k in range(bases)]
            for s in range(2)
        ]
        kappa = [
            [
                [
                    (
                        zeta0[s][k] * kappa0[s][k][c]
                        + sum(gamma[s][i][k] * x[i][c] for i in positions)
                    )
                    / zeta[s][k]
                    for c in range(len(x[0]))
                ]
                for k in range(bases)
            ]
            for s in range(2)
        ]
        if iteration == iters:
            break
        for i in positions:
            sums = []
            for s in range(2):
                e = [math.exp(dot(unit(x[i]), unit(k)) / tau) for k in kappa[s]]
                sums.append(sum(sorted(e)[-topk:]) if topk else sum(e))
            for s in range(2):
                for k in range(int(bases * ratio)):
                    w[s][i][k] = m[s][i] * (1 - sums[s] / sum(sums))
    nu = [
        [
            [
                (zeta0[s][k] * nu0[s][k][d] + sum(gamma[s][i][k] * v[i][d] for i in positions))
                / zeta[s][k]
                for d in range(len(v[0]))
            ]
            for k in range(bases)
        ]
        for s in range(2)
    ]
    return kappa, nu, zeta


@pytest.mark.parametrize(
    "options",
    [{}, dict(weight_topk=2), dict(adaptive_ratio=0.5), dict(weight_topk=2, adaptive_ratio=0.5)],
    ids=str,
)
def test_every_weighting_agrees_with_loops(options):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    batch, objects, bases = 2, 3, 4
    prior = Bases(
        draw(batch, objects, 2, 3, bases) - 0.5,
        draw(batch, objects, 2, 2, bases),
        draw(batch, objects, 2, 1, bases),
    )
    x, v = draw(batch, 3, 5) - 0.5, draw(batch, objects, 2, 5)
    m = draw(batch, objects, 2, 5)
    found = weighted_em(prior, x, v, m, iters=3, tau=0.2, **options)
    for b in range(batch):
        for n in range(objects):
            alone = [part[b, n].transpose(1, 2).tolist() for part in prior]
            alone[2] = [[k[0] for k in s] for s in alone[2]]
            expected = reference_em(
                alone, x[b].T.tolist(), v[b, n].T.tolist(), m[b, n].tolist(), 3, 0.2,
                options.get("adaptive_ratio", 1.0), options.get("weight_topk"),
            )  # fmt: skip
            for name, part in zip(("kappa", "nu"), expected, strict=False):
                near(getattr(found, name)[b, n].transpose(1, 2), part)
            near(found.zeta[b, n, :, 0], expected[2])


def test_the_historical_weightings_differ_from_the_later_one():
    states = []
    for options in ({}, dict(weight_topk=2), dict(adaptive_ratio=0.5)):
        memory = SWEMMemory(golden.K, topl=3, **options)
        memory.init(golden.initial_keys())
        memorize(memory, 0)
        states.append(memory.zeta)
    assert (states[0] - states[1]).abs().max() > 1e-3
    assert (states[0] - states[2]).abs().max() > 1e-3


def test_class_weights():
    hard = torch.zeros(1, 1, 32, 48)
    hard[..., 16:, :20] = 1
    found = class_weights(hard, hard, (2, 3))
    # Nearest neighbour takes pixels 0, 16, 32; bilinear the mean of the four around 7.5, 23.5, 39.5.
    assert found.shape == (1, 1, 2, 2, 3)
    assert found[0, 0, 1].tolist() == [[0, 0, 0], [1, 0, 0]]
    assert found[0, 0, 0].tolist() == [[1, 1, 1], [0, 0, 1]]
    soft = torch.full((1, 1, 8, 12), 0.25)
    assert class_weights(hard, soft, (2, 3))[0, 0, :, 1].tolist() == [[0, 0, 0.75], [0.25, 0.25, 0]]


# --- gradients -----------------------------------------------------------------------------------


def test_only_nu_carries_a_gradient():
    memory = golden_memory()
    keys = [golden.key(t).requires_grad_() for t in range(3)]
    values = [golden.value(t).requires_grad_() for t in range(2)]
    masks = [golden.weights(t).requires_grad_() for t in range(2)]
    for t in range(2):
        memory.memorize(keys[t], values[t], masks[t])
    assert memory.nu.requires_grad
    assert not memory.kappa.requires_grad
    assert not memory.zeta.requires_grad
    readout, similarity = memory.read(keys[2])
    asked = [*keys[:2], *masks, *values, keys[2]]
    cotangent = torch.randn(readout.shape, dtype=torch.float64)
    grads = torch.autograd.grad(
        (readout * cotangent).sum(), asked, allow_unused=True, retain_graph=True
    )
    assert grads[:4] == (None,) * 4
    for gradient in grads[4:]:  # the earlier frame's value too: nu is not detached between frames
        assert gradient.abs().sum() > 0
    # Linear in the values: the gradient predicts any step exactly.
    step = [torch.randn_like(v) for v in values]
    other = golden_memory()
    for t in range(2):
        other.memorize(keys[t], values[t] + step[t], masks[t])
    change = ((other.read(keys[2])[0] - readout) * cotangent).sum()
    near(
        change.detach(), sum((g * s).sum() for g, s in zip(grads[4:6], step, strict=True)).detach()
    )
    through_s = torch.autograd.grad(similarity[:, :, :3].square().sum(), asked, allow_unused=True)
    assert through_s[:6] == (None,) * 6
    assert through_s[6].abs().sum() > 0
