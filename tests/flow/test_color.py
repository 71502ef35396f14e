"""Colours of the wheel, of lengths, and of what is not known."""

from __future__ import annotations

import mmcv
import numpy as np
import pytest

from mmkd_ext.flow import flow_to_color

# The wheel begins at the left: mmcv's angle is that of (-u, -v).
DIRECTIONS = np.array([[[1.0, 0], [0, 1], [-1, 0], [0, -1]]])


def test_the_wheel_is_middleburys():
    wheel = mmcv.visualization.optflow.make_color_wheel() * 255
    assert wheel.shape == (55, 3)
    theirs = [[255, 0, 0], [255, 17, 0], [43, 255, 0], [78, 0, 255], [255, 0, 43]]  # whole numbers
    np.testing.assert_allclose(wheel[[0, 1, 20, 40, 54]], theirs, atol=0.75)


def test_directions_and_lengths():
    found = flow_to_color(DIRECTIONS)
    assert found.dtype == np.uint8
    assert found[0, 0].tolist() == [255, 0, 0]  # to the right: red
    assert len({tuple(colour) for colour in found[0]}) == 4
    assert np.array_equal(found, np.floor(255 * mmcv.flow2rgb(DIRECTIONS)).astype(np.uint8))
    # Half as far is half as much colour; no motion is white.
    flow = np.array([[[2.0, 0], [1, 0], [0, 0]]])
    assert flow_to_color(flow)[0].tolist() == [[255, 0, 0], [255, 127, 127], [255, 255, 255]]


def test_one_scale_for_several():
    near, far = np.full((2, 3, 2), (1.0, 0)), np.full((2, 3, 2), (8.0, 0))
    assert np.array_equal(flow_to_color(near), flow_to_color(far))
    assert (flow_to_color(near, max_radius=2.0) == [255, 127, 127]).all()
    assert (flow_to_color(far, max_radius=2.0) == [255, 0, 0]).all()  # longer ones saturate


def test_what_is_not_known_is_white_and_no_scale():
    flow = np.array([[[2.0, 0], [1.6666668e9, np.nan]]])
    valid = np.array([[True, False]])
    assert flow_to_color(flow, valid)[0].tolist() == [[255, 0, 0], [255, 255, 255]]
    assert (flow_to_color(np.zeros((2, 2, 2))) == 255).all()
    with pytest.raises(ValueError, match="NaN or infinity; say so with `valid`"):
        flow_to_color(flow)
    with pytest.raises(ValueError, match=r"valid is \(1, 2\), not \(2, 1\)"):
        flow_to_color(flow, valid.T)
    with pytest.raises(ValueError, match=r"flow is \(H, W, 2\), not \(2, 2, 3\)"):
        flow_to_color(np.zeros((2, 2, 3)))
    with pytest.raises(ValueError, match="max_radius is a length above 0, not 0"):
        flow_to_color(flow, valid, max_radius=0)
