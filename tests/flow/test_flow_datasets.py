"""Datasets in the real layouts: which images and which ground truth make a pair."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.registry import DATASETS as ROOT
from mmengine.runner import Runner

from mmkd_ext.flow.datasets import FlowFolderDataset
from mmkd_ext.flow.formats import read_flow, write_flow
from mmkd_ext.registry import DATASETS

from .flow_files import (
    PIPELINE,
    QUICK,
    SHAPE,
    flow,
    image,
    write_chairs,
    write_folders,
    write_hd1k,
    write_image,
    write_kitti,
    write_list,
    write_middlebury,
    write_sintel,
    write_things,
)


def build(kind: str, root: Path, **setting):
    return DATASETS.build(dict(type=f"mmkd_ext.{kind}", data_root=str(root), **QUICK, **setting))


def items(dataset) -> list[dict]:
    return [dataset.get_data_info(index) for index in range(len(dataset))]


def places(dataset) -> list[tuple[str, int, str]]:
    return [(item["sequence"], item["index"], item["frame"]) for item in items(dataset)]


def check(item: dict, number: int, t: int, direction: str = "future") -> None:
    """The item's files are frame t of a sequence, its neighbour, and the flow between them."""
    other = t + 1 if direction == "future" else t - 1
    for path, frame in ((item["img1_path"], t), (item["img2_path"], other)):
        np.testing.assert_array_equal(cv2.imread(path)[..., ::-1], image(number, frame))
    found, known = read_flow(item["flow_path"])
    assert known.any()
    np.testing.assert_array_equal(found[known], flow(number, t, direction=direction)[known])


def test_flying_chairs_by_split_file(tmp_path):
    write_chairs(tmp_path, (1, 2, 1, 1))
    (tmp_path / "data" / "._00001_img1.ppm").write_bytes(b"of another system")
    train, val = (build("FlyingChairsDataset", tmp_path, split=s) for s in ("train", "val"))
    assert places(train) == [(n, 0, f"{n}_img1") for n in ("00001", "00003", "00004")]
    assert places(val) == [("00002", 0, "00002_img1")]
    assert len(build("FlyingChairsDataset", tmp_path, split="trainval")) == 4
    for item in items(train) + items(val):
        check(item, int(item["sequence"]), 0)
    item = items(val)[0]
    assert item["result_path"] == "00002/00002_img1.flo"
    assert item["sparse"] is False
    assert not {"occlusion_path", "noc_path", "invalid_path"} & set(item)


def test_flying_chairs_with_occlusions_in_other_formats(tmp_path):
    write_chairs(tmp_path, (1, 2), suffix=".png", occlusions=True)
    (item,) = items(build("FlyingChairsDataset", tmp_path))
    assert item["occlusion_path"] == str(tmp_path / "data" / "00001_occ1.png")
    check(item, 1, 0)


def test_what_is_wrong_with_flying_chairs(tmp_path):
    with pytest.raises(ValueError, match=r"chairs/data: there is no such folder"):
        build("FlyingChairsDataset", tmp_path / "chairs")
    write_chairs(tmp_path, (1, 1, 1))
    with pytest.raises(ValueError, match="puts no pair into 'val'"):
        build("FlyingChairsDataset", tmp_path, split="val")
    with pytest.raises(ValueError, match="split is one of 'train', 'val', 'trainval', not 'test'"):
        build("FlyingChairsDataset", tmp_path, split="test")
    with pytest.raises(ValueError, match=r"no\.txt: there is no such split file"):
        build("FlyingChairsDataset", tmp_path, split_file="no.txt")
    split = tmp_path / "FlyingChairs_train_val.txt"
    for content, message in (
        ("1\n2\n", r"val\.txt: 2 lines, but 3 pairs in .*data"),
        ("1\n2\n3\n", "1 .train. and 2 .val., not '3'"),
    ):
        split.write_text(content)
        with pytest.raises(ValueError, match=message):
            build("FlyingChairsDataset", tmp_path)
    for name in ("00002_flow.flo", "00003_img2.ppm", "00001_img1.ppm"):
        file = tmp_path / "data" / name
        content = file.read_bytes()
        file.unlink()
        stem = name.split(".")[0]
        with pytest.raises(ValueError, match=f"pair {stem[:5]} has no file {stem}"):
            build("FlyingChairsDataset", tmp_path)
        file.write_bytes(content)
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "data").mkdir()
    with pytest.raises(ValueError, match="FlyingChairsDataset: there is no pair of images"):
        build("FlyingChairsDataset", tmp_path)


