"""One video: objects that come late and go, what is memorised, sizes, a state that stays small."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmkd_ext.vos import VOSSession
from mmkd_ext.vos.models.clip import Clip

from . import tiny


@pytest.fixture(scope="module")
def model():
    return tiny.build().eval()


def spy(model, name):
    """The arguments of a module's calls."""
    seen = []
    handle = model.get_submodule(name).register_forward_hook(
        lambda module, args, output: seen.append(args)
    )
    return seen, handle


def test_a_session_does_what_a_clip_does(model):
    frames, sample = tiny.clip(frames=5)
    with torch.no_grad():
        expected = model(frames[None], [sample], mode="tensor")
    session = VOSSession(model)
    session.memory.reset(Clip.of(frames[None], [sample]).seeds(model.seed))
    found = session.step(frames[0], sample.gt_masks[0])
    assert found.dtype == torch.uint8
    assert torch.equal(found.long(), sample.gt_masks[0])
    for t in range(1, 5):
        found = session.step(frames[t], last=t == 4)
        probabilities = expected[t - 1][0].softmax(dim=0)
        torch.testing.assert_close(session.probabilities, probabilities, rtol=1e-4, atol=1e-5)
        assert torch.equal(found.long(), session.probabilities.argmax(dim=0))


def test_a_seed_decides(model):
    ids = tiny.squares(3, 2)
    frames = tiny.images(ids)

    def follow(seed):
        session = VOSSession(model, seed=seed)
        session.step(frames[0], ids[0])
        session.step(frames[1])
        return session.probabilities

    state = torch.random.get_rng_state()
    one = follow(1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(follow(1), one)
    assert not torch.equal(follow(2), one)


def test_objects_come_late(model):
    """Ids need not be in order: 7 in frame 1, then 3 and 200 in frame 3; frame 0 has none."""
    frames = tiny.images(tiny.squares(5, 3))
    session = VOSSession(model)
    assert session.step(frames[0]).count_nonzero() == 0
    assert session.objects == []
    assert session.probabilities.shape == (1, 32, 48)
    assert session.memory.num_objects == 0

    first = torch.zeros(32, 48, dtype=torch.uint8)
    first[4:14, 3:15] = 7
    assert torch.equal(session.step(frames[1], first), first)
    session.step(frames[2])
    # The masks of frame 3: two new objects. What they say of the known one is not looked at.
    late = torch.zeros(32, 48, dtype=torch.uint8)
    late[10:20, 20:30], late[20:30, 30:44], late[:4, :4] = 200, 3, 7
    before = session.memory.num_objects
    values, handle = spy(model, "value_encoder")
    aggregated = []
    tap = model.aggregation.register_forward_hook(lambda m, a, o: aggregated.append(o))
    found = session.step(frames[3], late)
    handle.remove()
    tap.remove()
    assert before == 1
    assert session.objects == [7, 3, 200]
    assert session.memory.num_objects == 3
    # Known channels are zeroed under the new masks; the rest is what the network says.
    old = aggregated[0][0].softmax(dim=0)
    new = torch.stack([late == 3, late == 200])
    expected = torch.cat([old * ~new.any(dim=0), new.float()])
    assert torch.equal(session.probabilities, expected)
    assert torch.equal(values[0][1][0], expected)
    assert set(found.unique().tolist()) <= {0, 3, 7, 200}
    assert torch.equal(found == 200, late == 200)
    assert torch.equal(found == 3, late == 3)
    # The new objects' first bases are those of this frame, the old one's those of its own.
    bank, update = session.memory.first, session.memory.update
    assert torch.equal(bank.kappa[:, 1:], update.kappa[:, 1:])
    assert not torch.equal(bank.kappa[:, :1], update.kappa[:, :1])
    assert session.step(frames[4], last=True).shape == (32, 48)
    assert session.probabilities.shape == (4, 32, 48)


def test_a_removed_object_is_gone_and_may_come_back(model):
    ids = tiny.squares(6, 3)
    frames = tiny.images(ids)
    session = VOSSession(model, seed=4)
    session.step(frames[0], ids[0])
    session.step(frames[1])
    with pytest.raises(ValueError, match=r"no object \[9\] is followed; there is \[1, 2, 3\]"):
        session.remove([1, 9])
    session.remove(np.uint8(2))  # as numpy.unique has them
    assert session.objects == [1, 3]
    found = session.step(frames[2])
    assert session.probabilities.shape[0] == 3
    assert 2 not in found.unique()
    assert session.step(frames[3], ids[3]).eq(2).equal(ids[3] == 2)
    assert session.objects == [1, 3, 2]
    session.remove([1, 2, 3])
    assert session.step(frames[4]).count_nonzero() == 0
    assert torch.equal(session.step(frames[5], ids[5], last=True).long(), ids[5])
    assert session.objects == [1, 2, 3]


def test_mem_every(model):
    ids = tiny.squares(7, 2)
    frames = tiny.images(ids)
    session = VOSSession(model, mem_every=3)
    values, handle = spy(model, "value_encoder")
    counts = []
    for t in range(7):
        late = torch.where(ids[t] == 2, 2, 0)
        mask = torch.where(ids[0] == 1, 1, 0) if t == 0 else late if t == 4 else None
        session.step(frames[t], mask, last=t == 6)
        counts.append(len(values))
    handle.remove()
    # Frames 0 and 3, 4 for its new object, and 6 not, being the last.
    assert counts == [1, 1, 1, 2, 3, 3, 3]


def test_what_a_session_keeps_does_not_grow(model):
    frames = tiny.images(tiny.squares(3, 2))
    session = VOSSession(model)
    sizes = {}
    session.step(frames[0], tiny.squares(1, 2)[0])
    for t in range(1, 51):
        session.step(frames[t % 3])
        sizes[t] = session.num_bytes
    bases = 2 * 2 * 2 * (8 + 16 + 1) * 8 * 4  # banks, objects, classes, channels, K, bytes
    assert sizes[5] == sizes[50] == bases + 3 * 32 * 48 * 4
    tensors = [value for value in vars(session).values() if isinstance(value, torch.Tensor)]
    assert sum(t.numel() * t.element_size() for t in tensors) == 3 * 32 * 48 * 4 + 3


def test_the_frame_memory_grows():
    model = tiny.build().eval()
    model.memory_cfg = dict(type="FrameMemory", topl=4)
    ids = tiny.squares(3, 2)
    frames = tiny.images(ids)
    session = VOSSession(model)
    kept = []
    for t in range(3):
        session.step(frames[t], ids[t] if t == 0 else None)
        kept.append(session.memory.num_bytes)
    a_frame = (8 + 2 * 16) * 2 * 3 * 4  # key, values, positions, bytes
    assert kept == [a_frame, 2 * a_frame, 3 * a_frame]


def test_the_network_sees_one_size_and_answers_in_another(model):
    ids = tiny.squares(3, 2, size=(30, 50))
    frames = tiny.images(ids)
    seen, handle = spy(model, "key_encoder")
    for size, expected in (
        (None, (32, 64)),
        ((48, 48), (48, 48)),
        (16, (16, 32)),
        ((20, 40), (32, 48)),
    ):
        session = VOSSession(model, size=size)
        session.step(frames[0], ids[0])
        assert session.step(frames[1], last=True).shape == (30, 50)
        assert session.probabilities.shape == (3, 30, 50)
        assert seen[-1][0].shape[2:] == expected
    # A loader that has resized the image already: masks stay as they are in the files.
    session = VOSSession(model, output_size=(30, 50))
    small = F.interpolate(frames, size=(16, 32))
    session.step(small[0], ids[0])
    assert session.step(small[1]).shape == (30, 50)
    assert seen[-1][0].shape[2:] == (16, 32)
    handle.remove()


def test_padding_is_no_part_of_the_answer(model):
    """A frame padded by hand and one padded by the session give the same probabilities."""
    ids = tiny.squares(3, 2, size=(30, 50))
    frames = tiny.images(ids)
    by_session, by_hand = VOSSession(model), VOSSession(model)
    for t in range(3):
        mask = ids[t] if t == 0 else None
        by_session.step(frames[t], mask)
        by_hand.step(
            F.pad(frames[t], (0, 14, 0, 2)), None if mask is None else F.pad(mask, (0, 14, 0, 2))
        )
        if t < 2:
            torch.testing.assert_close(
                by_session.probabilities, by_hand.probabilities[:, :30, :50], rtol=1e-4, atol=1e-5
            )


def test_a_mask_that_is_a_pixel_off_is_resized(model):
    ids = tiny.squares(1, 2)[0]
    session = VOSSession(model)
    found = session.step(tiny.images(ids[None])[0], F.pad(ids, (0, -1)))
    assert found.shape == (32, 48)
    assert found.unique().tolist() == [0, 1, 2]


def test_bf16_autocast(model):
    ids = tiny.squares(4, 2)
    frames = tiny.images(ids)
    plain, half = VOSSession(model), VOSSession(model)
    for t in range(4):
        plain.step(frames[t], ids[0] if t == 0 else None)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half.step(frames[t], ids[0] if t == 0 else None)
    assert half.probabilities.dtype == half.memory.kappa.dtype == torch.float32
    assert half.probabilities.isfinite().all()
    assert (plain.probabilities - half.probabilities).abs().mean() < 0.02


def test_mistakes_are_named(model):
    ids = tiny.squares(1, 1)[0]
    image = tiny.images(ids[None])[0]

    def refused(message, *args, session=None, **kwargs):
        with pytest.raises(ValueError, match=message):
            (session or VOSSession(model)).step(*args, **kwargs)

    refused(r"tensor \(3, H, W\), not \(1, 3, 32, 48\)", image[None])
    refused("not ndarray|not .32, 48, 3.", image.permute(1, 2, 0).numpy())
    refused("the image is torch.uint8; normalise", (image * 0).byte())
    refused(r"integer ids, not torch.float32", image, ids.float())
    refused(r"integer ids, not torch.int64 of shape \(1, 32, 48\)", image, ids[None])
    refused(r"frame 0 is \(32, 40\), but predictions are \(32, 48\)", image, ids[:, :40])
    refused(r"ids are 1 to 254, but the mask holds \[0, 300\]", image, ids * 300)
    refused("nothing but 0 and 255", image, ids * 255)
    refused("the key holds NaN", image / 0, ids)
    session = VOSSession(model)
    session.step(image, ids)
    refused(
        r"frame 1 is \(32, 47\), but the first was \(32, 48\)", image[..., :47], session=session
    )
    session.step(image, last=True)
    refused("the last frame was taken already", image, session=session)
    with pytest.raises(ValueError, match="mem_every must be"):
        VOSSession(model, mem_every=0)
    with pytest.raises(ValueError, match="size is None"):
        VOSSession(model, size=3).step(image, ids)
    with pytest.raises(ValueError, match="in training mode"):
        VOSSession(tiny.build()).step(image, ids)
