"""Both ways of correlating: against plain loops, against each other, on tiny maps, in memory."""

from __future__ import annotations

import math

import pytest
import torch

from mmkd_ext.flow.models import Correlation

CHANNELS, LEVELS, RADIUS = 6, 3, 2


def maps(height=9, width=11, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, CHANNELS, height, width)
    first, second = (torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2))
    points = torch.rand(2, 2, height, width, generator=generator, dtype=dtype) * 16 - 3
    return first.requires_grad_(), second.requires_grad_(), points


def correlation(method, **options):
    options = {"levels": LEVELS, "radius": RADIUS, **options}
    return Correlation(CHANNELS, method=method, max_chunk=2e-5, **options)  # several chunks


def by_loops(first, second, points, levels=LEVELS, radius=RADIUS):
    """One lookup, a number at a time."""
    batch_size, channels, height, width = first.shape
    pyramid = [second]
    for _ in range(levels - 1):
        last = pyramid[-1]
        h, w = last.shape[2] // 2, last.shape[3] // 2
        cut = last[:, :, : 2 * h, : 2 * w].reshape(batch_size, channels, h, 2, w, 2)
        pyramid.append(cut.mean(dim=(3, 5)))
    side = 2 * radius + 1
    found = torch.zeros(batch_size, levels * side**2, height, width, dtype=first.dtype)
    for b in range(batch_size):
        for y in range(height):
            for x in range(width):
                query = first[b, :, y, x]
                for level, values in enumerate(pyramid):
                    for i in range(side**2):
                        u = points[b, 0, y, x].item() / 2**level + i // side - radius
                        v = points[b, 1, y, x].item() / 2**level + i % side - radius
                        total = 0.0
                        for q in (math.floor(v), math.floor(v) + 1):
                            for p in (math.floor(u), math.floor(u) + 1):
                                if 0 <= q < values.shape[2] and 0 <= p < values.shape[3]:
                                    share = (1 - abs(v - q)) * (1 - abs(u - p))
                                    total += share * (query @ values[b, :, q, p]).item()
                        found[b, level * side**2 + i, y, x] = total / channels**0.5
    return found


@pytest.mark.parametrize("method", ["all_pairs", "on_demand"])
def test_it_is_what_loops_find(method):
    first, second, points = maps(5, 6)
    found = correlation(method, levels=2, radius=1)(first, second).lookup(points)
    expected = by_loops(first.detach(), second.detach(), points, levels=2, radius=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_the_order_of_channels():
    """What lies three pixels to the right, and two below, is in channel 7 * 9 + 6 of radius 4."""
    features = torch.eye(64).view(1, 64, 8, 8)
    points = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="xy"))[None]
    moved = features.roll(shifts=(2, 3), dims=(2, 3))
    for method in ("all_pairs", "on_demand"):
        found = Correlation(64, levels=1, method=method)(features, moved).lookup(points)
        assert found[0, :, 1, 1].argmax() == 7 * 9 + 6
        assert found[0, 7 * 9 + 6, 1, 1] == pytest.approx(1 / 8)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_both_ways_agree_forward_and_backward(dtype):
    results = {}
    weights = torch.randn(LEVELS * 25, generator=torch.Generator().manual_seed(3)).to(dtype)
    for method in ("all_pairs", "on_demand"):
        first, second, points = maps(dtype=dtype)
        found = correlation(method)(first, second).lookup(points)
        (found * weights[:, None, None]).sum().backward()
        results[method] = found.detach(), first.grad, second.grad
    for one, other in zip(*results.values(), strict=True):
        assert one.abs().max() > 1
        torch.testing.assert_close(
            one, other, rtol=0, atol=1e-5 if dtype is torch.float32 else 1e-12
        )


