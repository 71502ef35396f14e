"""Videos in, masks and overlays out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmkd_ext.distill.checkpoint import CheckpointError
from mmkd_ext.registry import MODELS
from mmkd_ext.vos import VOSDataSample, VOSInferencer
from mmkd_ext.vos.data_preprocessor import VOSDataPreprocessor
from mmkd_ext.vos.masks import (
    YOUTUBE_VOS_PALETTE,
    davis_palette,
    read_mask,
    read_palette,
    write_mask,
)
from tests.logs import logged

from . import tiny
from .video_files import Square, draw, write_mp4, write_video

SQUARES = [Square(1), Square(2, place=(28, 30), step=(-1, 0)), Square(7, place=(20, 48), begin=2)]
SHAPE = (48, 64)
MEAN = dict(mean=[60.0, 60.0, 60.0], std=[40.0, 50.0, 60.0])


def frames(length=4, shape=SHAPE):
    return [draw(t, shape, SQUARES)[0] for t in range(length)]


def ids(t, shape=SHAPE):
    return draw(t, shape, SQUARES)[1]


def read_mp4(path):
    capture = cv2.VideoCapture(str(path))
    fps, images = capture.get(cv2.CAP_PROP_FPS), []
    while True:
        done, image = capture.read()
        if not done:
            return fps, images
        images.append(image[:, :, ::-1])


@pytest.fixture(scope="module")
def model():
    return tiny.build(data_preprocessor=dict(type="mmkd_ext.VOSDataPreprocessor", **MEAN), seed=3)


@pytest.fixture
def inferencer(model):
    return VOSInferencer(model)


def test_a_folder_is_followed_as_in_testing(model, tmp_path):
    """Late objects included; and everything is written."""
    write_video(
        tmp_path / "judo", tmp_path / "given", SQUARES, length=4, masked=[0, 2], suffix=".png"
    )
    inferencer = VOSInferencer(model)
    out = tmp_path / "out"
    masks = {0: ids(0), "00002": torch.from_numpy(ids(2)).long()}
    predicted = list(inferencer(tmp_path / "judo", masks, out, fps=5))

    preprocessor = VOSDataPreprocessor(**MEAN)
    for t, image in enumerate(frames()):
        meta = dict(video="judo", frame=str(t), ori_shape=SHAPE, is_first=t == 0, is_last=t == 3)
        sample = VOSDataSample(metainfo=meta)
        if t in (0, 2):
            sample.given_mask = ids(t)
        pixels = torch.from_numpy(image).permute(2, 0, 1)
        data = preprocessor(dict(inputs=[pixels], data_samples=[sample]))
        (sample,) = model(**data, mode="predict")
        assert predicted[t].dtype == np.uint8
        assert np.array_equal(predicted[t], sample.pred_mask.numpy())
    assert np.array_equal(predicted[0], ids(0))
    assert (predicted[2][ids(2) == 7] == 7).all()
    assert inferencer.session.objects == [1, 2, 7]
    assert all(len(np.unique(found)) > 1 for found in predicted)

    for t, found in enumerate(predicted):
        path = out / "masks" / f"{t:05d}.png"
        assert np.array_equal(read_mask(path), found)
        assert read_palette(path) == davis_palette()
        drawn = np.array(Image.open(out / "overlay" / f"{t:05d}.png"))
        assert np.array_equal(drawn[found == 0], frames()[t][found == 0])
        assert not np.array_equal(drawn, frames()[t])
    fps, video = read_mp4(out / "overlay.mp4")
    assert (fps, len(video), video[0].shape) == (5.0, 4, (*SHAPE, 3))
    assert sorted(p.name for p in out.iterdir()) == ["masks", "overlay", "overlay.mp4"]
    assert len([*out.rglob("*.png")]) == 8

    report = inferencer.report
    assert (report.frames, report.objects) == (4, 3)
    assert report.session_bytes == inferencer.session.num_bytes > 0
    assert report.fps == report.frames / report.seconds
    assert report.peak_mib > 1
    assert str(report).startswith("4 frames, ")


def test_a_video_file_and_its_frames_one_by_one(inferencer, tmp_path):
    write_mp4(tmp_path / "clip.mp4", frames(), fps=7)
    write_mask(tmp_path / "masks" / "00000.png", ids(0), YOUTUBE_VOS_PALETTE)
    write_mask(tmp_path / "masks" / "2.png", ids(2))
    inferencer = VOSInferencer(inferencer.model, seed=5)
    found = list(inferencer(tmp_path / "clip.mp4", tmp_path / "masks", tmp_path / "out"))
    assert read_palette(tmp_path / "out/masks/00003.png")[:11] == YOUTUBE_VOS_PALETTE
    fps, images = read_mp4(tmp_path / "out/overlay.mp4")
    assert (fps, len(images)) == (7.0, 4)

    inferencer.reset()
    images = read_mp4(tmp_path / "clip.mp4")[1]
    for t, image in enumerate(images):
        mask = (
            np.asfortranarray(ids(t)).astype(np.uint16) if t in (0, 2) else None
        )  # any order and width do
        assert np.array_equal(inferencer.step(image, mask), found[t])
    again = inferencer((image for image in images), {0: ids(0), 2: ids(2)})
    assert all(np.array_equal(one, other) for one, other in zip(again, found, strict=True))


def test_objects_come_and_go(inferencer):
    images = frames(5)
    assert not inferencer.step(images[0]).any()
    with pytest.raises(ValueError, match=r"no object \[1\] is followed; there is \[\]"):
        inferencer.remove(1)
    assert np.array_equal(inferencer.step(images[1], ids(1)), ids(1))
    inferencer.remove([1])
    assert 1 not in inferencer.step(images[2])
    assert inferencer.session.objects == [2]
    assert (inferencer.step(images[3], ids(3))[ids(3) == 7] == 7).all()
    assert inferencer.session.objects == [2, 1, 7]
    inferencer.reset()
    assert inferencer.session.objects == []

    for t, found in enumerate(inferencer(images, {0: ids(0)})):
        assert t == 0 or 2 not in found
        if t == 0:
            inferencer.remove(2)
    assert inferencer.report.objects == 1


def test_two_videos_at_a_time(inferencer):
    alone = list(inferencer(frames(3), {0: ids(0)}))
    first = inferencer(frames(3), {0: ids(0)})
    second = inferencer(frames(3)[::-1], {0: ids(2)})
    for t, (found, _) in enumerate(zip(first, second, strict=True)):
        assert np.array_equal(found, alone[t])


def test_missing_weights_are_said_aloud(model):
    with logged() as lines:
        VOSInferencer(model)
        assert lines == []
        VOSInferencer(tiny.config(), device="cpu")
    assert lines == ["VOSInferencer: no weights are given; the network's are random"]


def test_masks_behind_the_end_are_said_aloud(inferencer):
    with logged() as lines:
        assert len(list(inferencer(iter(frames(2)), {0: ids(0), 5: ids(2)}))) == 2
    assert lines == ["VOSInferencer: the video has 2 frames; the masks of frames [5] were not used"]


def test_options_of_the_network(model):
    seen = []

    def note(module, args, output):
        seen.append((tuple(args[0].shape[2:]), output[0].dtype))

    handle = model.key_encoder.register_forward_hook(note)
    try:
        small = VOSInferencer(model, size=32, amp=True, mem_every=2)
        found = list(small(frames(2), {0: ids(0)}))
        model.test_cfg = dict(size=(16, 32), mem_every=3)
        configured = VOSInferencer(model)
        next(configured(frames(2), {0: ids(0)}))
        whole = VOSInferencer(model, size=None)
        next(whole(frames(2), {0: ids(0)}))
    finally:
        handle.remove()
        model.test_cfg = {}
    assert seen == [
        ((32, 48), torch.bfloat16), ((32, 48), torch.bfloat16),
        ((16, 32), torch.float32), (SHAPE, torch.float32),
    ]  # fmt: skip
    assert found[1].shape == SHAPE
    assert (small.session.mem_every, configured.session.mem_every) == (2, 3)
    for options, message in (
        (dict(size=3), "size is None"),
        (dict(mem_every=0), "mem_every must be an integer >= 1, not 0"),
    ):
        with pytest.raises(ValueError, match=message):
            VOSInferencer(model, **options)


def test_of_a_distillation_the_student_is_taken(tmp_path):
    config = dict(
        type="mmkd_ext.Distiller",
        student=tiny.config(),
        teacher=dict(config=tiny.config(width=16)),
        losses=dict(kd=dict(type="KDLoss", tap="aggregation", temperature=2.0, alpha=1.0)),
        data_preprocessor=dict(type="mmkd_ext.VOSDataPreprocessor", **MEAN),
        input_shape=(3, 32, 48),
    )
    torch.manual_seed(1)
    distiller = MODELS.build(config)
    torch.save(dict(meta={}, state_dict=distiller.state_dict()), tmp_path / "epoch_1.pth")
    built = list(VOSInferencer(distiller)(frames(3), {0: ids(0)}))
    assert not distiller.student.training
    file = tmp_path / "distilled.py"
    file.write_text(f"default_scope = 'mmkd_ext'\nmodel = {config!r}\n")
    for source in (dict(model=config), str(file)):
        read = VOSInferencer(source, tmp_path / "epoch_1.pth", device="cpu")
        assert type(read.model).__name__ == "SWEM"
        found = read(frames(3), {0: ids(0)})
        assert all(np.array_equal(a, b) for a, b in zip(found, built, strict=True))
    torch.save(dict(state_dict={"fc.weight": torch.ones(1)}), tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="not one key of"):
        VOSInferencer(tiny.config(), tmp_path / "other.pth")


def test_a_video_that_ends_early(inferencer, tmp_path):
    """What is written is whole: nothing half done is left, whoever stopped."""
    for t, _ in enumerate(inferencer(frames(), {0: ids(0)}, tmp_path / "stopped")):
        if t == 1:
            break
    assert len(read_mp4(tmp_path / "stopped" / "overlay.mp4")[1]) == 2
    assert inferencer.report.frames == 2

    broken = [*frames(2), np.zeros((40, 64, 3), np.uint8)]
    with pytest.raises(
        ValueError, match=r"frame 00002: .*\(40, 64\), but the first was \(48, 64\)"
    ):
        list(inferencer(broken, {0: ids(0)}, tmp_path / "broken"))
    assert sorted(p.name for p in (tmp_path / "broken").iterdir()) == ["masks", "overlay"]
    assert len([*(tmp_path / "broken").rglob("*.*")]) == 4

    list(inferencer(frames(1), {0: ids(0)}, tmp_path / "masks_only", overlays=False))
    assert [p.name for p in (tmp_path / "masks_only").iterdir()] == ["masks"]


def test_frames_that_cannot_be_used(inferencer, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "notes.txt").write_text("no video")
    for given, message in (
        (tmp_path / "empty", "empty: a folder without frames"),
        (tmp_path / "nowhere", "nowhere: there is neither a folder of frames nor a video file"),
        (tmp_path / "broken.mp4", "broken.mp4: OpenCV cannot read this video file"),
        (tmp_path / "notes.txt", "notes.txt: not a video file"),
        ([], "the iterable holds no frames"),
        (7, "not int"),
        ([np.zeros((4, 4), np.uint8)], r"frame 0: an image is .* not uint8 of shape \(4, 4\)"),
        ([np.zeros((4, 4, 3))], "frame 0: an image is uint8, 0 to 255, not float64"),
        (["a.jpg"], "a.jpg: there is no such image file"),
        ([7], "frame 0: an image is a numpy array .* not int"),
    ):
        with pytest.raises(ValueError, match=message):
            inferencer(given, {0: ids(0)})
    with pytest.raises(ValueError, match="frame 00001: an image is uint8, 0 to 255, not float32"):
        list(inferencer([frames()[0], frames()[1].astype(np.float32)], {0: ids(0)}))


def test_masks_that_cannot_be_used(inferencer, tmp_path):
    write_video(tmp_path / "judo", tmp_path / "given", SQUARES, length=3, masked=[2])
    (tmp_path / "none").mkdir()
    folder, images = tmp_path / "judo", frames(3)
    for given, masks, message in (
        (images, None, r"no mask for the first frame \(0\); there is no mask at all"),
        (images, {2: ids(2)}, r"no mask for the first frame \(0\); the earliest is of frame 2"),
        (
            folder,
            tmp_path / "given",
            r"no mask for the first frame \('00000'\); the earliest is of",
        ),
        (folder, tmp_path / "none", "none: there is no mask"),
        (folder, tmp_path / "nowhere", "nowhere: there is no such folder of masks"),
        (
            folder,
            {"a": ids(0)},
            "no frame of 'judo' is called 'a'; they are called '00000' ... '00002'",
        ),
        (folder, {0: ids(0), 3: ids(2)}, "there is no frame 3; there are 3"),
        (folder, {0: ids(0), "00000": ids(0)}, "two masks are given for frame 0"),
        (images, {"a": ids(0)}, "'a' is not the number of a frame"),
        (images, {-1: ids(0)}, "a frame is its index from 0 or its name, not -1"),
        (images, ids(0), "not ndarray"),
        (images, {0: frames()[0]}, r"the mask of frame 0 is uint8 of shape \(48, 64, 3\), but"),
        (images, {0: ids(0) > 0}, r"the mask of frame 0 is bool of shape"),
        (images, {0: torch.rand(48, 64)}, r"the mask of frame 0 is float32 of shape"),
        (images, {0: [[0, 1]]}, "the mask of frame 0 is list, but"),
    ):
        with pytest.raises(ValueError, match=message):
            inferencer(given, masks)
    for mask, message in (
        (np.zeros(SHAPE, np.uint8), "frame 00000: the first frame's mask holds no object"),
        (ids(0)[:40], r"frame 00000: .* is \(40, 64\), but predictions are \(48, 64\)"),
        (ids(0).astype(np.int64) * 200, "frame 00000: .* ids are 1 to 254"),
    ):
        with pytest.raises(ValueError, match=message):
            list(inferencer(images, {0: mask}, tmp_path / "out"))
        assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match=r"the mask of frame 0 is float64 of shape \(48, 64\)"):
        VOSInferencer(inferencer.model).step(images[0], ids(0) / 2)
    with pytest.raises(ValueError, match=r"no object \[1\] is followed"):
        VOSInferencer(inferencer.model).remove(1)


def test_networks_of_another_kind():
    with pytest.raises(ValueError, match="Linear is no network of video object segmentation"):
        VOSInferencer(torch.nn.Linear(2, 2))
    other = tiny.build(data_preprocessor=dict(type="mmengine.ImgDataPreprocessor"))
    with pytest.raises(ValueError, match="data preprocessor is ImgDataPreprocessor"):
        VOSInferencer(other)
