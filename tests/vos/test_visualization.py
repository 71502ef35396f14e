"""Masks drawn over images, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from mmkd_ext.vos.visualization import complete, overlay

GREY = np.full((6, 7, 3), 100, np.uint8)


def test_objects_are_tinted_and_outlined():
    ids = np.zeros((6, 7), np.uint8)
    ids[1:5, 0:4] = 1
    ids[1:5, 4:7] = 2
    ids[0, 6] = 255
    image = GREY.copy()
    drawn = overlay(image, ids)
    expected = GREY.copy()
    expected[1:5] = 0  # both contours; at the image's border there is none
    expected[2:4, 0:3] = (114, 50, 50)  # half of 100, half of (128, 0, 0)
    expected[2:4, 5:7] = (50, 114, 50)
    assert np.array_equal(drawn, expected)
    assert np.array_equal(image, GREY)


def test_colours_and_share_are_the_callers():
    ids = np.full((6, 7), 1, np.uint8)
    drawn = overlay(GREY, ids, palette=[(0, 0, 0), (200, 0, 40)], alpha=0.25)
    assert (drawn == (125, 75, 85)).all()
    assert complete([(0, 0, 0), (9, 9, 9)])[:3] == [(0, 0, 0), (9, 9, 9), (0, 128, 0)]
    assert len(complete(None)) == len(complete([(1, 2, 3)] * 300)) == 256


def test_what_does_not_fit():
    with pytest.raises(
        ValueError, match=r"ids \(H, W\), both uint8, not \(6, 7, 3\) uint8 and \(7, 6\)"
    ):
        overlay(GREY, np.zeros((7, 6), np.uint8))
    with pytest.raises(ValueError, match="alpha is a share between 0 and 1, not 2"):
        overlay(GREY, np.zeros((6, 7), np.uint8), alpha=2)
