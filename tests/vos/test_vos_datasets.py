"""Datasets on real files: layouts, late objects, video files, stills; read as they are used."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from PIL import Image

from mmkd_ext.registry import DATASETS
from mmkd_ext.vos.datasets import DAVISDataset, FolderVOSDataset, StaticVOSDataset, VOSVideoDataset
from mmkd_ext.vos.masks import davis_palette, write_mask
from tests.logs import logged

from .video_files import (
    COLOURS,
    LOAD_CLIP,
    PACK_CLIP,
    TEST_PIPELINE,
    TWO,
    Square,
    draw,
    still,
    write_davis,
    write_meta,
    write_mp4,
    write_video,
)

CLIP = [dict(type="mmkd_ext.SampleClip", reverse_prob=0.0), *LOAD_CLIP, *PACK_CLIP]


def loader(dataset: dict, workers: int = 0):
    return Runner.build_dataloader(
        dict(
            batch_size=1,
            num_workers=workers,
            sampler=dict(type="mmkd_ext.VideoFrameSampler"),
            dataset=dict(test_mode=True, pipeline=TEST_PIPELINE, **dataset),
        ),
        seed=0,
    )


def frames(dataset: dict, workers: int = 0) -> list:
    """Image and sample of every frame, as the test loop gets them."""
    return [(batch["inputs"][0], batch["data_samples"][0]) for batch in loader(dataset, workers)]


def ids(mask) -> list[int]:
    return mask.unique().tolist()


def test_a_training_clip_of_davis_2017(tmp_path):
    truth = write_davis(tmp_path, {"bear": TWO, "short": TWO}, split="train", length=8)["bear"]
    for image in sorted((tmp_path / "JPEGImages" / "480p" / "short").iterdir())[2:]:
        image.unlink()
    dataset = DATASETS.build(
        dict(type="mmkd_ext.DAVISDataset", data_root=str(tmp_path), pipeline=CLIP)
    )
    assert len(dataset) == 1  # two frames are too short for a clip of three
    assert dataset.metainfo["palette"] == davis_palette()
    np.random.seed(0)
    item = dataset[0]
    clip, sample = item["inputs"], item["data_samples"]
    assert (clip.shape, clip.dtype) == ((3, 3, 48, 64), torch.uint8)
    assert (sample.gt_masks.shape, sample.gt_masks.dtype) == ((3, 48, 64), torch.int64)
    assert sample.valid_objects.tolist() == [True, True]
    assert (sample.video, sample.ori_shape) == ("bear", (48, 64))
    for frame, image, mask in zip(sample.frames, clip, sample.gt_masks, strict=True):
        expected = truth[int(frame)]
        assert ids(mask) == [0, 1, 2]
        assert ((mask > 0).numpy() == (expected > 0)).all()
        # RGB: object 1 is red and object 2 green, whatever their new numbers.
        for number, channel in ((1, 0), (2, 1)):
            inside = cv2.erode((expected == number).astype(np.uint8), np.ones((5, 5))) > 0
            colour = image[:, torch.from_numpy(inside)].float().mean(dim=1)
            assert abs(colour - torch.tensor(COLOURS[number])).max() < 12
            assert int(colour.argmax()) == channel


def test_the_same_seed_draws_the_same_clip_in_any_order(tmp_path):
    write_davis(tmp_path, {"a": TWO, "b": TWO}, split="train", length=12)
    dataset = DAVISDataset(data_root=str(tmp_path), pipeline=CLIP)
    drawn = []
    for order in ((0, 1), (1, 0)):
        clips = {}
        for index in order:
            np.random.seed(7 + index)
            clips[index] = dataset[index]["data_samples"].frames
        drawn.append(clips)
    assert drawn[0] == drawn[1]


def test_davis_2016_merges_the_objects(tmp_path):
    write_davis(tmp_path, {"a": TWO}, year=2016)
    # The official lists of 2016 name files.
    path = tmp_path / "ImageSets" / "2016" / "val.txt"
    path.write_text(
        "".join(
            f"/JPEGImages/480p/a/0000{t}.jpg /Annotations/480p/a/0000{t}.png\n" for t in range(6)
        )
    )
    found = frames(
        dict(type="mmkd_ext.DAVISDataset", data_root=str(tmp_path), year=2016, split="val")
    )
    assert len(found) == 6
    assert all(ids(sample.gt_mask) == [0, 1] for _, sample in found)
    assert ids(found[0][1].given_mask) == [0, 1]
    # Masks of 0 and 255, as some copies have them.
    for file in (tmp_path / "Annotations" / "480p" / "a").iterdir():
        mask = np.where(np.array(Image.open(file)) > 0, 255, 0).astype(np.uint8)
        Image.fromarray(mask).save(file)
    again = frames(
        dict(type="mmkd_ext.DAVISDataset", data_root=str(tmp_path), year=2016, split="val")
    )
    for (_, before), (_, after) in zip(found, again, strict=True):
        assert torch.equal(before.gt_mask, after.gt_mask)


def test_frames_of_davis_come_in_order_with_their_flags(tmp_path):
    truth = write_davis(tmp_path, {"b": TWO, "a": TWO}, length=4)
    found = frames(dict(type="mmkd_ext.DAVISDataset", data_root=str(tmp_path), split="val"))
    samples = [sample for _, sample in found]
    assert [(s.video, s.frame, s.index) for s in samples] == [
        (video, f"0000{t}", t) for video in "ba" for t in range(4)
    ]
    assert [s.is_first for s in samples] == [True, False, False, False] * 2
    assert [s.is_last for s in samples] == [False, False, False, True] * 2
    assert {s.num_frames for s in samples} == {4}
    for image, sample in found:
        assert (image.shape, image.dtype) == ((3, 48, 64), torch.uint8)
        assert sample.gt_mask.dtype == torch.uint8
        np.testing.assert_array_equal(sample.gt_mask.numpy(), truth[sample.video][sample.index])
        assert ("given_mask" in sample) == sample.is_first
        assert sample.save


def test_test_dev_has_first_masks_only(tmp_path):
    write_davis(tmp_path, {"a": TWO}, split="test-dev", masked=[0])
    found = frames(dict(type="mmkd_ext.DAVISDataset", data_root=str(tmp_path), split="test-dev"))
    assert ["given_mask" in sample for _, sample in found] == [True] + [False] * 5
    assert not any("gt_mask" in sample for _, sample in found)


def test_objects_appear_when_their_first_mask_comes(tmp_path):
    """As in DAVIS's judo sequence with a mask a new object, one of them a column too narrow."""
    begin = {1: 0, 2: 5, 3: 8, 4: 13}
    write_video(tmp_path / "JPEGImages" / "judo", tmp_path, TWO, length=16, masked=[])
    for number, t in begin.items():
        mask = draw(t, (48, 63 if t == 5 else 64), [Square(number, place=(3, 3), step=(1, 1))])[1]
        write_mask(tmp_path / "Annotations" / "judo" / f"{t:05d}.png", mask)
    with logged() as lines:
        found = frames(dict(type="mmkd_ext.FolderVOSDataset", data_root=str(tmp_path)))
    given = {s.index: ids(s.given_mask) for _, s in found if "given_mask" in s}
    assert given == {t: [0, number] for number, t in begin.items()}
    assert all(s.given_mask.shape == (48, 64) for _, s in found if "given_mask" in s)
    assert not any("gt_mask" in sample for _, sample in found)
    assert len([line for line in lines if "63x48" in line]) == 1