def test_flying_things_in_both_directions(tmp_path):
    write_things(tmp_path)
    found = items(build("FlyingThings3DDataset", tmp_path))
    assert len(found) == 2 * 2 * 3  # scenes, directions, pairs of four frames
    frames = {"future": [6, 7, 8], "past": [9, 8, 7]}
    expected = [
        (f"clean/{scene}/left/{direction}", index, f"{t:04d}")
        for scene in ("A/0000", "B/0003")
        for direction in ("future", "past")
        for index, t in enumerate(frames[direction])
    ]
    assert [(item["sequence"], item["index"], item["frame"]) for item in found] == expected
    for item in found:
        number = ["A", "B"].index(item["sequence"].split("/")[1])
        check(item, number, int(item["frame"]), item["sequence"].split("/")[-1])
    assert found[0]["result_path"] == "clean/A/0000/left/future/0006.flo"
    final = build(
        "FlyingThings3DDataset",
        tmp_path,
        render_pass="final",
        directions=["past"],
        cameras=["left", "right"],
    )
    assert [s for s, index, _ in places(final) if not index] == [
        f"final/{scene}/{camera}/past"
        for scene in ("A/0000", "B/0003")
        for camera in ("left", "right")
    ]
    assert "frames_finalpass" in items(final)[0]["img1_path"]
    with pytest.raises(ValueError, match="frames_cleanpass/TEST: there is no such folder"):
        build("FlyingThings3DDataset", tmp_path, split="test")
    with pytest.raises(ValueError, match="a direction is one of 'future', 'past', not 'back'"):
        build("FlyingThings3DDataset", tmp_path, directions=["back"])


def test_flying_things_that_are_incomplete(tmp_path):
    write_things(tmp_path, cameras=["left"], passes=["clean"])
    flows = tmp_path / "optical_flow" / "TRAIN"
    one = flows / "B/0003/into_past/left/OpticalFlowIntoPast_0008_L.pfm"
    one.rename(tmp_path / "gone.pfm")
    with pytest.raises(
        ValueError, match=r"into_past/left: 3 files for 4 frames, which need 4: 8 has"
    ):
        build("FlyingThings3DDataset", tmp_path)
    (tmp_path / "gone.pfm").rename(one)
    frame = tmp_path / "frames_cleanpass/TRAIN/A/0000/left/0007.png"
    frame.rename(tmp_path / "gone.png")
    with pytest.raises(ValueError, match=r"0006\.png is followed by 0008\.png; frames are missing"):
        build("FlyingThings3DDataset", tmp_path)
    (tmp_path / "gone.png").rename(frame)
    shutil.rmtree(flows / "B" / "0003")
    with pytest.raises(ValueError, match="0003 is only in one of"):
        build("FlyingThings3DDataset", tmp_path)