@pytest.mark.parametrize(("height", "width"), [(1, 5), (2, 3), (1, 1), (7, 1)])
def test_maps_smaller_than_the_pyramid(height, width):
    first, second, points = maps(height, width)
    one, other = (
        correlation(method)(first, second).lookup(points) for method in ("all_pairs", "on_demand")
    )
    assert one.isfinite().all()
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_points_far_outside_find_nothing_and_nan_stays_nan():
    first, second, points = maps()
    points[:, :, 0] = 1e9
    points[:, :, 1] = -1e9
    points[:, :, 2] = float("nan")
    for method in ("all_pairs", "on_demand"):
        found = correlation(method)(first, second).lookup(points)
        assert (found[:, :, :2] == 0).all()
        assert found[:, :, 3:].isfinite().all()
    assert found[:, :, 2].isnan().all()


def test_half_precision_is_computed_in_float32():
    first, second, points = maps(dtype=torch.float32)
    half = first.detach().bfloat16(), second.detach().bfloat16()
    for method in ("all_pairs", "on_demand"):
        with torch.autocast("cpu", torch.bfloat16):
            found = correlation(method)(*half).lookup(points)
        expected = correlation(method)(half[0].float(), half[1].float()).lookup(points)
        assert found.dtype is torch.float32
        assert torch.equal(found, expected)


def test_the_larger_volume_is_avoided():
    volume = Correlation(4, levels=4, max_volume=1.0)
    # 1.33 * 4 * N^2 bytes; that of 1080p is 5.2 GiB.
    assert volume.volume_bytes(1, 135, 240) / 2**30 == pytest.approx(5.2, abs=0.05)
    assert volume.volume_bytes(1, 55, 128) / 2**20 == pytest.approx(249, abs=2)
    first, second, _ = maps()
    kinds = {}
    for limit in (1e-5, 1e-3):
        chosen = Correlation(CHANNELS, max_volume=limit)(first, second)
        kinds[limit] = type(chosen).__name__
    assert kinds == {1e-5: "OnDemand", 1e-3: "AllPairs"}


def test_on_demand_keeps_no_volume_for_the_backward_pass():
    """What autograd keeps grows with the pixels, not with their square."""
    kept = {}
    for side in (8, 16):
        first, second, points = maps(side, side, dtype=torch.float32)
        sizes = {}

        def note(tensor, sizes=sizes):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            found = correlation("on_demand", levels=2)(first, second).lookup(points)
        kept[side] = sum(sizes.values())
        assert found.requires_grad
    assert kept[16] < 5 * kept[8]  # 4 times the pixels; their square is 16 times as much
    assert kept[16] < 100_000  # the gathered features of all chunks are 1,200,000


@pytest.mark.parametrize("gib", [2e-5, 1.0])
def test_a_chunk_takes_what_it_may(gib):
    """2 pairs x 6 channels x 36 pixels x 4 bytes are gathered for one pixel."""
    first, second, _ = maps(dtype=torch.float32)
    options = dict(levels=2, radius=2, method="on_demand", max_chunk=gib)
    found = Correlation(CHANNELS, **options)(first, second)
    assert found.chunk == int(gib * 2**30 // 1728)


def test_a_learnable_metric_begins_as_the_inner_product():
    first, second, points = maps(dtype=torch.float32)
    for method in ("all_pairs", "on_demand"):
        plain = correlation(method)(first, second).lookup(points)
        learnt = correlation(method, metric=dict(type="LearnableCostVolume"))
        torch.testing.assert_close(learnt(first, second).lookup(points), plain, rtol=0, atol=1e-6)
        with torch.no_grad():
            learnt.metric.raw_d.fill_(1.0)  # every eigenvalue is 3
        tripled = learnt(first, second).lookup(points)
        torch.testing.assert_close(tripled, 3 * plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(levels=0), "levels is an integer >= 1, not 0"),
        (dict(radius=1.5), "radius is an integer"),
        (dict(method="sparse"), "one of auto, all_pairs, on_demand, not 'sparse'"),
        (dict(max_volume=0), "max_volume is a number of GiB above 0"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        Correlation(8, **options)


def test_wrong_maps():
    first, second, _ = maps()
    with pytest.raises(ValueError, match="of one shape"):
        correlation("auto")(first, second[:, :, 1:])
    with pytest.raises(ValueError, match=r"two maps \(B, 7, h, w\)"):
        Correlation(7)(first, second)