def test_an_old_id_in_a_later_mask_is_not_given_again(tmp_path):
    squares = [Square(1), Square(7, place=(30, 40), step=(0, -1), begin=3)]
    truth = write_video(
        tmp_path / "JPEGImages" / "v", tmp_path / "Annotations" / "v", squares, masked=[1, 3, 4]
    )
    setting = dict(type="mmkd_ext.VOSVideoDataset", data_root=str(tmp_path))
    found = [sample for _, sample in frames(setting)]
    assert [s.frame for s in found] == ["00001", "00002", "00003", "00004", "00005"]
    assert [ids(s.given_mask) for s in found if "given_mask" in s] == [[0, 1], [0, 7]]
    np.testing.assert_array_equal(found[2].given_mask.numpy() == 7, truth[3] == 7)
    assert found[0].is_first
    assert [s.index for s in found if "gt_mask" in s] == [0, 2, 3]
    assert ids(found[3].gt_mask) == [0, 1, 7]
    first = [sample for _, sample in frames(dict(setting, given="first"))]
    assert [s.index for s in first if "given_mask" in s] == [0]


def test_a_folder_of_black_and_white_masks(tmp_path):
    for name, folder in (("v", "Annotations"), ("w", "Annotations")):
        write_video(tmp_path / "JPEGImages" / name, tmp_path / folder / name, [Square(1)], length=3)
    for file in (tmp_path / "Annotations" / "v").iterdir():
        Image.fromarray(np.array(Image.open(file)) * 255).save(file)
    found = {
        s.video: ids(s.gt_mask)
        for _, s in frames(dict(type="mmkd_ext.VOSVideoDataset", data_root=str(tmp_path)))
    }
    assert found == {"v": [0, 1], "w": [0, 1]}
    kept = frames(
        dict(type="mmkd_ext.VOSVideoDataset", data_root=str(tmp_path), binary=False, given="first")
    )
    assert ids(kept[0][1].gt_mask) == [0, 255]  # void
    assert ids(kept[0][1].given_mask) == [0]


