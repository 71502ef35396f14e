"""Several views of one video: what their mean is, and that mirroring changes nothing it must not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmkd_ext.vos import VOSInferencer, VOSSession
from mmkd_ext.vos.augmented_session import AugmentedSession, open_session

from . import tiny


@pytest.fixture(scope="module")
def model():
    return tiny.build().eval()


def follow(session, frames, masks):
    """The probabilities of every frame."""
    found = []
    for t, frame in enumerate(frames):
        ids = session.step(frame, masks.get(t), last=t == len(frames) - 1)
        table = torch.tensor([0, *session.objects], dtype=torch.uint8)
        assert torch.equal(ids, table[session.probabilities.argmax(dim=0)])
        found.append(session.probabilities)
    return found


def test_it_is_the_mean_of_sessions_that_know_nothing_of_each_other(model):
    """Objects 7 and 3; 3 comes late, and 7 is given up before the end."""
    ids = tiny.squares(4, 2)
    frames = tiny.images(ids)
    masks = {0: (ids[0] == 1) * 7, 2: (ids[2] == 2) * 3}
    together = follow(AugmentedSession(model, seed=4, scales=(1.0, 0.75), flip=True), frames, masks)
    mirrored = {t: mask.flip(-1) for t, mask in masks.items()}
    alone = []
    for size in (None, (24, 36)):
        alone.append(follow(VOSSession(model, size, seed=4), frames, masks))
        turned = follow(VOSSession(model, size, seed=4), frames.flip(-1), mirrored)
        alone.append([one.flip(-1) for one in turned])
    for mean, *parts in zip(together, *alone, strict=True):
        torch.testing.assert_close(mean, torch.stack(parts).mean(dim=0))
    assert not torch.allclose(together[1], alone[0][1], atol=1e-3)


def test_a_symmetric_video_gets_symmetric_masks(model):
    ids = torch.zeros(3, 32, 48, dtype=torch.long)
    ids[:, 8:24, 16:32] = 1
    frames = tiny.images(ids)
    frames = (frames + frames.flip(-1)) / 2
    found = follow(AugmentedSession(model, flip=True), frames, {0: ids[0]})
    plain = follow(VOSSession(model), frames, {0: ids[0]})
    for t in (1, 2):
        torch.testing.assert_close(found[t], found[t].flip(-1), rtol=1e-4, atol=1e-6)
        assert not torch.allclose(plain[t], plain[t].flip(-1), rtol=1e-4, atol=1e-6)


def test_objects_are_given_up_in_all_views(model):
    ids = tiny.squares(3, 2)
    frames = tiny.images(ids)
    session = open_session(model, flip=True)
    session.step(frames[0], ids[0])
    bytes_of_two = session.num_bytes
    session.remove(1)
    assert session.objects == [2]
    assert set(session.step(frames[1]).unique().tolist()) <= {0, 2}
    assert session.frame == 2
    assert session.probabilities.shape == (2, 32, 48)
    assert session.num_bytes < bytes_of_two


def test_one_view_is_a_plain_session(model):
    assert isinstance(open_session(model, scales=[0.5]), VOSSession)
    assert isinstance(open_session(model, flip=True), AugmentedSession)


@pytest.mark.parametrize("scales", [(), 1.0, "12", [0], [-1.0], [None], [float("nan")], [True]])
def test_scales_that_are_none(model, scales):
    with pytest.raises(ValueError, match=r"scales? is a (list of )?factor"):
        open_session(model, scales=scales)
    with pytest.raises(ValueError, match=r"scales? is a (list of )?factor"):
        tiny.build(test_cfg=dict(scales=scales))


def test_in_testing_and_in_inference():
    """``test_cfg`` and the inferencer's arguments open the same session."""
    ids = tiny.squares(3, 1)
    pixels = (tiny.images(ids) * 40 + 110).clamp(0, 255).byte()
    pixels = [frame.permute(1, 2, 0).numpy() for frame in pixels]
    mask = ids[0].numpy().astype(np.uint8)
    by_config = VOSInferencer(tiny.build(test_cfg=dict(flip=True, scales=[1.0, 1.5])), seed=1)
    by_argument = VOSInferencer(tiny.build(), flip=True, scales=[1.0, 1.5], seed=1)
    switched_off = VOSInferencer(
        tiny.build(test_cfg=dict(flip=True, scales=[1.0, 1.5])), flip=False, scales=[1], seed=1
    )
    results = []
    for inferencer in (by_config, by_argument, switched_off, VOSInferencer(tiny.build(), seed=1)):
        list(inferencer(pixels, masks={0: mask}))
        results.append(inferencer.session.probabilities)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[2], results[3])
    assert not torch.equal(results[0], results[2])
