"""Files and pictures of mmengine's val and test loops."""

from __future__ import annotations

import shutil
import zipfile

import cv2
import numpy as np
import pytest
from mmengine.runner import Runner

from mmkd_ext.flow import read_flow
from mmkd_ext.flow.hooks import FlowDumpHook, FlowVisualizationHook
from mmkd_ext.flow.visualization import draw_pair
from mmkd_ext.frames.reading import read_image

from .answers import SIZES, settings, write_pairs

VISUALIZER = dict(type="mmkd_ext.FlowVisualizer", vis_backends=[dict(type="LocalVisBackend")])


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path / "data")
    return tmp_path / "data"


def files(folder) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_results_in_the_layout_that_sintel_takes(root, tmp_path):
    Runner.from_cfg(settings(root, tmp_path / "run")).test()
    folder = tmp_path / "run" / "flow"
    assert files(folder) == [f"clean/{number}/frame0001.flo" for number in range(5)]
    for number, size in enumerate(SIZES):
        flow, valid = read_flow(folder / "clean" / str(number) / "frame0001.flo")
        assert valid.shape == size
        assert valid.all()
        np.testing.assert_array_equal(flow, read_flow(root / str(number) / "answer.flo")[0])


def test_results_and_archive_in_the_layout_that_kitti_takes(root, tmp_path):
    hook = dict(type="mmkd_ext.FlowDumpHook", suffix=".png", zip_name="kitti.zip")
    runner = Runner.from_cfg(settings(root, tmp_path / "run", custom_hooks=[hook]))
    (left_over := tmp_path / "run" / "work" / runner.timestamp / "flow" / "old.png").parent.mkdir()
    left_over.write_text("of another test")
    runner.test()
    # A second test begins anew: results of the same names are no longer those of other pairs.
    copy = shutil.copytree(root, tmp_path / "copy")
    runner.test_loop.dataloader.dataset.folders = sorted(copy.iterdir())
    runner.test()
    with zipfile.ZipFile(left_over.parent.with_name("kitti.zip")) as archive:
        names = [f"flow/clean/{number}/frame0001.png" for number in range(5)]
        assert archive.namelist() == names
        archive.extractall(tmp_path / "in")
    wanted, _ = read_flow(root / "3" / "answer.flo")
    found, valid = read_flow(tmp_path / "in" / names[3])
    assert valid.all()
    assert 0 < np.abs(found - wanted).max() <= 1 / 128


def test_results_without_a_name_of_their_own(root, tmp_path):
    config = settings(root, tmp_path / "run", meta=dict(result_path="000000_10.png"))
    with pytest.raises(
        ValueError, match=r"000000_10\.png is the result of .*0/img1\.png and of .*1/img1\.png"
    ):
        Runner.from_cfg(config).test()
    config = settings(root, tmp_path / "other", meta=dict(result_path=""))
    with pytest.raises(ValueError, match=r"0/img1\.png has no result_path"):
        Runner.from_cfg(config).test()


def test_options_of_the_dump():
    with pytest.raises(ValueError, match=r"suffix is one of \.flo, \.pfm, \.png, not \.npy"):
        FlowDumpHook(suffix=".npy")
    with pytest.raises(ValueError, match="without folders, not a/b"):
        FlowDumpHook(zip_name="a/b.zip")
    with pytest.raises(ValueError, match=r"ends in \.zip, unlike all\.tar"):
        FlowDumpHook(zip_name="all.tar")


def test_pictures_of_val_and_test(root, tmp_path):
    hook = dict(type="mmkd_ext.FlowVisualizationHook", interval=2, max_radius=30)
    config = settings(root, tmp_path / "run", custom_hooks=[hook], visualizer=VISUALIZER)
    config.val_dataloader, config.val_cfg = config.test_dataloader, {}
    config.val_evaluator = config.test_evaluator
    runner = Runner.from_cfg(config)
    runner.test()
    runner.val()
    folder = next((tmp_path / "run").rglob("vis_image"))
    # Of batches (0, 1), (2, 3) and (4): the first pair of every second batch.
    expected = [f"{mode}_clean_{pair}_img1_0.png" for mode in ("test", "val") for pair in (0, 4)]
    assert files(folder) == expected
    gt, valid = read_flow(root / "4" / "gt.flo")
    answer, _ = read_flow(root / "4" / "answer.flo")
    image = cv2.imread(str(root / "4" / "img1.png"))[..., ::-1]
    for name in (expected[1], expected[3]):
        drawn = read_image(str(folder / name))
        np.testing.assert_array_equal(drawn, draw_pair(image, gt, answer, valid, max_radius=30))


def test_pictures_need_a_visualizer_that_draws_flow(root, tmp_path):
    hook = dict(type="mmkd_ext.FlowVisualizationHook")
    for number, (visualizer, problem) in enumerate(
        ((None, "Visualizer cannot draw flow"), (dict(VISUALIZER, vis_backends=None), "no backend"))
    ):
        folder = tmp_path / str(number)
        config = settings(root, folder, custom_hooks=[hook], visualizer=visualizer)
        with pytest.raises(ValueError, match=rf"{problem}.*set visualizer=dict\(type="):
            Runner.from_cfg(config).test()
    off = [dict(hook, draw=False)]
    Runner.from_cfg(settings(root, tmp_path / "off", custom_hooks=off)).test()
    assert not list((tmp_path / "off").rglob("vis_image"))
    with pytest.raises(ValueError, match="interval is 1 or more, not 0"):
        FlowVisualizationHook(interval=0)