def test_hidden_files_and_names_with_blanks(tmp_path):
    """Archives made on a Mac hold a ``._00000.png`` beside each file."""
    folders = tmp_path / "JPEGImages" / "my video", tmp_path / "Annotations" / "my video"
    write_video(*folders, [Square(1)], length=3)
    for folder, name in zip(folders, ("._00000.jpg", "._00000.png"), strict=True):
        (folder / name).write_bytes(b"Mac OS X")
    (tmp_path / "list.txt").write_text("my video\n\n")
    dataset = dict(type="mmkd_ext.VOSVideoDataset", data_root=str(tmp_path), ann_file="list.txt")
    found = frames(dataset)
    assert [(s.video, s.frame) for _, s in found] == [("my video", f"0000{t}") for t in range(3)]
    shutil.copy(folders[0] / "00001.jpg", folders[0] / "00001.png")
    with pytest.raises(ValueError, match="several images are called 00001; a frame is one image"):
        frames(dataset)


def youtube(root: Path) -> None:
    """A video with ids 2 and 7, 7 late; all frames, but annotations of every other one."""
    squares = [Square(2), Square(7, place=(30, 40), step=(0, -1), begin=4)]
    write_video(
        root / "valid_all_frames" / "JPEGImages" / "vid",
        root / "valid" / "Annotations" / "vid",
        squares,
        length=9,
        masked=[2, 4],
    )
    every_other = ["00002", "00004", "00006", "00008"]
    objects = {2: ("cat", every_other), 7: ("newt", every_other[1:])}
    write_meta(root / "valid" / "meta.json", {"vid": objects})


def test_youtube_vos(tmp_path):
    youtube(tmp_path)
    setting = dict(type="mmkd_ext.YouTubeVOSDataset", data_root=str(tmp_path), split="valid")
    found = [sample for _, sample in frames(setting)]
    assert [s.frame for s in found] == [f"0000{t}" for t in range(2, 9)]
    assert [s.save for s in found] == [True, False, True, False, True, False, True]
    given = {s.frame: ids(s.given_mask) for s in found if "given_mask" in s}
    assert given == {"00002": [0, 2], "00004": [0, 7]}
    assert found[0].categories == {2: "cat", 7: "newt"}
    assert not any("gt_mask" in s for s in found)

    shutil.copytree(
        tmp_path / "valid" / "Annotations", tmp_path / "valid_all_frames" / "Annotations"
    )
    (tmp_path / "valid" / "meta.json").rename(tmp_path / "valid_all_frames" / "meta.json")
    assert [s.frame for _, s in frames(setting)] == [s.frame for s in found]
    (tmp_path / "valid_all_frames" / "Annotations" / "vid" / "00004.png").unlink()
    with pytest.raises(ValueError, match=r"object 7 of video 'vid' begins at frame 00004, but"):
        frames(setting)
    (tmp_path / "valid_all_frames" / "meta.json").unlink()
    with pytest.raises(ValueError, match=r"testing needs meta\.json, but there is neither"):
        frames(setting)