def test_sintel_training(tmp_path):
    write_sintel(tmp_path, {"cave_10": 2, "cave_2": 3})
    (tmp_path / "training" / "clean" / ".cache").mkdir()
    found = items(build("SintelDataset", tmp_path))
    assert [(i["sequence"], i["index"], i["frame"], i["result_path"]) for i in found] == [
        ("clean/cave_2", 0, "frame_0001", "clean/cave_2/frame0001.flo"),
        ("clean/cave_2", 1, "frame_0002", "clean/cave_2/frame0002.flo"),
        ("clean/cave_10", 0, "frame_0001", "clean/cave_10/frame0001.flo"),
    ]
    for item, (number, t) in zip(found, ((1, 1), (1, 2), (0, 1)), strict=True):
        check(item, number, t)
        assert item["occlusion_path"].endswith(
            f"occlusions/{item['sequence'][6:]}/frame_000{t}.png"
        )
        assert "invalid_path" not in item
    final = items(build("SintelDataset", tmp_path, render_pass="final", invalid=True))
    assert {item["sequence"] for item in final} == {"final/cave_2", "final/cave_10"}
    assert final[1]["invalid_path"] == str(tmp_path / "training/invalid/cave_2/frame_0002.png")
    shutil.rmtree(tmp_path / "training" / "occlusions")
    assert "occlusion_path" not in items(build("SintelDataset", tmp_path))[0]
    with pytest.raises(ValueError, match="training/albedo: there is no such folder"):
        build("SintelDataset", tmp_path, render_pass="albedo")


def test_sintel_test_has_no_ground_truth(tmp_path):
    write_sintel(tmp_path, {"ambush_1": 4}, split="test")
    dataset = build("SintelDataset", tmp_path, split="test", render_pass="final", pipeline=PIPELINE)
    assert places(dataset) == [("final/ambush_1", t - 1, f"frame_000{t}") for t in (1, 2, 3)]
    assert not any(
        key in item for item in items(dataset) for key in ("flow_path", "occlusion_path")
    )
    sample = dataset[1]["data_samples"]
    assert "gt_flow" not in sample
    assert sample.result_path == "final/ambush_1/frame0002.flo"
    assert sample.subset == "final"
    with pytest.raises(ValueError, match="render_pass of 'test' is one of 'clean', 'final', not"):
        build("SintelDataset", tmp_path, split="test", render_pass="albedo")


def test_sintel_by_split_file(tmp_path):
    write_sintel(tmp_path, passes=["clean"], masks=False)  # 2 + 3 pairs
    (tmp_path / "split.txt").write_text("1\n2\n1\n2\n2\n")
    train, val = (
        build("SintelDataset", tmp_path, split=split, split_file="split.txt")
        for split in ("train", "val")
    )
    assert places(train) == [("clean/alley_1", 0, "frame_0001"), ("clean/cave_2", 0, "frame_0001")]
    # The place in the scene, not among the chosen: a gap is to be seen.
    assert [index for _, index, _ in places(val)] == [1, 1, 2]
    assert val.sequences() == [[0], [1, 2]]
    with pytest.raises(ValueError, match="split='val' needs a split_file; 'trainval' is all"):
        build("SintelDataset", tmp_path, split="val")
    (tmp_path / "split.txt").write_text("1\n" * 6)
    with pytest.raises(ValueError, match=r"split\.txt: 6 lines, but 5 pairs in .*clean"):
        build("SintelDataset", tmp_path, split="train", split_file="split.txt")


def test_sintel_that_is_incomplete(tmp_path):
    write_sintel(tmp_path, passes=["clean"], masks=False)
    flows = tmp_path / "training" / "flow"
    shutil.copy(flows / "cave_2" / "frame_0003.flo", flows / "cave_2" / "frame_0004.flo")
    with pytest.raises(
        ValueError, match="4 files for 4 frames, which need 3: no pair begins with fr"
    ):
        build("SintelDataset", tmp_path)
    (flows / "cave_2" / "frame_0004.flo").unlink()
    (flows / "cave_2" / "frame_0002.flo").unlink()
    with pytest.raises(ValueError, match=r"flow/cave_2: 2 files for 4 frames.*frame_0002 has none"):
        build("SintelDataset", tmp_path)
    shutil.rmtree(flows / "cave_2")
    with pytest.raises(ValueError, match="cave_2 is only in one of"):
        build("SintelDataset", tmp_path)
    shutil.rmtree(tmp_path / "training" / "clean" / "alley_1")
    (tmp_path / "training" / "clean" / "alley_1").mkdir()
    (flows / "cave_2").mkdir()
    with pytest.raises(ValueError, match="clean/alley_1: 0 images; a sequence has two or more"):
        build("SintelDataset", tmp_path)


