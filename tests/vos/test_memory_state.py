"""SWEM's memory: precision, batches, seeds; objects that come and go; mistakes."""

from __future__ import annotations

import pytest
import torch

from mmkd_ext.registry import MODELS
from mmkd_ext.vos import SWEMMemory
from mmkd_ext.vos.memory import class_weights

from . import em_golden as golden
from .em_golden import memorize, near

# --- precision, batches, seeds -------------------------------------------------------------------


def frame(seed, batch=1, objects=2, channels=4, values=3, size=(3, 5)):
    generator = torch.Generator().manual_seed(seed)
    key = torch.randn(batch, channels, *size, generator=generator)
    value = torch.randn(batch, objects, values, *size, generator=generator)
    soft = torch.rand(batch, objects, *size, generator=generator)
    return key, value, class_weights((soft > 0.5).float(), soft, size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_float32_under_autocast(dtype):
    exact, memory = SWEMMemory(8, topl=4, seed=0), SWEMMemory(8, topl=4, seed=0)
    frames = [[tensor.to(dtype) for tensor in frame(t)] for t in range(3)]
    for key, value, weights in frames[:2]:
        exact.memorize(key.float(), value.float(), weights.float())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            memory.memorize(key, value, weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = memory.read(frames[2][0])
    for ours, wanted in zip(
        (*memory.first, *memory.update), (*exact.first, *exact.update), strict=True
    ):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, wanted)
    for ours, wanted in zip(found, exact.read(frames[2][0].float()), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, wanted)


def test_keys_too_large_for_half_precision_stay_finite():
    memory = SWEMMemory(8, topl=4, seed=0)
    key, value, weights = frame(0)
    memory.memorize(key * 1e4, value, weights)
    assert all(part.isfinite().all() for part in memory.first)
    assert all(part.isfinite().all() for part in memory.read(key * 1e4))


def test_videos_of_a_batch_do_not_see_each_other():
    together = SWEMMemory(8, topl=4, seed=[3, 5])
    alone = [SWEMMemory(8, topl=4, seed=3), SWEMMemory(8, topl=4)]
    alone[1].reset(5)
    for t in range(3):
        parts = frame(t, batch=2, objects=2 if t == 0 else 3)
        together.memorize(*parts)
        for video, memory in enumerate(alone):
            memory.memorize(*(part[video : video + 1] for part in parts))
    query = frame(9, batch=2)[0]
    for video, memory in enumerate(alone):
        for ours, theirs in zip(
            together.read(query), memory.read(query[video : video + 1]), strict=True
        ):
            torch.testing.assert_close(ours[video : video + 1], theirs)


def test_a_seed_fixes_the_initial_keys_and_leaves_other_generators_alone():
    def first_keys(memory):
        memory.memorize(*frame(0))
        return memory.kappa

    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    memory = SWEMMemory(8, topl=4, seed=1)
    one = first_keys(memory)
    assert torch.equal(torch.random.get_rng_state(), before)
    memory.reset()
    assert memory.kappa is None
    assert torch.equal(first_keys(memory), one)
    memory.reset(2)
    assert not torch.equal(first_keys(memory), one)
    unseeded = SWEMMemory(8, topl=4)
    drawn = first_keys(unseeded)
    torch.manual_seed(0)
    unseeded.reset()
    assert torch.equal(first_keys(unseeded), drawn)
    with pytest.raises(ValueError, match="2 seeds for a batch of 1"):
        first_keys(SWEMMemory(8, topl=4, seed=[1, 2]))


def test_initial_keys_are_random_directions():
    memory = SWEMMemory(64, topl=4, seed=0)
    key, value, weights = frame(0, channels=16)
    memory.memorize(key, value, torch.zeros_like(weights))  # nothing seen: they stay
    norm = memory.kappa.norm(dim=3)
    torch.testing.assert_close(norm, torch.ones_like(norm), rtol=0, atol=1e-4)
    assert memory.kappa.mean().abs() < 0.02
    assert memory.nu.abs().max() == 0
    torch.testing.assert_close(memory.zeta, torch.full_like(memory.zeta, 1e-6))


def test_an_absent_object_keeps_its_foreground():
    memory = SWEMMemory(8, topl=4, seed=0)
    memory.memorize(*frame(0))
    before = memory.first
    key, value, weights = frame(1)
    weights[:, 0, 1] = 0
    memory.memorize(key, value, weights)
    for ours, old in zip(memory.update, before, strict=True):
        torch.testing.assert_close(ours[:, 0, 1], old[:, 0, 1])
        assert not torch.allclose(ours[:, 1, 1], old[:, 1, 1])


# --- objects come and go -------------------------------------------------------------------------


def test_removing_an_object_leaves_the_others_as_if_it_had_never_been():
    keys = golden.initial_keys(3)
    everything, two = SWEMMemory(golden.K, topl=3), SWEMMemory(golden.K, topl=3)
    everything.init(keys)
    two.init(keys[:, [0, 2]])
    for t in range(2):
        memorize(everything, t, objects=3)
        two.memorize(golden.key(t), golden.value(t, 3)[:, [0, 2]], golden.weights(t, 3)[:, [0, 2]])
    everything.remove([1])
    assert everything.num_objects == 2
    for memory in (everything, two):
        memorize(memory, 2)
    for ours, theirs in zip(
        (*everything.first, *everything.update), (*two.first, *two.update), strict=True
    ):
        near(ours, theirs)
    everything.remove([0, 1])
    assert everything.num_objects == 0
    readout, similarity = everything.read(golden.key(3))
    assert readout.shape == (1, 0, 4, 3, 4)
    assert similarity.shape == (1, 0, 6, 3, 4)
    memorize(everything, 3, objects=1)
    assert everything.read(golden.key(4))[0].shape == (1, 1, 4, 3, 4)


def test_the_size_does_not_depend_on_the_number_of_frames():
    memory = SWEMMemory(8, topl=4, seed=0)
    assert memory.num_bytes == 0
    sizes = []
    for t in range(5):
        memory.memorize(*frame(t))
        sizes.append(memory.num_bytes)
    one_bank = 2 * 2 * (4 + 3 + 1) * 8 * 4  # objects, classes, channels of each part, K, bytes
    assert sizes == [one_bank, *[2 * one_bank] * 4]


def test_top_l_is_clipped_to_the_bases():
    memory = SWEMMemory(num_bases=8, topl=64, seed=0)
    assert memory.similarity_channels == 16
    for t in range(2):
        memory.memorize(*frame(t))
        assert memory.read(frame(5)[0])[1].shape == (1, 2, 16, 3, 5)


def test_similarity_does_not_depend_on_the_order_of_bases():
    keys, permuted = golden.initial_keys(), golden.initial_keys()[..., [3, 1, 5, 0, 4, 2]]
    memories = []
    for kappa in (keys, permuted):
        memory = SWEMMemory(golden.K, topl=3)
        memory.init(kappa)
        memorize(memory, 0)
        memories.append(memory)
    assert not torch.allclose(memories[0].kappa, memories[1].kappa)
    for ours, theirs in zip(*(memory.read(golden.key(1)) for memory in memories), strict=True):
        near(ours, theirs)


# --- mistakes ------------------------------------------------------------------------------------


def test_from_a_config():
    memory = MODELS.build(dict(type="mmkd_ext.SWEMMemory", num_bases=16, weight_topk=5))
    assert (memory.num_bases, memory.weight_topk, memory.topl) == (16, 5, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(num_bases=0), "num_bases must be an integer >= 1"),
        (dict(iters=0), "iters must be"),
        (dict(topl=1.5), "topl must be"),
        (dict(weight_topk=0), "weight_topk must be"),
        (dict(tau=0.0), "tau must be > 0"),
        (dict(adaptive_ratio=1.5), "adaptive_ratio must be in"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=f"^SWEMMemory: {message}"):
        SWEMMemory(**options)


def test_wrong_input_is_named():
    memory = SWEMMemory(8, topl=4, seed=0)
    key, value, weights = frame(0)
    with pytest.raises(ValueError, match="nothing is memorised yet"):
        memory.read(key)
    with pytest.raises(ValueError, match=r"takes key .*\(1, 4, 3, 5\), \(1, 2, 3, 3, 4\)"):
        memory.memorize(key, value[..., :4], weights)
    with pytest.raises(ValueError, match="takes key"):
        memory.memorize(key, value, weights[:, :, :1])
    for part in range(3):
        bad = [tensor.clone() for tensor in (key, value, weights)]
        bad[part].flatten()[3] = float("nan")
        with pytest.raises(ValueError, match=f"the {('key', 'value', 'weights')[part]} holds NaN"):
            memory.memorize(*bad)
    assert memory.num_objects == 0
    memory.memorize(key, value, weights)
    with pytest.raises(ValueError, match="1 objects are given, but 2 are known"):
        memory.memorize(key, value[:, :1], weights[:, :1])
    with pytest.raises(ValueError, match=r"filled with .* \(1, 4, 3\), but got \(1, 6, 3\)"):
        memory.memorize(*frame(0, channels=6))
    with pytest.raises(ValueError, match=r"takes a key \(1, 4, H, W\)"):
        memory.read(frame(0, channels=6)[0])
    with pytest.raises(ValueError, match=r"no object \[2\]; the memory holds 2"):
        memory.remove([2])
    with pytest.raises(ValueError, match=r"init takes keys \(B, N, 2, Ck, 8\)"):
        memory.init(torch.zeros(1, 1, 2, 4, 7))
    memory.init(torch.zeros(1, 1, 2, 6, 8))
    with pytest.raises(ValueError, match=r"gave keys \(1, 1, 2, 6, 8\) for 1 new"):
        memory.memorize(*frame(0, objects=3))
