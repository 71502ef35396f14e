from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmkd_ext.hooks.feature_map import MapPair, activation_map, draw_maps, input_image
from mmkd_ext.registry import HOOKS

from .tiny_run import Squares, classifier, config, log_of, preprocessor, run, tensors_of

DRAW = dict(type="mmkd_ext.FeatureMapHook")
VISUALIZER = dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")])


def pictures(work_dir):
    found = Path(work_dir).glob("*/vis_data/vis_image/*.png")
    return {path.name: cv2.imread(str(path)) for path in sorted(found)}


def test_pictures_on_disk(tmp_path):
    runner = run(config(tmp_path, [DRAW], epochs=2, visualizer=VISUALIZER))
    found = pictures(tmp_path)
    assert list(found) == [f"feature_maps_{step}.png" for step in (0, 4, 8)]
    assert all(picture.shape[0] > 200 and picture.shape[1] > 1000 for picture in found.values())
    assert not np.array_equal(found["feature_maps_0.png"], found["feature_maps_8.png"])
    assert "FeatureMapHook: " not in log_of(runner)


def test_by_iteration_and_without_validation(tmp_path):
    hook = dict(DRAW, by_epoch=False, interval=3, index=5)
    run(config(tmp_path, [hook], val=False, visualizer=VISUALIZER))
    assert list(pictures(tmp_path)) == ["feature_maps_0.png", "feature_maps_3.png"]


def test_training_is_bitwise_the_same(tmp_path):
    plain = run(config(tmp_path / "plain", visualizer=VISUALIZER))
    hook = dict(DRAW, by_epoch=False)
    drawn = run(config(tmp_path / "drawn", [hook], visualizer=VISUALIZER))
    before, after = tensors_of(plain), tensors_of(drawn)
    assert len(pictures(tmp_path / "drawn")) == 5
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_what_is_no_map_is_said_once(tmp_path):
    losses = dict(
        kd=dict(type="KDLoss", tap="head.fc"),
        near=dict(type="TinyImitation", tap="backbone.body"),
    )
    runner = run(config(tmp_path, [DRAW], losses, epochs=2, visualizer=VISUALIZER))
    assert log_of(runner).count("head.fc ((1, 4)) is no map and is not drawn (loss kd)") == 1
    assert len(pictures(tmp_path)) == 3


def test_nothing_to_draw(tmp_path):
    losses = dict(kd=dict(type="KDLoss", tap="head.fc"))
    runner = run(config(tmp_path, [DRAW], losses, visualizer=VISUALIZER))
    assert log_of(runner).count("no tap puts out a map") == 1
    assert not pictures(tmp_path)


def test_more_maps_than_wanted(tmp_path):
    losses = dict(near=dict(type="TinyImitation", tap="backbone.{stem,body}"))
    runner = run(config(tmp_path, [dict(DRAW, max_maps=1)], losses, visualizer=VISUALIZER))
    assert log_of(runner).count("2 maps, of which the first 1 are drawn") == 1


def test_a_wrong_index_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="index=40, but the dataset has 18 images"):
        run(config(tmp_path, [dict(DRAW, index=40)], visualizer=VISUALIZER))


def test_the_model_must_be_a_distiller(tmp_path):
    cfg = config(tmp_path, [DRAW])
    cfg.model = classifier(4)
    with pytest.raises(TypeError, match="FeatureMapHook works on a Distiller"):
        run(cfg)


def test_bad_arguments():
    with pytest.raises(ValueError, match="interval"):
        HOOKS.build(dict(DRAW, interval=0))


@pytest.mark.parametrize(("length", "side"), [(196, 14), (197, 14), (198, 14), (201, 14), (5, 2)])
def test_token_grids(length, side):
    tokens = torch.randn(2, length, 7)
    grid = activation_map(tokens)
    assert torch.allclose(grid.flatten(), tokens[0, -side * side :].abs().mean(1))
    assert grid.shape == (side, side)


@pytest.mark.parametrize("shape", [(2, 10), (2, 3, 1, 1), (2, 3, 7), (2, 210, 4), (2, 1, 8)])
def test_no_maps(shape):
    assert activation_map(torch.zeros(shape)) is None


def test_convolutional_maps():
    maps = torch.randn(2, 5, 4, 6)
    assert torch.allclose(activation_map(maps), maps[0].abs().mean(0))


@pytest.mark.parametrize("to_rgb", [True, False])
def test_the_input_is_shown_in_its_own_colours(tmp_path, to_rgb):
    ours = preprocessor(mean=[10.0, 20.0, 30.0], to_rgb=to_rgb)
    runner = run(config(tmp_path, data_preprocessor=ours))
    image = Squares()[0]["inputs"]
    data = runner.model.data_preprocessor({"inputs": [image], "data_samples": None}, False)
    shown = input_image(data["inputs"][0], runner.model)
    assert np.array_equal(shown, image.flip(0).permute(1, 2, 0).numpy())


def test_equal_maps_show_equal_colours_and_no_difference():
    values = torch.linspace(0, 3, 64).view(8, 8)
    image = np.zeros((32, 32, 3), np.uint8)
    picture = draw_maps(image, [MapPair("x", values, values)], "t")
    high, middle = (253, 231, 36), {(246, 247, 247), (247, 247, 247)}
    _, student, teacher, difference = map(colours, np.array_split(picture, 4, axis=1))
    assert high in student
    assert high in teacher
    assert middle & difference
    halved = draw_maps(image, [MapPair("x", values / 2, values)], "t")
    _, student, teacher, difference = map(colours, np.array_split(halved, 4, axis=1))
    assert high not in student  # half of the teacher's is half the common scale
    assert high in teacher


def colours(part):
    return set(map(tuple, part.reshape(-1, 3).tolist()))


def test_other_sizes_and_no_teacher():
    image = np.zeros((32, 48, 3), np.uint8)
    pairs = [
        MapPair("a", torch.rand(8, 12), torch.rand(4, 6)),
        MapPair("b", torch.rand(8, 12), None),
    ]
    picture = draw_maps(image, pairs, "t")
    assert picture.dtype == np.uint8
    assert picture.shape[0] > 500