def test_kitti_and_its_splits(tmp_path):
    write_kitti(tmp_path, 7)
    write_kitti(tmp_path, 2, split="testing")
    write_image(tmp_path / "training" / "image_2" / "000000_09.png", image(9, 9))  # multi-view
    everything = items(build("KITTI2015Dataset", tmp_path))
    assert [item["result_path"] for item in everything] == [f"00000{n}_10.png" for n in range(7)]
    assert {item["index"] for item in everything} == {0}
    assert all(item["sparse"] for item in everything)
    for n, item in enumerate(everything):
        check(item, n, 0)
        assert item["noc_path"] == str(tmp_path / "training" / "flow_noc" / f"00000{n}_10.png")

    def named(**setting) -> list[str]:
        return [place[0] for place in places(build("KITTI2015Dataset", tmp_path, **setting))]

    assert named(split="val") == ["000000", "000005"]
    assert named(split="train") == ["000001", "000002", "000003", "000004", "000006"]
    assert named(split="val", val_every=3) == ["000000", "000003", "000006"]
    test = items(build("KITTI2015Dataset", tmp_path, split="test"))
    assert [item["frame"] for item in test] == ["000000_10", "000001_10"]
    assert not any("flow_path" in item or "noc_path" in item for item in test)
    with pytest.raises(ValueError, match="val_every is an integer of 2 or more, not 1"):
        build("KITTI2015Dataset", tmp_path, val_every=1)


def test_kitti_that_is_incomplete(tmp_path):
    write_kitti(tmp_path, 3, noc=False)
    assert "noc_path" not in items(build("KITTI2015Dataset", tmp_path))[0]
    training = tmp_path / "training"
    (training / "flow_occ" / "000001_10.png").unlink()
    with pytest.raises(ValueError, match="flow_occ: 2 flow files for 3 pairs of images; 000001_10"):
        build("KITTI2015Dataset", tmp_path)
    (training / "image_2" / "000002_11.png").unlink()
    with pytest.raises(ValueError, match="000002_10 has no second image 000002_11"):
        build("KITTI2015Dataset", tmp_path)


def test_hd1k_drops_the_last_frame_of_each_sequence(tmp_path):
    write_hd1k(tmp_path, (3, 2))
    dataset = build("HD1KDataset", tmp_path)
    assert places(dataset) == [
        ("000000", 0, "000000_0009"),
        ("000000", 1, "000000_0010"),
        ("000001", 0, "000001_0009"),
    ]
    for item in items(dataset):
        check(item, int(item["sequence"]), int(item["frame"][-4:]))
        assert item["sparse"]
    flows = tmp_path / "hd1k_flow_gt" / "flow_occ"
    for file in sorted(flows.glob("000001_*")):
        shutil.copy(file, flows / file.name.replace("000001", "000002"))
    with pytest.raises(ValueError, match="sequence 000002 has flow, but no images"):
        build("HD1KDataset", tmp_path)
    (flows / "000000_0010.png").unlink()
    with pytest.raises(
        ValueError, match="2 files for 3 frames, which need 3: 000000_0010 has none"
    ):
        build("HD1KDataset", tmp_path)


def test_middlebury_has_scenes_without_ground_truth(tmp_path):
    write_middlebury(tmp_path)
    write_image(tmp_path / "other-data" / "Walking" / "frame10.png", image(8, 8))
    dataset = build("MiddleburyDataset", tmp_path, pipeline=PIPELINE, test_mode=True)
    assert places(dataset) == [("Grove2", 0, "frame10"), ("Venus", 0, "frame10")]
    check(items(dataset)[1], 1, 0)
    valid = dataset[1]["data_samples"].gt_valid
    assert not valid[:, 0].any()
    assert valid[:, 1:].all()
    (tmp_path / "other-data" / "Venus" / "frame11.png").unlink()
    with pytest.raises(ValueError, match=r"Venus/frame11\.png: there is no such file"):
        build("MiddleburyDataset", tmp_path)


