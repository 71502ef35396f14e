"""Images and videos in, flow out: arrays and files, sizes, warm start, errors."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from mmkd_ext.apis.flow_infer import main
from mmkd_ext.flow import FlowInferencer, flow_to_color, read_flow
from mmkd_ext.flow.warm_start import forward_project
from mmkd_ext.flow.warp import warp
from mmkd_ext.registry import MODELS
from tests.flow import tiny_raft
from tests.vos.video_files import write_mp4

SHAPE = (37, 50)
CONFIG = tiny_raft.config(data_preprocessor=dict(type="mmkd_ext.FlowDataPreprocessor"))


def frames(count=4):
    """A texture that moves to the right by two pixels a frame."""
    generator = np.random.RandomState(0)
    wide = cv2.GaussianBlur(generator.randint(0, 256, (37, 80, 3)).astype(np.uint8), (5, 5), 0)
    return [np.ascontiguousarray(wide[:, 20 - 2 * t : 70 - 2 * t]) for t in range(count)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return MODELS.build(CONFIG)


@pytest.fixture(scope="module")
def project(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "tiny_raft.py").write_text(f"default_scope = 'mmkd_ext'\nmodel = {CONFIG!r}\n")
    torch.save(dict(state_dict=model.state_dict()), folder / "tiny.pth")
    (folder / "frames").mkdir()
    for number, image in enumerate(frames()):
        cv2.imwrite(str(folder / "frames" / f"f{number + 8}.png"), image[..., ::-1])
    return folder


def expected_flow(model, image1, image2, start=None):
    """By the model's own modules."""
    pair = torch.from_numpy(np.stack([image1, image2])).permute(0, 3, 1, 2)
    data = model.data_preprocessor(dict(inputs=[pair]))
    with torch.no_grad():
        flows, low = model.eval().estimate(data["inputs"], 3, start)
    left, right, top, bottom = data["data_samples"][0].pad
    assert (left, right, top, bottom) == (3, 3, 1, 2)
    return flows[-1][0, :, 1:-2, 3:-3].permute(1, 2, 0).numpy(), low[0]


def test_two_images(model, project):
    first, second = frames(2)
    flow = FlowInferencer(model)(first, second)
    assert flow.shape == (*SHAPE, 2)
    assert flow.dtype == np.float32
    np.testing.assert_allclose(flow, expected_flow(model, first, second)[0], atol=1e-5)
    built = FlowInferencer(str(project / "tiny_raft.py"), project / "tiny.pth", "cpu")
    files = [project / "frames" / f"f{number}.png" for number in (8, 9)]
    np.testing.assert_allclose(built(*files), flow, atol=1e-5)
    longer = FlowInferencer(model, iters=5)(first, second)
    assert not np.allclose(longer, flow)


def test_a_video_with_warm_start(model):
    images = frames()
    inferencer = FlowInferencer(model, warm_start=True)
    found = list(inferencer.video(images))
    assert len(found) == 3
    start = None
    for t in range(3):
        expected, low = expected_flow(model, images[t], images[t + 1], start)
        np.testing.assert_allclose(found[t], expected, atol=1e-5)
        start = forward_project(low)[None]
    cold = list(FlowInferencer(model).video(images))
    np.testing.assert_allclose(cold[0], found[0], atol=1e-6)
    assert not np.allclose(cold[1], found[1])
    assert inferencer.report.frames == 3


def test_everything_is_written(model, tmp_path):
    images = frames()
    found = list(FlowInferencer(model).video(images, tmp_path / "out", warped=True))
    longest = max(np.linalg.norm(flow, axis=2).max() for flow in found)
    for t, flow in enumerate(found):
        read, valid = read_flow(tmp_path / "out" / "flow" / f"{t:05d}.flo")
        assert valid.all()
        np.testing.assert_array_equal(read, flow)
        color = cv2.imread(str(tmp_path / "out" / "color" / f"{t:05d}.png"))[..., ::-1]
        np.testing.assert_array_equal(color, flow_to_color(flow, max_radius=longest))
        back = cv2.imread(str(tmp_path / "out" / "warped" / f"{t:05d}.png"))[..., ::-1]
        np.testing.assert_array_equal(back, warp(images[t + 1], flow)[0])
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 9


