"""The growing memory, against its formula written with loops."""

from __future__ import annotations

import math

import pytest
import torch

from mmkd_ext.registry import MODELS
from mmkd_ext.vos import FrameMemory
from mmkd_ext.vos.memory import frame_affinity

CK, CV, SIZE = 3, 2, (2, 3)


def frame(seed, objects=2, batch=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(batch, *shape, *SIZE, generator=generator, dtype=dtype)

    return draw(CK), draw(objects, CV), draw(objects, 2).sigmoid()


def read_by_loops(frames, query, first, topk):
    """Of one object that appeared in frame ``first``: keys and values as lists of positions."""
    keys = [k for key, _ in frames[first:] for k in key]
    values = [v for _, value in frames[first:] for v in value]
    out = []
    for q in query:
        near = [-sum((a - b) ** 2 for a, b in zip(k, q, strict=True)) / math.sqrt(CK) for k in keys]
        best = sorted(range(len(near)), key=lambda i: near[i], reverse=True)[:topk]
        total = sum(math.exp(near[i]) for i in best)
        out.append([sum(math.exp(near[i]) / total * values[i][c] for i in best) for c in range(CV)])
    return out


@pytest.mark.parametrize("topk", [4, 20, None])
def test_read_agrees_with_loops(topk):
    """Three objects, of which one comes with the second frame; 6, then 18 positions."""
    memory = FrameMemory(topk=topk, topl=2)
    frames = [frame(t, objects=2 if t == 0 else 3) for t in range(3)]
    query = frame(9)[0]
    for t, parts in enumerate(frames):
        memory.memorize(*parts)
        if t in (0, 2):
            readout, similarity = memory.read(query)
            objects = parts[1].shape[1]
            assert similarity.shape == (1, objects, 4, *SIZE)
            assert similarity.count_nonzero() == 0
            for n in range(objects):
                listed = [
                    (
                        k[0].flatten(1).T.tolist(),
                        v[0, n].flatten(1).T.tolist() if n < v.shape[1] else [],
                    )
                    for k, v, _ in frames[: t + 1]
                ]
                points = query[0].flatten(1).T.tolist()
                expected = read_by_loops(listed, points, 1 if n == 2 else 0, topk)
                found = readout[0, n].flatten(1).T
                torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_affinity_is_a_distribution_over_the_nearest():
    key, query = frame(0)[0].flatten(2), frame(1)[0].flatten(2)
    affinity = frame_affinity(key, query, topk=2)
    torch.testing.assert_close(affinity.sum(dim=1), torch.ones(1, 6, dtype=torch.float64))
    distance = torch.cdist(key.transpose(1, 2), query.transpose(1, 2))
    nearest = distance.topk(2, dim=1, largest=False).indices.sort(dim=1).values
    assert torch.equal(affinity.topk(2, dim=1).indices.sort(dim=1).values, nearest)
    assert (affinity > 0).sum(dim=1).eq(2).all()


def test_removing_and_growing():
    memory, two = FrameMemory(topl=0), FrameMemory(topl=0)
    for t in range(3):
        key, value, weights = frame(t, objects=3)
        memory.memorize(key, value, weights)
        two.memorize(key, value[:, [0, 2]], weights[:, [0, 2]])
    one_frame = (CK + 3 * CV) * 6 * 8
    assert memory.num_bytes == 3 * one_frame
    memory.remove([1])
    assert memory.num_objects == 2
    query = frame(9)[0]
    torch.testing.assert_close(memory.read(query)[0], two.read(query)[0])
    assert memory.read(query)[1].shape == (1, 2, 0, *SIZE)
    memory.remove([0, 1])
    assert memory.read(query)[0].shape == (1, 0, CV, *SIZE)
    memory.memorize(*frame(3, objects=1))  # one that sees its own frame only
    alone = FrameMemory(topl=0)
    alone.memorize(*frame(3, objects=1))
    torch.testing.assert_close(memory.read(query)[0], alone.read(query)[0])
    memory.reset()
    assert memory.num_objects == memory.num_bytes == 0


def test_keys_and_values_carry_gradients():
    memory = FrameMemory(topk=3)
    leaves = []
    for t in range(2):
        key, value, weights = frame(t)
        leaves += [key.requires_grad_(), value.requires_grad_()]
        memory.memorize(key, value, weights)
    query = frame(9)[0].requires_grad_()
    memory.read(query)[0].square().sum().backward()
    for leaf in (*leaves, query):
        assert leaf.grad.abs().sum() > 0


def test_float32_under_autocast():
    memory, exact = FrameMemory(), FrameMemory()
    key, value, weights = (part.bfloat16() for part in frame(0, dtype=torch.float32))
    exact.memorize(key.float(), value.float(), weights.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        memory.memorize(key, value, weights)
        found = memory.read(key)[0]
    assert found.dtype == torch.float32
    assert torch.equal(found, exact.read(key.float())[0])


def test_mistakes_are_named():
    memory = MODELS.build(dict(type="mmkd_ext.FrameMemory", topk=5))
    key, value, weights = frame(0)
    with pytest.raises(ValueError, match=r"^FrameMemory\.read: nothing is memorised"):
        memory.read(key)
    memory.memorize(key, value, weights)
    with pytest.raises(ValueError, match=r"filled with .* \(1, 3, 2\), but got \(1, 3, 1\)"):
        memory.memorize(key, value[:, :, :1], weights)
    with pytest.raises(ValueError, match="1 objects are given, but 2 are known"):
        memory.memorize(key, value[:, :1], weights[:, :1])
    with pytest.raises(ValueError, match="the value holds NaN"):
        memory.memorize(key, value / 0, weights)
    with pytest.raises(ValueError, match=r"no object \[5\]; the memory holds 2"):
        memory.remove([0, 5])
    with pytest.raises(ValueError, match="topk must be"):
        FrameMemory(topk=0)
    with pytest.raises(ValueError, match="topl must be"):
        FrameMemory(topl=-1)