@pytest.mark.parametrize("suffix", [".flo", ".pfm", ".png"])
def test_folders_with_ground_truth(tmp_path, suffix):
    write_folders(tmp_path / "images", {"a": 12, "deep/b": 2}, tmp_path / "flow", suffix)
    (tmp_path / "images" / ".thumbs").mkdir()
    shutil.copy(tmp_path / "images/a/0.png", tmp_path / "images/.thumbs/0.png")
    dataset = build(
        "FlowFolderDataset", tmp_path, data_prefix=dict(img_path="images", flow_path="flow")
    )
    assert places(dataset) == [*(("a", t, str(t)) for t in range(11)), ("deep/b", 0, "0")]
    for item, (number, t) in zip(
        items(dataset)[8:], ((0, 8), (0, 9), (0, 10), (1, 0)), strict=True
    ):
        check(item, number, t)
        assert item["sparse"] is (suffix == ".png")
    assert items(dataset)[-1]["result_path"] == "deep/b/0.flo"
    (tmp_path / "flow" / "a" / f"3{suffix}").unlink()
    with pytest.raises(ValueError, match=r"flow/a: there is no flow of frame .*images/a/3\.png"):
        build("FlowFolderDataset", tmp_path, data_prefix=dict(img_path="images", flow_path="flow"))


def test_folders_without_ground_truth(tmp_path):
    root = tmp_path / "holiday"
    write_folders(tmp_path, {"holiday": 3})
    dataset = build("FlowFolderDataset", root, pipeline=PIPELINE, test_mode=True)
    assert places(dataset) == [("holiday", 0, "0"), ("holiday", 1, "1")]
    assert "gt_flow" not in dataset[0]["data_samples"]
    # Flow beside the frames: their PNGs are no flow.
    for t in (0, 1):
        write_flow(root / f"{t}.flo", flow(0, t))
    beside = build("FlowFolderDataset", root, data_prefix=dict(flow_path=""))
    check(items(beside)[1], 0, 1)
    write_image(root / "more" / "0.png", image(0, 0))
    with pytest.raises(ValueError, match="more: a single image"):
        build("FlowFolderDataset", root)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="FlowFolderDataset: there is no pair of images"):
        build("FlowFolderDataset", tmp_path / "nothing")


def test_a_list_of_pairs(tmp_path):
    write_folders(tmp_path / "frames", {"a": 3, "b": 2}, tmp_path / "truth", ".png")
    pairs = [
        dict(img1="a/0.png", img2="a/1.png", flow="a/0.png", sequence="one"),
        dict(img1="b/0.png", img2="b/1.png"),
        dict(img1="a/1.png", img2="a/2.png", flow="a/1.png", noc="a/1.png", sequence="one"),
    ]
    write_list(tmp_path / "pairs.json", pairs)
    setting = dict(
        data_root=str(tmp_path),
        ann_file="pairs.json",
        data_prefix=dict(img_path="frames", flow_path="truth"),
        **QUICK,
    )
    dataset = FlowFolderDataset(**setting)
    assert places(dataset) == [("one", 0, "0"), ("000001", 0, "0"), ("one", 1, "1")]
    assert dataset.sequences() == [[0, 2], [1]]
    found = items(dataset)
    check(found[2], 0, 1)
    assert found[2]["noc_path"] == str(tmp_path / "truth" / "a" / "1.png")
    assert [item["sparse"] for item in found] == [True, False, True]
    assert "flow_path" not in found[1]
    dense = FlowFolderDataset(**setting, sparse=False)
    assert not any(item["sparse"] for item in items(dense))


