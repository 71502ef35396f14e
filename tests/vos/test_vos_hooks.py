"""The schedule of the clips' width, masks written as files, and what the speed hook counts."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

from mmkd_ext.registry import DATASETS
from mmkd_ext.vos.hooks.frame_skip import find_samplers, frame_skip
from mmkd_ext.vos.masks import read_mask, read_palette

from . import tiny
from .copy_first_mask import settings
from .video_files import LOAD_CLIP, PACK_CLIP, Square, write_davis


@pytest.mark.parametrize(
    ("iteration", "skip"),
    [
        (0, 0),
        (600, 1),
        (3000, 5),
        (7500, 12),
        (15000, 25),
        (120000, 25),
        (127500, 18),
        (135000, 10),
        (149999, 10),
    ],
)
def test_the_published_schedule(iteration, skip):
    assert frame_skip(iteration, 150_000, 25, 10) == skip


def test_the_schedule_changes_as_often_as_published():
    values = [frame_skip(iteration, 150_000, 25, 10) for iteration in range(0, 150_000, 50)]
    assert sum(a != b for a, b in pairwise(values)) == 25 + 15
    youtube = [frame_skip(iteration, 1000, 5, 2) for iteration in range(1000)]
    assert (max(youtube), youtube[-1]) == (5, 2)
    assert [frame_skip(i, 3, 5, 2) for i in range(4)] == [5, 5, 5, 2]  # too short for a ramp


class Note(Hook):
    """Notes which frames each iteration trains on, and the value at that time."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.clips: list[list[int]] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        for sample in data_batch["data_samples"]:
            self.clips.append(sorted(int(frame) for frame in sample.frames))


class Tiny(BaseModel):
    def __init__(self) -> None:
        super().__init__(dict(type="mmkd_ext.VOSDataPreprocessor"))
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, data_samples, mode):
        return dict(loss=self.weight.square().sum())


SAMPLE = [dict(type="mmkd_ext.SampleClip", max_skip=9, final_skip=0)]


def train(root: Path, work: Path, workers: int, hooks: list, sample: list = SAMPLE) -> None:
    pipeline = [*sample, *LOAD_CLIP, *PACK_CLIP]
    dataset = dict(type="mmkd_ext.DAVISDataset", data_root=str(root), pipeline=pipeline)
    Runner(
        model=Tiny(),
        work_dir=str(work),
        train_dataloader=dict(
            batch_size=1,
            num_workers=workers,
            persistent_workers=workers > 0,
            sampler=dict(type="InfiniteSampler"),
            dataset=dict(
                type="ConcatDataset",
                datasets=[dict(type="RepeatDataset", times=2, dataset=dataset)],
            ),
        ),
        train_cfg=dict(type="IterBasedTrainLoop", max_iters=40),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        custom_hooks=hooks,
        default_hooks=dict(checkpoint=None, logger=None),
        randomness=dict(seed=0),
        log_level="WARNING",
        default_scope="mmengine",
        experiment_name=f"skip_{workers}",
    ).train()


@pytest.mark.parametrize("workers", [0, 1])
def test_the_value_reaches_the_clips_also_in_a_worker(tmp_path, workers):
    write_davis(tmp_path, {"v": [Square(1, step=(0, 1))]}, split="train", length=40)
    note = Note()
    train(tmp_path, tmp_path / "work", workers, [dict(type="mmkd_ext.FrameSkipHook"), note])
    gaps = [max(np.diff(clip)) - 1 for clip in note.clips]
    allowed = [frame_skip(iteration, 40, 9, 0) for iteration in range(40)]
    assert allowed[:5] == [0, 2, 4, 6, 9]
    assert allowed[36:] == [0] * 4
    if workers:  # up to two batches are drawn ahead
        assert gaps[39] == 0
    else:
        assert all(gap <= most for gap, most in zip(gaps, allowed, strict=True))
    assert max(gaps) > 5


def test_the_hook_finds_every_sampler_and_misses_none(tmp_path):
    write_davis(tmp_path, {"v": [Square(1)]}, split="train")
    one = dict(
        type="mmkd_ext.DAVISDataset",
        data_root=str(tmp_path),
        pipeline=[dict(type="mmkd_ext.SampleClip", max_skip=3)],
    )
    other = dict(one, pipeline=[dict(type="mmkd_ext.SampleClip", max_skip=5)])
    both = DATASETS.build(
        dict(
            type="ConcatDataset", datasets=[dict(type="RepeatDataset", times=3, dataset=one), other]
        )
    )
    assert [sampler.max_skip for sampler in find_samplers(both)] == [3, 5]
    assert list(find_samplers([1, 2])) == []


def test_a_hook_without_a_sampler_is_an_error(tmp_path):
    write_davis(tmp_path, {"v": [Square(1)]}, split="train")
    with pytest.raises(ValueError, match="no dataset of train_dataloader has a SampleClip"):
        train(tmp_path, tmp_path / "work", 0, [dict(type="mmkd_ext.FrameSkipHook")], sample=[])


def test_speed_of_a_distiller_is_its_students(tmp_path):
    root = tmp_path / "data"
    write_davis(root, {"a": [Square(1)]}, length=3)
    model = dict(
        type="mmkd_ext.Distiller",
        student=tiny.config(data_preprocessor=dict(type="mmkd_ext.VOSDataPreprocessor")),
        teacher=dict(config=tiny.config()),
        losses=dict(kd=dict(type="mmkd_ext.KDLoss", tap="aggregation")),
    )
    runner = Runner.from_cfg(settings(root, tmp_path / "run", model=model))
    metrics = runner.test()
    assert metrics["speed/frames"] == 3
    assert metrics["speed/fps"] > 0
    assert not runner.model.student._forward_hooks


def test_speed_and_masks_of_a_test(tmp_path):
    root = tmp_path / "data"
    squares = [Square(1), Square(2, place=(25, 30), step=(0, 1), begin=2)]
    truth = write_davis(root, {"a": squares}, length=5)["a"]
    config = settings(root, tmp_path / "run", log_level="INFO")
    runner = Runner.from_cfg(config)
    metrics = runner.test()
    assert metrics["speed/frames"] == 5
    assert metrics["speed/fps"] > 0
    assert metrics["speed/peak_memory_mib"] > 10
    log = next((tmp_path / "run" / "work").rglob("*.log")).read_text()
    assert "VOSSpeedHook: 1 objects: 2 frames, " in log
    assert "VOSSpeedHook: 2 objects: 3 frames, " in log
    assert not runner.model._forward_hooks  # nothing stays behind
    assert not runner.model._forward_pre_hooks
    files = sorted((tmp_path / "run" / "masks" / "a").iterdir())
    assert [file.name for file in files] == [f"0000{t}.png" for t in range(5)]
    assert read_palette(files[0])[:3] == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    np.testing.assert_array_equal(read_mask(files[0]), truth[0])
    np.testing.assert_array_equal(read_mask(files[4]) == 2, truth[2] == 2)
