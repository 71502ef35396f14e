"""Whole videos in one process, frames in order, the work dealt out evenly."""

import pytest

from mmkd_ext.frames.dealing import deal
from mmkd_ext.registry import DATA_SAMPLERS, DATASETS

from .video_files import TEST_PIPELINE, Square, write_davis


def test_videos_are_dealt_out_whole_and_evenly():
    counts = [90, 10, 70, 40, 30, 60, 20, 80]
    for players in (1, 2, 3, 8):
        hands = deal(counts, players)
        assert sorted(video for hand in hands for video in hand) == list(range(8))
        assert all(hand == sorted(hand) for hand in hands)
        loads = [sum(counts[video] for video in hand) for hand in hands]
        assert max(loads) - min(loads) <= (80 if players == 8 else 20)
    assert deal([5, 5], 3) == [[0], [1], []]
    assert deal([5, 5, 5], 1) == [[0, 1, 2]]


def test_the_sampler_gives_pairs_of_video_and_frame(tmp_path):
    write_davis(tmp_path, {"a": [Square(1)]}, length=3)
    write_davis(tmp_path, {"b": [Square(1)]}, length=2)
    (tmp_path / "ImageSets" / "2017" / "val.txt").write_text("a\nb\n")
    setting = dict(
        type="mmkd_ext.DAVISDataset", data_root=str(tmp_path), split="val", pipeline=TEST_PIPELINE
    )
    dataset = DATASETS.build(dict(setting, test_mode=True))
    sampler = DATA_SAMPLERS.build(dict(type="mmkd_ext.VideoFrameSampler", dataset=dataset, seed=3))
    assert list(sampler) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert len(sampler) == 5
    sampler.set_epoch(4)
    assert next(iter(sampler)) == (0, 0)
    assert len(dataset) == 2  # its length is the videos
    some = DATASETS.build(dict(setting, test_mode=True, indices=[1]))
    pairs = list(DATA_SAMPLERS.build(dict(type="mmkd_ext.VideoFrameSampler", dataset=some)))
    assert pairs == [(0, 0), (0, 1)]
    assert some[pairs[1]]["data_samples"].video == "b"
    train = DATASETS.build(dict(setting, min_frames=2))
    with pytest.raises(ValueError, match="test_mode=True, but got DAVISDataset without it"):
        DATA_SAMPLERS.build(dict(type="mmkd_ext.VideoFrameSampler", dataset=train))
    with pytest.raises(ValueError, match="wants a video dataset"):
        DATA_SAMPLERS.build(dict(type="mmkd_ext.VideoFrameSampler", dataset=[1, 2]))