def test_youtube_vos_for_training(tmp_path):
    root = tmp_path / "train_480p"
    write_video(
        root / "JPEGImages" / "vid", root / "Annotations" / "vid", [Square(2)], masked=[0, 2, 4]
    )
    setting = dict(
        type="mmkd_ext.YouTubeVOSDataset",
        data_root=str(tmp_path),
        folder="train_480p",
        pipeline=CLIP,
    )
    item = DATASETS.build(setting)[0]
    assert item["data_samples"].frames == ["00000", "00002", "00004"]
    assert item["data_samples"].valid_objects.tolist() == [True, False]
    assert ids(item["data_samples"].gt_masks) == [0, 1]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_video_file_is_read_in_order_also_by_workers(tmp_path, workers):
    images = [draw(t, (48, 64), TWO)[0] for t in range(8)]
    write_mp4(tmp_path / "JPEGImages" / "clip.mp4", images)
    write_mask(tmp_path / "Annotations" / "clip" / "00001.png", draw(1, (48, 64), TWO)[1])
    found = frames(dict(type="mmkd_ext.FolderVOSDataset", data_root=str(tmp_path)), workers)
    assert [s.frame for _, s in found] == [f"0000{t}" for t in range(1, 8)]
    assert ids(found[0][1].given_mask) == [0, 1, 2]
    for image, sample in found:
        t = int(sample.frame)
        expected = draw(t, (48, 64), TWO)[0]
        distance = np.abs(image.permute(1, 2, 0).numpy().astype(int) - expected).mean()
        others = [
            np.abs(image.permute(1, 2, 0).numpy().astype(int) - draw(u, (48, 64), TWO)[0]).mean()
            for u in range(9)
            if u != t
        ]
        assert distance < 10
        assert distance < min(others)


def test_video_files_are_for_testing(tmp_path):
    write_mp4(tmp_path / "JPEGImages" / "clip.mp4", [draw(0, (48, 64), TWO)[0]] * 4)
    with pytest.raises(ValueError, match=r"clip\.mp4: video files can only be tested"):
        FolderVOSDataset(data_root=str(tmp_path), test_mode=False)
    (tmp_path / "JPEGImages" / "clip.mp4").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"clip\.mp4: OpenCV cannot open"):
        FolderVOSDataset(data_root=str(tmp_path))


def test_frames_are_in_natural_order(tmp_path):
    images, masks = tmp_path / "JPEGImages" / "v", tmp_path / "Annotations" / "v"
    images.mkdir(parents=True)
    for t in (1, 2, 10, 11):
        Image.fromarray(draw(t, (48, 64), TWO)[0]).save(images / f"frame{t}.png")
        write_mask(masks / f"frame{t}.png", draw(t, (48, 64), TWO)[1])
    found = frames(dict(type="mmkd_ext.VOSVideoDataset", data_root=str(tmp_path)))
    assert [s.frame for _, s in found] == ["frame1", "frame2", "frame10", "frame11"]


