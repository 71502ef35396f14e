"""Pictures pixel by pixel: errors, the wheel, panels on one scale, and images moved back."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
import torch

from mmkd_ext.flow import flow_to_color
from mmkd_ext.flow.picture import Panel, color_wheel, compose, error_map, usual_max_error
from mmkd_ext.flow.structures import FlowDataSample
from mmkd_ext.flow.visualization import FlowVisualizer, draw_pair
from mmkd_ext.flow.warp import warp
from mmkd_ext.frames.reading import read_image
from mmkd_ext.registry import VISUALIZERS

GREY = (128, 128, 128)


def magma(share: float) -> tuple[int, ...]:
    return tuple(round(255 * level) for level in matplotlib.colormaps["magma"](share)[:3])


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.RandomState(seed).randint(0, 256, (height, width, 3), np.uint8)


def constant(height: int, width: int, *vector: float) -> np.ndarray:
    return np.broadcast_to(np.array(vector, np.float32), (height, width, 2)).copy()


def shows(picture: np.ndarray, panel: np.ndarray) -> bool:
    """Whether the panel is somewhere in the picture, each pixel enlarged as much as the others."""
    times = max(1, -(-256 // max(panel.shape[:2])))
    large = panel.repeat(times, axis=0).repeat(times, axis=1)
    height, width = large.shape[:2]
    fits = tuple(
        slice(0, max(a - b + 1, 0)) for a, b in zip(picture.shape, large.shape, strict=True)
    )
    corners = (picture[fits[:2]] == large[0, 0]).all(axis=2)
    corners &= (picture[height - 1 :, width - 1 :] == large[-1, -1]).all(axis=2)
    return any(
        np.array_equal(picture[y : y + height, x : x + width], large)
        for y, x in np.argwhere(corners)
    )


def test_errors_from_black_to_bright():
    gt = np.zeros((1, 5, 2))
    pred = gt.copy()
    pred[0, :, 0] = 0, 2, 4, 9, 1
    valid = np.array([[1, 1, 1, 1, 0]], bool)
    drawn = error_map(pred, gt, valid, max_error=4)
    expected = [magma(0.0), magma(0.5), magma(1.0), magma(1.0), GREY]
    assert np.abs(drawn[0].astype(int) - expected).max() <= 1
    assert (error_map(pred, gt, np.zeros((1, 5))) == 128).all()
    # The usual end of the scale leaves out one pixel in a hundred, and does not go below 0.1.
    assert usual_max_error(np.array([1.0] * 99 + [50.0])) < 2
    assert usual_max_error(np.full(10, 1e-6)) == usual_max_error(np.zeros(0)) == 0.1
    np.testing.assert_array_equal(
        error_map(pred, gt), error_map(pred, gt, max_error=np.percentile([0, 2, 4, 9, 1], 99))
    )
    with pytest.raises(ValueError, match="max_error is a length above 0, not 0"):
        error_map(pred, gt, max_error=0)


def test_the_wheel_holds_the_colour_of_each_direction():
    wheel = color_wheel(101)
    assert wheel.shape == (101, 101, 3)
    for y, x, vector in (
        (50, 100, (1, 0)),
        (100, 50, (0, 1)),
        (50, 0, (-1, 0)),
        (25, 50, (0, -0.5)),
    ):
        np.testing.assert_array_equal(
            wheel[y, x], flow_to_color(constant(1, 1, *vector), max_radius=1)[0, 0]
        )
    for y, x in ((50, 50), (0, 0), (100, 100), (10, 95)):  # no motion, and outside
        assert tuple(wheel[y, x]) == (255, 255, 255)
    with pytest.raises(ValueError, match="3 pixels or more, not 2"):
        color_wheel(2)


@pytest.mark.parametrize(("height", "width"), [(20, 32), (300, 40), (40, 600)])
def test_panels_stay_sharp_and_whole(height, width):
    panels = [Panel(noise(height, width, seed), "title") for seed in range(4)]
    for count in (1, 2, 3, 4):
        picture = compose(panels[:count], radius=3, max_error=1)
        assert [shows(picture, panel.image) for panel in panels] == [n < count for n in range(4)]
    assert compose(panels[:1]).shape[1] < compose(panels[:1], radius=3).shape[1]
    with pytest.raises(ValueError, match="panels are of one size"):
        compose([panels[0], Panel(noise(8, 8), "other")])


def test_all_flow_in_a_picture_is_on_one_scale():
    image, other = noise(30, 40), noise(30, 40, 1)
    gt, pred = constant(30, 40, 0, 4), constant(30, 40, 2, 0)
    valid = np.ones((30, 40), bool)
    gt[0, :5], valid[0, :5] = 1000, False  # nobody knows: it sets no scale, and is grey
    colours = flow_to_color(gt, valid, 4)
    colours[0, :5] = GREY
    picture = draw_pair([image, other], gt, pred, valid)
    assert shows(picture, image)
    assert shows(picture, colours)
    assert shows(picture, flow_to_color(pred, max_radius=4))
    assert shows(picture, error_map(pred, gt, valid))
    # A scale that is given, and the prediction's own where there is no truth.
    assert shows(draw_pair(image, gt, pred, valid, max_radius=9), flow_to_color(pred, max_radius=9))
    picture = draw_pair([image, other], None, pred)
    assert shows(picture, flow_to_color(pred, max_radius=2))
    assert shows(picture, warp(other, pred)[0])
    # If nothing moves in truth, the prediction sets the scale.
    assert shows(draw_pair(image, 0 * gt, pred), flow_to_color(pred, max_radius=2))
    assert shows(draw_pair(image, 0 * gt, 0 * gt), np.full_like(image, 255))
    assert shows(draw_pair(image, gt, pred, 0 * valid), np.full_like(image, 128))


def test_what_cannot_be_drawn():
    image, flow = noise(8, 9), constant(8, 9, 1, 1)
    with pytest.raises(ValueError, match=r"image is \(8, 9\), but the predicted flow \(9, 8\)"):
        draw_pair(image, flow, constant(9, 8, 1, 1))
    with pytest.raises(ValueError, match="NaN or infinity"):
        draw_pair(image, flow, flow * np.nan)


def test_the_visualizer_writes_a_file_or_hands_to_its_backends(tmp_path):
    visualizer = VISUALIZERS.build(
        dict(
            type="mmkd_ext.FlowVisualizer",
            name="flow",
            vis_backends=[dict(type="LocalVisBackend")],
            save_dir=str(tmp_path),
        )
    )
    assert isinstance(visualizer, FlowVisualizer)
    image, gt, pred = noise(16, 24), constant(16, 24, 3, 1), constant(16, 24, 1, 2)
    sample = FlowDataSample()
    sample.gt_flow = torch.from_numpy(gt.transpose(2, 0, 1).copy())
    sample.gt_valid = torch.ones(16, 24, dtype=torch.bool)
    sample.pred_flow = torch.from_numpy(pred.transpose(2, 0, 1).copy()).bfloat16()
    visualizer.add_datasample("pair", image, sample, step=7)
    stored = read_image(str(tmp_path / "vis_data" / "vis_image" / "pair_7.png"))
    np.testing.assert_array_equal(stored, draw_pair(image, gt, pred))
    assert visualizer.get_image().shape == stored.shape
    target = tmp_path / "new" / "one.png"
    visualizer.add_datasample(
        "pair", image, sample, draw_gt=False, out_file=str(target), max_radius=5
    )
    np.testing.assert_array_equal(read_image(str(target)), draw_pair(image, None, pred, None, 5))
    visualizer.add_datasample("pair", image, draw_pred=False, out_file=str(target))
    assert shows(read_image(str(target)), image)


def test_moving_an_image_back():
    image2 = noise(9, 12)
    warped, outside = warp(image2, constant(9, 12, 3, -2))
    np.testing.assert_array_equal(warped[2:, :-3], image2[:-2, 3:])
    assert outside[:2].all()
    assert outside[:, -3:].all()
    assert not outside[2:, :-3].any()
    assert not warped[outside].any()
    # Between two pixels, their mean; at the border, only what is beyond it is outside.
    warped, outside = warp(image2, constant(9, 12, 0.5, 0))
    means = (image2[:, :-1].astype(float) + image2[:, 1:]) / 2
    assert np.abs(warped[:, :-1] - means).max() <= 0.5
    assert outside[:, -1].all()
    assert outside.sum() == 9
    assert warp(image2, constant(9, 12, 1e12, 0))[1].all()
    same, outside = warp(image2, constant(9, 12, 0, 0))
    assert not outside.any()
    np.testing.assert_array_equal(same, image2)


def test_a_true_flow_moves_image_2_onto_image_1():
    y, x = np.mgrid[:40, :50].astype(np.float32)
    texture = lambda y, x: 127 + 60 * np.sin(0.3 * x + 0.1 * y) + 40 * np.sin(0.05 * x - 0.3 * y)  # noqa: E731
    angle, scale = 0.05, 1.02  # image 2 is image 1, turned and enlarged
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    flow = np.stack([cos * x - sin * y - x, sin * x + cos * y - y], axis=2)
    back = np.linalg.inv([[cos, -sin], [sin, cos]])
    image1 = texture(y, x)
    image2 = texture(back[1, 0] * x + back[1, 1] * y, back[0, 0] * x + back[0, 1] * y)
    image1, image2 = (
        np.repeat(i[..., None], 3, 2).round().astype(np.uint8) for i in (image1, image2)
    )
    warped, outside = warp(image2, flow)
    assert 0 < outside.sum() < 400
    before, after = (np.abs(i[~outside] - image1[~outside].astype(float)) for i in (image2, warped))
    assert after.mean() < 1
    assert before.mean() > 10


def test_moving_back_needs_an_image_and_a_flow_of_one_size():
    with pytest.raises(
        ValueError, match=r"the flow is .* \(9, 12, 2\) as the image is, not \(12, 9"
    ):
        warp(noise(9, 12), constant(12, 9, 0, 0))
    with pytest.raises(ValueError, match=r"image2 is \(H, W, 3\) uint8, not \(9, 12, 3\) float64"):
        warp(noise(9, 12) / 255, constant(9, 12, 0, 0))
    with pytest.raises(ValueError, match="NaN or infinity"):
        warp(noise(9, 12), constant(9, 12, np.nan, 0))