def test_a_list_that_is_wrong(tmp_path):
    write_folders(tmp_path, {"a": 3})
    good = dict(img1="a/0.png", img2="a/1.png")
    for content, message in (
        ({"data": []}, "wants a list of pairs, not a dict"),
        ([], "there is no pair of images"),
        ([good, ["a/0.png", "a/1.png"]], "pair 1: a pair is an object of strings"),
        ([dict(img1="a/0.png")], "pair 0: no 'img2'; a pair has img1, img2, sequence"),
        ([dict(good, flwo="a/0.flo")], "pair 0: an unknown key 'flwo'"),
        ([dict(good, noc="a/0.png")], "pair 0: 'noc' without 'flow'"),
        ([dict(good, flow="a/0.flo")], r"pair 0: there is no file .*a/0\.flo"),
        ([dict(good, sequence="../../etc")], "pair 0: 'sequence' is the folder of result files"),
        ([dict(good, sequence="/etc")], "pair 0: 'sequence' is the folder of result files"),
        ([dict(good, sequence="s")] * 2, r"2 pairs would have the same result file s/0\.flo"),
    ):
        write_list(tmp_path / "pairs.json", content)
        with pytest.raises(ValueError, match=message):
            FlowFolderDataset("pairs.json", data_root=str(tmp_path), **QUICK)
    (tmp_path / "pairs.json").write_text("img1, img2")
    with pytest.raises(ValueError, match=r"pairs\.json: not a json file"):
        FlowFolderDataset("pairs.json", data_root=str(tmp_path), **QUICK)
    with pytest.raises(ValueError, match=r"other\.json: there is no such list of pairs"):
        FlowFolderDataset("other.json", data_root=str(tmp_path))


def test_the_published_mix_and_indices(tmp_path):
    write_sintel(tmp_path / "sintel")
    write_kitti(tmp_path / "kitti", 3)
    write_hd1k(tmp_path / "hd1k")
    write_things(tmp_path / "things", ["A/0000"])
    write_chairs(tmp_path / "chairs")
    write_middlebury(tmp_path / "middlebury")

    def of(kind: str, folder: str, **setting) -> dict:
        root = str(tmp_path / folder)
        return dict(type=f"mmkd_ext.{kind}", data_root=root, pipeline=PIPELINE, **QUICK, **setting)

    def repeated(times: int, dataset: dict) -> dict:
        return dict(type="RepeatDataset", times=times, dataset=dataset)

    mix = ROOT.build(
        dict(
            type="ConcatDataset",
            datasets=[
                repeated(100, of("SintelDataset", "sintel")),
                repeated(100, of("SintelDataset", "sintel", render_pass="final")),
                repeated(200, of("KITTI2015Dataset", "kitti")),
                repeated(5, of("HD1KDataset", "hd1k")),
                of("FlyingThings3DDataset", "things"),
                of("FlyingChairsDataset", "chairs"),
                of("MiddleburyDataset", "middlebury"),
            ],
        )
    )
    assert len(mix) == 2 * 100 * 5 + 200 * 3 + 5 * 3 + 6 + 2 + 2
    assert mix[499]["data_samples"].sequence == "clean/cave_2"
    assert mix[500]["data_samples"].sequence == "final/alley_1"
    assert mix[1000]["data_samples"].sparse
    assert mix[len(mix) - 1]["data_samples"].sequence == "Venus"
    some = ROOT.build(of("SintelDataset", "sintel", indices=[4, 1]))
    assert places(some) == [("clean/cave_2", 2, "frame_0003"), ("clean/alley_1", 1, "frame_0002")]


def test_a_batch_through_worker_processes(tmp_path):
    write_kitti(tmp_path, 4, shapes={1: (24, 40)})
    loader = Runner.build_dataloader(
        dict(
            batch_size=2,
            num_workers=1,
            sampler=dict(type="DefaultSampler", shuffle=False),
            dataset=dict(
                type="mmkd_ext.KITTI2015Dataset",
                data_root=str(tmp_path),
                pipeline=PIPELINE,
            ),
            collate_fn=dict(type="pseudo_collate"),
        )
    )
    batches = list(loader)
    assert [[tuple(i.shape) for i in batch["inputs"]] for batch in batches] == [
        [(2, 3, *SHAPE), (2, 3, 24, 40)],
        [(2, 3, *SHAPE)] * 2,
    ]
    assert [s.frame for batch in batches for s in batch["data_samples"]] == [
        f"00000{n}_10" for n in range(4)
    ]