def test_who_stops_early_keeps_what_was_done(model, tmp_path):
    pairs = FlowInferencer(model).video(frames(), tmp_path, suffix=".png")
    flow = next(pairs)
    pairs.close()
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["00000.png", "00000.png"]
    read, _ = read_flow(tmp_path / "flow" / "00000.png")
    np.testing.assert_allclose(read, flow, atol=1 / 128 + 1e-6)


def test_the_command_on_a_folder(project, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = (project / "tiny_raft.py", project / "tiny.pth", project / "frames")
    main([*map(str, arguments), "--warped", "--device", "cpu"])
    printed, report = capsys.readouterr()
    assert "frames: 3 pairs, " in report
    assert "mean difference of a pair's images " in report
    out = tmp_path / "flow_results" / "frames"
    assert "flow:   flow_results/frames/flow\n" in printed
    assert "color:  flow_results/frames/color\n" in printed
    # In the natural order: f9 before f10.
    names = [f"f{number}" for number in (8, 9, 10)]
    assert sorted(path.stem for path in (out / "flow").iterdir()) == sorted(names)
    expected = list(FlowInferencer(CONFIG, project / "tiny.pth").video(project / "frames"))
    for name, flow in zip(names, expected, strict=True):
        np.testing.assert_allclose(read_flow(out / "flow" / f"{name}.flo")[0], flow, atol=1e-5)


def test_the_command_on_two_images_and_on_a_video(project, tmp_path, capsys):
    head = [str(project / "tiny_raft.py"), str(project / "tiny.pth")]
    files = [str(project / "frames" / f"f{number}.png") for number in (8, 9)]
    out = str(tmp_path / "pair")
    main([*head, *files, "--out-dir", out, "--format", "png", "--no-color", "--iters", "2"])
    assert capsys.readouterr().out == f"flow:   {out}/flow\n"
    assert [path.name for path in (tmp_path / "pair" / "flow").iterdir()] == ["f8.png"]
    write_mp4(tmp_path / "clip.mp4", [image[:36] for image in frames(3)], fps=5)
    options = ("--out-dir", str(tmp_path / "clip"), "--max-radius", "4", "--warm-start", "--amp")
    main([*head, str(tmp_path / "clip.mp4"), *options])
    flow, _ = read_flow(tmp_path / "clip" / "flow" / "00001.flo")
    color = cv2.imread(str(tmp_path / "clip" / "color" / "00001.png"))[..., ::-1]
    np.testing.assert_array_equal(color, flow_to_color(flow, max_radius=4.0))


def test_the_config_says_whether_videos_start_warm():
    warm = MODELS.build(tiny_raft.config(test_cfg=dict(warm_start=True)))
    assert FlowInferencer(warm).warm_start
    assert not FlowInferencer(warm, warm_start=False).warm_start


def test_wrong_models_and_images(model, tmp_path):
    with pytest.raises(ValueError, match="Linear is no network of optical flow"):
        FlowInferencer(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="iters is an integer >= 1, not 0"):
        FlowInferencer(model, iters=0)
    inferencer = FlowInferencer(model)
    first, second = frames(2)
    with pytest.raises(ValueError, match=r"differ in size .*: 37 x 50 and 36 x 50"):
        inferencer(first, second[1:])
    with pytest.raises(ValueError, match="frames 00000 and 00001: the images differ"):
        list(inferencer.video([first, second[1:]]))
    with pytest.raises(ValueError, match="image2: an image is uint8"):
        inferencer(first, second / 255)
    with pytest.raises(ValueError, match=r"nowhere\.png: there is no such image file"):
        inferencer(first, tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match="the start is"):
        inferencer(first, second, torch.zeros(2, 4, 7))
    cv2.imwrite(str(tmp_path / "f.png"), first)
    with pytest.raises(ValueError, match="two frames are called f"):
        list(inferencer.video([tmp_path / "f.png"] * 3, tmp_path / "out"))
    with pytest.raises(ValueError, match="one frame only"):
        list(inferencer.video([first]))
    with pytest.raises(ValueError, match=r"suffix is one of \.flo, \.pfm, \.png, not '\.jpg'"):
        inferencer.video([first, second], tmp_path, suffix=".jpg")
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"broken\.png: not an image"):
        inferencer(first, tmp_path / "broken.png")
