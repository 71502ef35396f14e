"""Layers in affine motion: images, flow and occlusion against what can be told without them."""

import cmath

import numpy as np
import pytest

from mmkd_ext.demo_data import layers
from mmkd_ext.demo_data.layers import Affine, Layer

SHAPE = (40, 60)
REST = Affine()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.RandomState(0).randint(0, 256, size=(height, width, 3)).astype(np.uint8)


def ground(motion: Affine = REST, margin: int = 16) -> Layer:
    """A background of noise."""
    texture = noise(SHAPE[0] + 2 * margin, SHAPE[1] + 2 * margin)
    return Layer(texture, Affine(x0=-margin, y0=-margin), motion)


def square(x: int, y: int, motion: Affine, side: int = 10) -> Layer:
    """A white square whose upper left pixel is (x, y)."""
    texture = np.full((side, side, 3), 255, np.uint8)
    coverage = np.full((side, side), 255, np.uint8)
    return Layer(texture, Affine(x0=x, y0=y), motion, coverage)


def where(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[rows, columns] = True
    return mask


@pytest.mark.parametrize("half_tangent", [0.0, 0.1, -0.25, 1.0])
@pytest.mark.parametrize("zoom", [1.0, 0.8])
def test_turns_are_complex_multiplications(half_tangent, zoom):
    centre, target = complex(7.5, -3), complex(1.25, 20)
    made = Affine.turn((7.5, -3), (1.25, 20), half_tangent, zoom)
    factor = zoom * cmath.exp(2j * np.arctan(half_tangent))
    other = Affine(1.1, 0.2, -0.3, 0.9, 4.0, -5.0)
    for point in (centre, 0j, complex(-30, 11), complex(100, 100)):
        x, y = made(point.real, point.imag)
        assert complex(x, y) == pytest.approx(target + factor * (point - centre))
        assert made.inverse()(x, y) == pytest.approx((point.real, point.imag))
        inner = other(point.real, point.imag)
        assert made.after(other)(point.real, point.imag) == pytest.approx(made(*inner))


def test_whole_pixels_move_exactly():
    pair = layers.render((ground(Affine(x0=5, y0=-3)),), SHAPE)
    first, second = pair.images
    np.testing.assert_array_equal(second[:-3, 5:], first[3:, :-5])
    assert (pair.flow == [5, -3]).all()
    assert (pair.owner == 0).all()
    inside = where(slice(3, None), slice(None, -5))
    np.testing.assert_array_equal(pair.occluded, ~inside)


def test_a_quarter_turn_is_numpys():
    side = 31
    pair = layers.render(
        (Layer(noise(side, side), REST, Affine.turn((15, 15), (15, 15), 1.0)),), (side, side)
    )
    np.testing.assert_array_equal(pair.images[1], np.rot90(pair.images[0], -1))
    y, x = np.mgrid[:side, :side]
    np.testing.assert_array_equal(pair.flow, np.stack([30 - y - x, x - y], axis=2))
    assert not pair.occluded.any()


def test_a_pixel_is_the_mean_of_what_it_shows():
    dark = Layer(np.zeros((2, 2, 3), np.uint8), REST, REST)
    pair = layers.render((dark, square(20, 10, Affine(x0=0.5, y0=4.5))), SHAPE)
    assert set(np.unique(pair.images[0])) == {0, 255}
    row = pair.images[1][20, 18:34, 1].tolist()
    assert row == [0, 0, 128, *[255] * 9, 128, 0, 0, 0]
    assert pair.images[1][14, 20].tolist() == [64, 64, 64]  # a corner
    _, owner = layers.draw((dark, square(20, 10, Affine(x0=0.5))), 1, SHAPE)
    np.testing.assert_array_equal(owner == 1, where(slice(10, 20), slice(20, 31)))


def test_what_is_hidden_afterwards_is_occluded():
    pair = layers.render((ground(), square(10, 8, Affine(x0=12))), SHAPE)
    covered = where(slice(8, 18), slice(10, 20))
    np.testing.assert_array_equal(pair.owner == 1, covered)
    np.testing.assert_array_equal(pair.flow, covered[..., None] * np.float32([12, 0]))
    np.testing.assert_array_equal(pair.occluded, where(slice(8, 18), slice(22, 32)))


def test_what_goes_below_another_layer_or_out_is_occluded():
    scene = (ground(), square(10, 8, Affine(x0=12)), square(26, 0, REST, side=30))
    occluded = layers.render(scene, SHAPE).occluded
    hidden = where(slice(8, 18), slice(14, 20)) | where(slice(8, 18), slice(22, 26))
    np.testing.assert_array_equal(occluded, hidden)
    leaving = layers.render((ground(), square(48, 8, Affine(x0=5))), SHAPE).occluded
    hidden = where(slice(8, 18), slice(55, 60))  # columns 60 to 62 are no more; 58, 59 are covered
    np.testing.assert_array_equal(leaving, hidden)
    gone = layers.render((ground(), square(48, 8, Affine(x0=50))), SHAPE)
    np.testing.assert_array_equal(gone.occluded, where(slice(8, 18), slice(48, 58)))


def test_order_decides_who_owns_a_pixel():
    left, right = square(10, 8, REST), square(15, 8, REST)
    both = where(slice(8, 18), slice(15, 20))
    for scene in ((ground(), left, right), (ground(), right, left)):
        assert (layers.render(scene, SHAPE).owner[both] == 2).all()


def test_what_the_border_cuts_off_is_the_same_elsewhere():
    """A layer at the border shows what it shows in the middle of a larger image."""
    motion = Affine.turn((2.0, 3.0), (-1.25, 5.5), 0.07, 1.1)
    texture = noise(12, 12)
    coverage = np.full((12, 12), 255, np.uint8)
    dark = Layer(np.zeros((2, 2, 3), np.uint8), REST, REST)

    def drawn(offset: int, shape: tuple[int, int]) -> np.ndarray:
        move = Affine(x0=offset, y0=offset)
        layer = Layer(texture, move, move.after(motion).after(move.inverse()), coverage)
        return layers.draw((dark, layer), 1, shape)[0]

    np.testing.assert_array_equal(drawn(16, (56, 76))[16:, 16:], drawn(0, SHAPE))
    assert drawn(16, (56, 76))[:, :16].any()  # part of it was cut off indeed