def test_stills(tmp_path):
    for index in range(3):
        still(tmp_path, "BIG", f"{index}", (200, 10, 10))
    still(tmp_path, "FSS", "ab_wheel/1", (10, 200, 10), ".png")
    keep = [dict(type="mmkd_ext.SynthesizeClip"), *PACK_CLIP]
    dataset = StaticVOSDataset(sets=dict(BIG=5, FSS=1), data_root=str(tmp_path), pipeline=keep)
    assert len(dataset) == 3 * 5 + 1
    names = [dataset.get_data_info(i)["video"] for i in range(16)]
    assert sorted(set(names)) == ["BIG/0", "BIG/1", "BIG/2", "FSS/ab_wheel/1"]
    np.random.seed(0)
    sample = dataset[15]["data_samples"]
    assert sample.gt_masks.shape == (3, 40, 60)
    assert sample.video == "FSS/ab_wheel/1"

    seen = StaticVOSDataset(
        sets=dict(BIG=1, FSS=1), data_root=str(tmp_path), num_objects=3, pipeline=[]
    )
    others = [[o["video"] for o in seen[0]["others"]] for _ in range(60)]
    assert all(len(set(pair)) == 2 and "BIG/0" not in pair for pair in others)
    counts = [sum(name in pair for pair in others) for name in ("BIG/1", "BIG/2", "FSS/ab_wheel/1")]
    assert min(counts) > 25  # 40 expected of each

    with pytest.raises(ValueError, match="set 'DUTS': there are no images"):
        StaticVOSDataset(sets=dict(DUTS=1), data_root=str(tmp_path))
    with pytest.raises(ValueError, match="5 objects a clip, but 4 images"):
        StaticVOSDataset(sets=dict(BIG=1, FSS=9), data_root=str(tmp_path), num_objects=5)
    (tmp_path / "Annotations" / "BIG" / "1.png").unlink()
    with pytest.raises(ValueError, match=r"1\.jpg has no mask .*1\.png"):
        StaticVOSDataset(sets=dict(BIG=1), data_root=str(tmp_path))


def test_a_clip_is_drawn_until_its_first_frame_shows_an_object(tmp_path):
    late = [Square(1, begin=5)]
    write_davis(tmp_path, {"v": late}, split="train", length=8)
    dataset = DAVISDataset(data_root=str(tmp_path), pipeline=CLIP)
    np.random.seed(3)
    for _ in range(8):
        sample = dataset[0]["data_samples"]
        assert sample.frames[0] >= "00005"
        assert sample.gt_masks[0].any()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("list", r"2017/val\.txt: there is no such list of videos"),
        ("frames", r"video 'v' has no frames: neither images in .*/v nor a file"),
        ("masks", r"no mask of video 'v': there is no .*/v/<frame>\.png .*\(00000 \.\.\. 00005\)"),
        ("empty", "the masks of video 'v' are empty"),
    ],
)
def test_what_is_missing_is_told(tmp_path, damage, message):
    write_davis(tmp_path, {"v": TWO})
    if damage == "list":
        (tmp_path / "ImageSets" / "2017" / "val.txt").unlink()
    elif damage == "empty":
        for file in (tmp_path / "Annotations" / "480p" / "v").iterdir():
            write_mask(file, np.zeros((48, 64), np.uint8))
    else:
        folder = "JPEGImages" if damage == "frames" else "Annotations"
        shutil.rmtree(tmp_path / folder / "480p" / "v")
    with pytest.raises(ValueError, match=message):
        DAVISDataset(data_root=str(tmp_path), split="val", given="new", test_mode=True)


def test_wrong_settings_are_told(tmp_path):
    write_davis(tmp_path, {"v": TWO})
    with pytest.raises(ValueError, match="year is 2016 or 2017, not 2018"):
        DAVISDataset(year=2018)
    with pytest.raises(ValueError, match="given is 'first' or 'new', not 'all'"):
        VOSVideoDataset(given="all")
    dataset = DAVISDataset(data_root=str(tmp_path), split="val", test_mode=True)
    with pytest.raises(ValueError, match=r"an index is \(video, frame\), but got 0"):
        dataset[0]
    with pytest.raises(ValueError, match="no video to use"):
        DAVISDataset(data_root=str(tmp_path), split="val", min_frames=7)
