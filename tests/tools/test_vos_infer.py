"""``vos-infer``: real videos through the real command."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest
import torch

from mmkd_ext.apis.vos_infer import main
from mmkd_ext.registry import MODELS
from mmkd_ext.vos import VOSInferencer
from mmkd_ext.vos.masks import read_mask
from tests.packaging.commands import ROOT, run
from tests.vos import tiny
from tests.vos.video_files import Square, draw, write_mp4, write_video

SQUARES = [Square(1), Square(2, place=(28, 30), step=(-1, 0), begin=1)]
CONFIG = tiny.config(data_preprocessor=dict(type="mmkd_ext.VOSDataPreprocessor"))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Config, checkpoint, a folder of four frames, masks of those where objects appear."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "tiny_swem.py").write_text(f"default_scope = 'mmkd_ext'\nmodel = {CONFIG!r}\n")
    torch.manual_seed(3)
    torch.save(dict(state_dict=MODELS.build(CONFIG).state_dict()), folder / "tiny.pth")
    write_video(folder / "frames" / "cars", folder / "masks", SQUARES, length=4, masked=[0, 1])
    return folder


def arguments(project, frames, *options):
    names = ("tiny_swem.py", "tiny.pth", frames, "masks")
    return [str(project / name) for name in names] + [str(option) for option in options]


def test_a_folder(project, tmp_path):
    tool = ROOT / "tools" / "vos_infer.py"
    command = (sys.executable, tool, *arguments(project, "frames/cars"), "--device", "cpu")
    printed = run(*command, cwd=tmp_path)
    out = tmp_path / "vos_results" / "cars"
    assert "cars: 4 frames, " in printed
    assert " frames per second on cpu; 2 objects in the end; kept between frames " in printed
    assert "masks:    vos_results/cars/masks\n" in printed
    assert "overlays: vos_results/cars/overlay, vos_results/cars/overlay.mp4\n" in printed
    inferencer = VOSInferencer(CONFIG, project / "tiny.pth")
    expected = list(inferencer(project / "frames" / "cars", project / "masks"))
    for t in range(4):
        assert np.array_equal(read_mask(out / "masks" / f"{t:05d}.png"), expected[t])
        assert (out / "overlay" / f"{t:05d}.png").is_file()
    capture = cv2.VideoCapture(str(out / "overlay.mp4"))
    assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (4, 24)


def test_a_video_file_with_options(project, tmp_path, capsys):
    path = project / "clip.mp4"
    write_mp4(path, [draw(t, (48, 64), SQUARES)[0] for t in range(3)], fps=5)
    options = ("--size", 32, "--mem-every", 2, "--amp", "--seed", 4, "--no-overlay")
    options += ("--scales", 1, 1.5, "--flip")
    main(arguments(project, "clip.mp4", "--out-dir", tmp_path / "out", *options))
    printed = capsys.readouterr()
    assert printed.out == f"masks:    {tmp_path}/out/masks\n"
    assert "clip: 3 frames, " in printed.err
    settings = dict(size=32, mem_every=2, amp=True, seed=4, scales=[1.0, 1.5], flip=True)
    inferencer = VOSInferencer(CONFIG, project / "tiny.pth", **settings)
    for t, expected in enumerate(inferencer(path, project / "masks")):
        assert np.array_equal(read_mask(tmp_path / "out" / "masks" / f"{t:05d}.png"), expected)
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["masks"]


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        ("nowhere", (), "nowhere: there is neither a folder of frames nor a video file"),
        ("tiny.pth", (), "tiny.pth: not a video file (.mp4, "),
        ("frames/cars", ("--mem-every", 0), "mem_every must be an integer >= 1, not 0"),
        ("frames/cars", ("--size", 1, 2, 3), "--size takes the short side, or height and width"),
        ("frames/cars", ("--fps", 0), "--fps takes a number above 0"),
    ],
)
def test_one_clear_error(project, frames, options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(arguments(project, frames, *options))
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
