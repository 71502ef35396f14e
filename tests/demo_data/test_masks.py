"""Masks as COCO writes them, read back by pycocotools."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmkd_ext.demo_data import masks


def decode(segmentation, shape) -> np.ndarray:
    encoded = coco_mask.frPyObjects(segmentation, *shape)
    if isinstance(encoded, list):
        encoded = coco_mask.merge(encoded)
    return coco_mask.decode(encoded).astype(bool)


def picture(*rows: str) -> np.ndarray:
    return np.asarray([[cell == "#" for cell in row] for row in rows])


@pytest.mark.parametrize("density", [0.05, 0.3, 0.5, 0.9, 1.0])
def test_both_encodings_are_exact(density):
    random = np.random.RandomState(0)
    polygons = 0
    for shape in [(1, 1), (3, 5), (9, 4), (16, 16)] * 25:
        mask = random.random_sample(shape) < density
        mask[random.randint(shape[0]), random.randint(shape[1])] = True
        np.testing.assert_array_equal(decode(masks.run_lengths(mask), shape), mask)
        outlines = masks.polygons(mask)
        if outlines is not None:
            polygons += 1
            np.testing.assert_array_equal(decode(outlines, shape), mask)
        x, y, width, height = masks.bounding_box(mask)
        assert mask.sum() == mask[y : y + height, x : x + width].sum()
        # What COCO itself takes for the box of the same mask.
        box = coco_mask.toBbox(coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))))
        assert [x, y, width, height] == box.tolist()
    assert polygons >= 25


def test_polygons_run_along_pixel_edges():
    square = picture("....", ".##.", ".##.", "....")
    assert masks.polygons(square) == [[1, 1, 3, 1, 3, 3, 1, 3]]


def test_parts_that_touch_at_a_corner_are_two_polygons():
    outlines = masks.polygons(picture("#.", ".#"))
    assert sorted(outlines) == [[0, 0, 1, 0, 1, 1, 0, 1], [1, 1, 2, 1, 2, 2, 1, 2]]


def test_a_hole_is_left_to_run_lengths():
    ring = picture("###", "#.#", "###")
    assert masks.polygons(ring) is None
    assert masks.run_lengths(ring) == {"size": [3, 3], "counts": [0, 4, 1, 4]}
    open_at_a_corner = picture("##.", "#.#", "###")  # no hole: outside comes in by the corner
    np.testing.assert_array_equal(
        decode(masks.polygons(open_at_a_corner), (3, 3)), open_at_a_corner
    )
