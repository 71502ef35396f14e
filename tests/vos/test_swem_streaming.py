"""SWEM in mmengine's test loop: one frame after the other."""

from __future__ import annotations

import copy
import zlib

import pytest
import torch

from mmkd_ext.vos import VOSDataSample, VOSSession

from . import tiny


def stream(ids, video="a", given=(0,)):
    """What the loader hands out, frame by frame: uint8 images, and masks where they are given."""
    generator = torch.Generator().manual_seed(len(video))
    colours = torch.randint(0, 256, (256, 3), generator=generator, dtype=torch.uint8)
    for t, mask in enumerate(ids):
        sample = VOSDataSample(
            metainfo=dict(
                video=video, frame=f"{t:05d}", index=t, num_frames=len(ids),
                ori_shape=tuple(mask.shape), is_first=t == 0, is_last=t == len(ids) - 1,
            )
        )  # fmt: skip
        if t in given:
            sample.given_mask = mask.to(torch.uint8)
        yield dict(inputs=[colours[mask].permute(2, 0, 1)], data_samples=[sample])


def streaming_model(**test_cfg):
    model = tiny.build(
        data_preprocessor=dict(type="VOSDataPreprocessor", _scope_="mmkd_ext"), test_cfg=test_cfg
    )
    return model.eval()


def test_predict_is_a_session():
    model = streaming_model(size=48, mem_every=2)
    ids = tiny.squares(4, 2)
    found = [model.test_step(data)[0] for data in stream(ids)]
    session = VOSSession(model, size=48, mem_every=2, seed=zlib.crc32(b"a"))
    for t, data in enumerate(stream(ids)):
        image = model.data_preprocessor(data)["inputs"][0]
        expected = session.step(image, ids[t] if t == 0 else None, last=t == 3)
        assert found[t].pred_mask.dtype == torch.uint8
        assert torch.equal(found[t].pred_mask, expected)
        assert found[t].frame == f"{t:05d}"
    assert torch.equal(found[0].pred_mask.long(), ids[0])


def test_videos_do_not_depend_on_their_order():
    model = streaming_model()
    videos = {"a": tiny.squares(3, 2), "bc": tiny.squares(4, 1, size=(48, 32))}
    runs = []
    for order in (("a", "bc"), ("bc", "a"), ("bc",)):
        torch.manual_seed(len(runs))
        runs.append(
            {v: [model.val_step(d)[0].pred_mask for d in stream(videos[v], v)] for v in order}
        )
    for masks in zip(runs[0]["a"], runs[1]["a"], strict=True):
        assert torch.equal(*masks)
    for one, two, three in zip(*(run["bc"] for run in runs), strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


def test_a_video_ends_with_its_last_frame_with_training_and_in_a_copy():
    model = streaming_model()
    first, second, last = stream(tiny.squares(3, 1))
    message = r"frame '00001' of video 'a' came while None was running"
    with pytest.raises(ValueError, match=message):
        model.test_step(second)
    model.test_step(first)
    with pytest.raises(ValueError, match=message):
        copy.deepcopy(model).test_step(second)
    model.test_step(second)
    model.test_step(last)
    with pytest.raises(ValueError, match=message):
        model.test_step(second)
    model.test_step(first)
    model.train().eval()
    with pytest.raises(ValueError, match=message):
        model.test_step(second)


def test_a_frame_that_is_not_finite_is_named():
    model = streaming_model()
    first, *_ = stream(tiny.squares(2, 1))
    with torch.no_grad():
        model.key_proj.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"video 'a', frame '00000': .* the key holds NaN"):
        model.test_step(first)
