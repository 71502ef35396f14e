"""The digit world in motion: DAVIS's form, real digits, objects that hide one another and enter."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from mmkd_ext import demo_data
from mmkd_ext.demo_data import digits, scenes, vos_digits
from mmkd_ext.registry import DATASETS, METRICS, MODELS
from mmkd_ext.vos.masks import davis_palette, read_mask, read_palette

BASE = Path(__file__).parents[2] / "configs" / "_base_" / "datasets" / "vos_digits.py"


@pytest.fixture(scope="module")
def root() -> Path:
    return Path(demo_data.ensure("vos_digits"))


@pytest.fixture(scope="module")
def world() -> dict[str, vos_digits.Clip]:
    return {
        f"{split}-{index:03d}": vos_digits.clip(split, index)
        for split, count in vos_digits.CLIPS.items()
        for index in range(count)
    }


def objects_of(clip: vos_digits.Clip) -> dict[int, int]:
    """Index among the tracks -> id."""
    return {index: track.number for index, track in enumerate(clip.tracks) if track.number}


def test_it_is_laid_out_as_davis_2017(root, world):
    listed = []
    for split, count in vos_digits.CLIPS.items():
        lines = (root / "ImageSets" / "2017" / f"{split}.txt").read_text().split()
        assert len(lines) == count
        listed += lines
    assert listed == list(world)
    for folder, suffix in (("JPEGImages", ".jpg"), ("Annotations", ".png")):
        assert sorted(p.name for p in (root / folder / "480p").iterdir()) == sorted(listed)
        for name in listed:
            files = sorted(p.name for p in (root / folder / "480p" / name).iterdir())
            assert files == [f"{t:05d}{suffix}" for t in range(len(world[name]))]
            assert 12 <= len(files) <= 16
    assert read_palette(root / "Annotations" / "480p" / "val-000" / "00000.png") == davis_palette()


def test_files_are_what_is_drawn_however_often(root):
    for split, index in (("train", 63), ("val", 0), ("test", 7)):
        name = f"{split}-{index:03d}"
        for t, (image, mask) in enumerate(vos_digits.render(vos_digits.clip(split, index))):
            np.testing.assert_array_equal(
                read_mask(root / "Annotations" / "480p" / name / f"{t:05d}.png"), mask
            )
            stored = np.array(Image.open(root / "JPEGImages" / "480p" / name / f"{t:05d}.jpg"))
            assert stored.shape == image.shape == (128, 128, 3)
            assert np.abs(stored.astype(int) - image).mean() < 3


def test_every_split_has_its_own_digits(world):
    used: dict[str, set[int]] = {split: set() for split in vos_digits.CLIPS}
    for name, clip in world.items():
        split = name.split("-")[0]
        sources = [track.source for track in clip.tracks if track.source is not None]
        assert set(sources) <= set(digits.load().splits[split].tolist())
        used[split].update(sources)
    assert all(not used[a] & used[b] for a, b in combinations(used, 2))


def test_there_is_some_of_everything(world):
    train = [clip for name, clip in world.items() if name.startswith("train")]
    for clips, least in ((train, 0.15), (list(world.values())[64:], 0.1)):
        kinds = {
            "one object": [len(objects_of(c)) == 1 for c in clips],
            "two objects": [len(objects_of(c)) == 2 for c in clips],
            "three objects": [len(objects_of(c)) == 3 for c in clips],
            "a digit nobody asks for": [
                any(t.source is not None and not t.number for t in c.tracks) for c in clips
            ],
            "something in front": [any(t.shape is not None for t in c.tracks) for c in clips],
            "a background that moves": [len(set(c.windows)) > 1 for c in clips],
            "a background that rests": [len(set(c.windows)) == 1 for c in clips],
            "a late object": [any(t.enters and t.number for t in c.tracks) for c in clips],
        }
        for kind, flags in kinds.items():
            assert least < np.mean(flags) < 0.85, kind


def test_masks_hold_what_can_be_seen_from_the_right_frame_on(world):
    hidden = frames = late = 0
    for clip in list(world.values())[::2]:
        pictures = [vos_digits.draw_frame(clip, t) for t in range(len(clip))]
        masks = [mask for _, mask in vos_digits.render(clip)]
        assert sorted(objects_of(clip).values()) == list(range(1, len(objects_of(clip)) + 1))
        for index, number in objects_of(clip).items():
            track = clip.tracks[index]
            labelled = [bool((mask == number).any()) for mask in masks]
            begin = labelled.index(True)
            assert (begin > 0) == track.enters
            assert begin <= len(clip) * 2 / 3
            late += begin > 0
            for t in range(len(clip)):
                sprite = vos_digits.sprite(track, t, len(clip))
                seen = pictures[t].mask(index)
                if t < begin:
                    assert not (masks[t] == number).any()
                    continue
                np.testing.assert_array_equal(masks[t] == number, seen)
                share = seen.sum() / (sprite.coverage >= scenes.SOLID).sum()
                if t == begin:
                    assert share >= 0.7
                hidden += share < 0.9
                frames += 1
        asked = np.isin(masks[-1], [0, *objects_of(clip).values()])
        assert asked.all()
    assert late > 8
    assert 0.08 < hidden / frames < 0.4


def test_objects_move_smoothly_and_the_background_with_the_window(world):
    for clip in list(world.values())[::6]:
        for track in clip.tracks:
            places = [vos_digits.sprite(track, t, len(clip)) for t in range(len(clip))]
            middles = np.asarray(
                [[s.x + s.coverage.shape[1] / 2, s.y + s.coverage.shape[0] / 2] for s in places]
            )
            assert np.abs(np.diff(middles, axis=0)).max() <= 11
            sizes = [s.coverage.shape[0] for s in places]
            assert max(sizes) <= 1.25 * min(sizes)
            if track.number and not track.enters:  # never leaves
                assert min(s.x for s in places) >= -1
                assert max(s.x + s.coverage.shape[1] for s in places) <= 129
        steps = np.diff(np.asarray(clip.windows), axis=0)
        assert (steps == steps[0]).all()
        assert np.abs(steps).max() <= vos_digits.PAN


@pytest.mark.parametrize(
    ("start", "velocity", "expected"),
    [
        (40, 20, [40, 60, 80, 100, 120]),
        (480, 20, [480, 476, 456, 436, 416]),  # bounces at 128 * 4 - 24
        (30, -20, [30, 38, 58, 78, 98]),  # and at 24
        (-60, 40, [-60, -20, 20, 60, 100]),  # comes in
        (560, -40, [560, 520, 480, 440, 400]),
    ],
)
def test_bouncing(start, velocity, expected):
    assert [vos_digits.bounced(start, velocity, t, 24) for t in range(5)] == expected
    assert vos_digits.bounced(-60, 40, -3, 24) == -60


def test_the_config_reads_it_and_copying_the_first_mask_is_not_enough(root):
    cfg = Config.fromfile(BASE)
    assert "module" not in cfg.pretty_text
    torch.manual_seed(0)
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    batch = MODELS.build(cfg.data_preprocessor)(batch, training=True)
    assert batch["inputs"].shape == (4, 3, 3, 128, 128)
    assert abs(batch["inputs"].mean()) < 0.5
    assert 0.7 < batch["inputs"].std() < 1.3
    for sample in batch["data_samples"]:
        assert sample.gt_masks.shape == (3, 128, 128)
        assert sample.valid_objects[0]
        assert sample.gt_masks[0].max() == sample.valid_objects.sum()
    assert len(DATASETS.build(cfg.train_dataloader.dataset)) == 64

    loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
    copied, perfect = METRICS.build(cfg.test_evaluator), METRICS.build(cfg.test_evaluator)
    late = 0
    for frame in loader:
        [sample] = frame["data_samples"]
        if sample.is_first:
            mask = torch.zeros(128, 128, dtype=torch.uint8)
        if "given_mask" in sample:
            late += not sample.is_first
            mask = torch.where(sample.given_mask > 0, sample.given_mask, mask)
        copied.process(None, [dict(sample.to_dict(), pred_mask=mask)])
        perfect.process(None, [dict(sample.to_dict(), pred_mask=sample.gt_mask)])
    assert late >= 3
    assert perfect.evaluate(32)["davis/JF"] == 1
    figures = copied.evaluate(32)
    assert 0.02 < figures["davis/J"] < 0.25
    assert figures["davis/F"] < 0.35
