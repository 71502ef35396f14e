"""Training augmentations: images, flow and masks move together; draws lie where they should."""

from collections import Counter

import cv2
import numpy as np
import pytest
import torch

from mmkd_ext.flow.transforms.resizing import move_points, resize_dense
from mmkd_ext.registry import TRANSFORMS

SHAPE = (84, 110)  # of the made pairs
CROP = (48, 64)
# Image 1 point (x, y) is at AFFINE @ (x, y, 1) in image 2.
AFFINE = np.array([[1.03, 0.02, 3.0], [-0.015, 0.98, -2.0]])


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)
    torch.manual_seed(0)


def build(name: str, **settings):
    return TRANSFORMS.build(dict(type=f"mmkd_ext.{name}", **settings))


def grid(shape=SHAPE) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    return x, y


def texture(x, y) -> np.ndarray:
    waves = [
        60 * np.sin(0.23 * x + 0.11 * y + c) + 50 * np.sin(0.07 * x - 0.29 * y + 2 * c)
        for c in range(3)
    ]
    return np.rint(127.5 + np.stack(waves, axis=-1)).astype(np.uint8)


def moving_pair(sparse: bool = False, share: float = 1.0) -> dict:
    """An affine motion of a texture that is known everywhere; the images are exact, not warped."""
    x, y = grid()
    inverse = cv2.invertAffineTransform(AFFINE)
    there = np.stack([x, y, np.ones_like(x)], axis=-1)
    flow = (there @ AFFINE.T - there[..., :2]).astype(np.float32)
    valid = np.random.random_sample(SHAPE) < share
    return dict(
        img1=texture(x, y),
        img2=texture(*np.moveaxis(there @ inverse.T, -1, 0)),
        gt_flow=np.where(valid[..., None], flow, np.float32(0)),
        gt_valid=valid,
        ori_shape=SHAPE,
        sparse=sparse,
    )


def warp_error(results: dict, sign: float = 1.0) -> float:
    """Mean difference, in levels, of image 1 and image 2 looked up where the flow points to."""
    x, y = grid(results["gt_valid"].shape)
    to = np.stack([x, y], axis=-1) + sign * results["gt_flow"]
    to_x, to_y = to[..., 0].astype(np.float32), to[..., 1].astype(np.float32)
    warped = cv2.remap(results["img2"], to_x, to_y, cv2.INTER_LINEAR).astype(float)
    height, width = results["gt_valid"].shape
    inside = (to_x >= 0) & (to_x <= width - 1) & (to_y >= 0) & (to_y <= height - 1)
    inside &= results["gt_valid"]
    assert inside.sum() > 100
    return np.abs(warped - results["img1"])[inside].mean()


@pytest.mark.parametrize(("sparse", "share"), [(False, 1.0), (False, 0.97), (True, 0.3)])
def test_the_flow_still_leads_from_image_1_to_image_2(sparse, share):
    steps = [
        build("FlowResizeCrop", crop_size=CROP, scale_range=(-0.5, 1.0)),
        build("FlowRandomFlip", vertical_prob=0.0 if sparse else 0.5),
    ]
    sides = set()
    for seed in range(40):
        np.random.seed(seed)
        results = moving_pair(sparse, share)
        before = {name: value.copy() for name, value in results.items() if name.startswith("gt")}
        assert warp_error(results) < 1.2
        given = dict(results)
        for step in steps:
            results = step(results)
        assert results["img1"].shape == results["img2"].shape == (*CROP, 3)
        assert (results["img1"].dtype, results["gt_flow"].dtype) == (np.uint8, np.float32)
        assert results["gt_flow"].shape == (*CROP, 2)
        assert (results["gt_valid"].shape, results["gt_valid"].dtype) == (CROP, bool)
        assert (results["gt_flow"][~results["gt_valid"]] == 0).all()
        assert all(results[name].flags.c_contiguous for name in ("img1", "img2", "gt_flow"))
        assert warp_error(results) < 1.5
        assert warp_error(results, sign=-1) > 8  # the measure sees a wrong flow
        assert warp_error(results, sign=0) > 4
        for name, value in before.items():  # arrays of the caller are left alone
            np.testing.assert_array_equal(given[name], value)
        sides.add(tuple(np.sign(results["gt_flow"].sum(axis=(0, 1)))))
    assert len(sides) == (2 if sparse else 4)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("sparse", [False, True])
def test_flow_and_image_are_cut_from_the_same_place(sparse, axis):
    # The image says at which x (or y) a pixel was: level 2x. So does the flow: component `axis` is
    # x times the scale, the other one is the scale.
    place = grid()[axis]
    flow = np.ones((*SHAPE, 2), np.float32)
    flow[..., axis] = place
    image = np.repeat((2 * place).astype(np.uint8)[..., None], 3, axis=2)
    crop = build("FlowResizeCrop", crop_size=CROP, scale_range=(-0.5, 1.0), stretch_prob=0.0)
    for _ in range(20):
        valid = np.random.random_sample(SHAPE) < 0.3 if sparse else np.ones(SHAPE, bool)
        occluded = valid & (place > 50)
        images = dict(img1=image, img2=image, sparse=sparse)
        results = dict(images, gt_flow=flow, gt_valid=valid, gt_occluded=occluded)
        results = build("FlowRandomFlip", vertical_prob=0.5)(crop(results))
        known = results["gt_valid"]
        scale = np.abs(results["gt_flow"][..., 1 - axis][known])
        assert np.ptp(scale) < 1e-5
        by_flow = np.abs(results["gt_flow"][..., axis][known]) / scale
        by_image = results["img1"][..., axis][known] / 2
        # Levels are steps of half a pixel, and OpenCV rounds bytes by 0.8 level at most. Sparse: a
        # vector moves by half a pixel of the result at most, and its place counts from the first
        # pixel's centre instead of the corner.
        allowed = 0.4 + sparse * (0.5 / scale[0] + abs(1 - 1 / scale[0]) / 2)
        assert np.abs(by_flow - by_image).max() < allowed + 1e-3
        clear = np.abs(by_flow - 50.5) > 1  # not along the edge of what is occluded
        hidden = results["gt_occluded"][known]
        np.testing.assert_array_equal(hidden[clear], by_flow[clear] > 50.5)
        if sparse:
            assert not results["gt_occluded"][~known].any()


def test_unknown_vectors_do_not_mix_with_known_ones():
    rng = np.random.RandomState(3)
    valid = rng.random_sample((60, 70)) < 0.9
    flow = np.where(valid[..., None], np.float32([300, -200]), np.float32(0))
    for scale in [(0.7, 0.6), (1.3, 1.9), (2.0, 1.0), (0.5, 0.83)]:
        resized, known = resize_dense(flow, valid, scale)
        assert known.shape == (round(60 * scale[1]), round(70 * scale[0]))
        expected = np.float32([300 * scale[0], -200 * scale[1]])
        np.testing.assert_allclose(
            resized[known], np.broadcast_to(expected, (known.sum(), 2)), rtol=2e-5
        )
        assert (resized[~known] == 0).all()
        # Known exactly where the up to four pixels around the place looked up are.
        taps = []
        for length, factor, old in zip(known.shape, scale[::-1], valid.shape, strict=True):
            at = (np.arange(length) + 0.5) / factor - 0.5
            low = np.floor(at + 1e-4).astype(int)  # a pixel's own place needs no neighbour
            high = np.ceil(at - 1e-4).astype(int)
            taps.append((np.clip(low, 0, old - 1), np.clip(high, 0, old - 1)))
        four = [valid[np.ix_(rows, columns)] for rows in taps[0] for columns in taps[1]]
        np.testing.assert_array_equal(known, np.logical_and.reduce(four))
        assert 0.5 < known.mean() < 0.9


def test_sparse_vectors_keep_their_value_and_their_number():
    rng = np.random.RandomState(5)
    valid = rng.random_sample((50, 60)) < 0.2
    occluded = valid & (rng.random_sample((50, 60)) < 0.3)
    flow = np.where(valid[..., None], rng.randn(50, 60, 2) * 20, 0).astype(np.float32)
    moved, known, hidden = move_points(flow, valid, occluded, (90, 78), (1.3, 1.8))
    inner = valid.copy()
    inner[0] = inner[:, 0] = False  # the published rule drops them
    assert known.sum() == inner.sum()
    assert hidden.sum() == (inner & occluded).sum()
    for y, x in zip(*np.nonzero(inner), strict=True):
        at = (round(1.8 * y), round(1.3 * x))
        assert known[at]
        assert hidden[at] == occluded[y, x]
        np.testing.assert_allclose(moved[at], flow[y, x] * (1.3, 1.8), rtol=1e-6)
    assert (moved[~known] == 0).all()


def test_of_sparse_vectors_that_meet_the_last_stays():
    # A row of 8 at half the size: x 0..7 -> 0, .5, 1, 1.5, 2, 2.5, 3, 3.5 -> 0, 0, 1, 2, 2, 2, 3, 4
    # (halves to the even number); 0 is dropped, and 4 is outside. The same rows: 2 and 3 -> 1, 2.
    flow = np.zeros((4, 8, 2), np.float32)
    flow[2, :, 0], flow[3, :, 0] = np.arange(10, 18), np.arange(20, 28)
    valid = flow[..., 0] > 0
    moved, known, none = move_points(flow, valid, None, (2, 4), (0.5, 0.5))
    assert none is None
    np.testing.assert_array_equal(known, [[0, 0, 0, 0], [0, 1, 1, 1]])
    np.testing.assert_array_equal(moved[1, :, 0], [0, 6, 7.5, 8])


def test_flips_are_exact():
    pair = moving_pair(share=0.8)
    pair["gt_occluded"] = np.random.random_sample(SHAPE) < 0.5
    left = build("FlowRandomFlip", horizontal_prob=1, vertical_prob=0)(dict(pair))
    down = build("FlowRandomFlip", horizontal_prob=0, vertical_prob=1)(dict(pair))
    none = build("FlowRandomFlip", horizontal_prob=0, vertical_prob=0)(dict(pair))
    for name in ("img1", "img2", "gt_valid", "gt_occluded"):
        np.testing.assert_array_equal(left[name], pair[name][:, ::-1])
        np.testing.assert_array_equal(down[name], pair[name][::-1])
        np.testing.assert_array_equal(none[name], pair[name])
    np.testing.assert_array_equal(left["gt_flow"], pair["gt_flow"][:, ::-1] * (-1, 1))
    np.testing.assert_array_equal(down["gt_flow"], pair["gt_flow"][::-1] * (1, -1))
    np.testing.assert_array_equal(none["gt_flow"], pair["gt_flow"])
    both = build("FlowRandomFlip", horizontal_prob=1, vertical_prob=1)(dict(pair))
    np.testing.assert_array_equal(both["gt_flow"], -pair["gt_flow"][::-1, ::-1])
    flows = [build("FlowRandomFlip")(dict(pair))["gt_flow"] for _ in range(400)]
    signs = Counter(tuple(np.sign(flow.sum(axis=(0, 1))).tolist()) for flow in flows)
    u, v = np.sign(pair["gt_flow"].sum(axis=(0, 1))).tolist()
    assert 160 < signs[-u, v] + signs[-u, -v] < 240
    assert 20 < signs[u, -v] + signs[-u, -v] < 65


def scales(count: int, shape=(60, 80), sparse=False, **settings) -> np.ndarray:
    """Scales (x, y) that were drawn: what becomes of a flow of (1, 1)."""
    image = np.zeros((*shape, 3), np.uint8)
    ones = np.ones((*shape, 2), np.float32)
    crop = build("FlowResizeCrop", crop_size=(20, 30), **settings)
    drawn = []
    for _ in range(count):
        truth = dict(gt_flow=ones, gt_valid=ones[..., 0] > 0, sparse=sparse)
        results = crop(dict(truth, img1=image, img2=image))
        assert results["img1"].shape == (20, 30, 3)
        drawn.append(results["gt_flow"][results["gt_valid"]][0])
    return np.array(drawn, np.float64)


def test_scales_are_drawn_as_said():
    drawn = np.log2(scales(500, scale_range=(-0.4, 0.8)))
    still = (drawn == 0).all(axis=1)
    assert 60 < still.sum() < 140  # 100
    stretch = (drawn[:, 0] - drawn[:, 1])[~still]
    assert 45 < (stretch == 0).sum() < 120  # 80
    assert -0.4 <= stretch.min() < -0.3
    assert 0.3 < stretch.max() <= 0.4
    plain = drawn[~still][stretch == 0]
    assert -0.4 <= plain.min() < -0.3
    assert 0.7 < plain.max() <= 0.8 < drawn.max() <= 1.0
    sparse = np.log2(scales(200, sparse=True, scale_range=(-0.4, 0.8), spatial_prob=1))
    np.testing.assert_array_equal(sparse[:, 0], sparse[:, 1])
    assert sparse.std() == pytest.approx(1.2 / np.sqrt(12), abs=0.03)


@pytest.mark.parametrize(("sparse", "room"), [(False, 8), (True, 1)])
def test_a_pair_never_becomes_smaller_than_the_crop(sparse, room):
    settings = dict(sparse=sparse, stretch_prob=0, scale_range=(-9, -8))
    floor = (20 + room) / 24  # the height is what is short: 80 wide would allow much less
    np.testing.assert_allclose(scales(3, (24, 80), spatial_prob=1, **settings), floor, rtol=1e-6)
    # Smaller than the crop: enlarged even where nothing is resized. Not smaller: left alone.
    floor = (30 + room) / 15
    np.testing.assert_allclose(scales(3, (24, 15), spatial_prob=0, **settings), floor, rtol=1e-6)
    np.testing.assert_array_equal(scales(3, (20, 30), spatial_prob=0, **settings), 1)


@pytest.mark.parametrize("sparse", [False, True])
def test_places_of_the_crop(sparse):
    x, y = grid((26, 40))
    flow = np.stack([x, y], axis=-1).astype(np.float32)
    image = np.zeros((26, 40, 3), np.uint8)
    crop = build("FlowResizeCrop", crop_size=(20, 30), spatial_prob=0)
    corners = []
    for _ in range(600):
        results = crop(dict(img1=image, img2=image, gt_flow=flow, gt_valid=x >= 0, sparse=sparse))
        corners.append(results["gt_flow"][0, 0])
    left, top = np.array(corners, int).T
    assert set(top) == set(range(7))
    # Sparse: of the 111 places -50..60 the ends take 51 each; of 0..26 the bottom takes 21.
    assert (left == 0).mean() == pytest.approx(51 / 111 if sparse else 1 / 11, abs=0.06)
    assert (left == 10).mean() == pytest.approx(51 / 111 if sparse else 1 / 11, abs=0.06)
    assert (top == 6).mean() == pytest.approx(21 / 27 if sparse else 1 / 7, abs=0.06)
    assert (top == 0).mean() == pytest.approx(1 / 27 if sparse else 1 / 7, abs=0.06)


def test_symmetric_jitter_treats_the_pair_as_one_image():
    pair = dict(img1=np.full((8, 9, 3), 60, np.uint8), img2=np.full((8, 9, 3), 160, np.uint8))
    contrast = dict(brightness=0, contrast=0.5, saturation=0, hue=0)
    together = build("FlowColorJitter", asymmetric_prob=0, **contrast)
    apart = build("FlowColorJitter", asymmetric_prob=1, **contrast)
    factors = []
    for _ in range(30):
        results = together(dict(pair))
        one, two = results["img1"].astype(float), results["img2"].astype(float)
        assert one.shape == (8, 9, 3)
        assert abs((one + two).mean() / 2 - 110) <= 1  # contrast keeps the mean of both
        factors.append((two - one).mean() / 100)
        # A plain image is its own mean.
        assert (apart(dict(pair))["img1"] == 60).all()
    assert 0.49 <= min(factors) < 0.65
    assert 1.35 < max(factors) <= 1.51
    assert (pair["img1"] == 60).all()


def test_a_fifth_of_the_pairs_is_jittered_asymmetrically():
    image = np.full((4, 4, 3), 100, np.uint8)
    jitter = build("FlowColorJitter", brightness=0.4, contrast=0, saturation=0, hue=0)
    pairs = [jitter(dict(img1=image, img2=image)) for _ in range(400)]
    levels = np.array([(pair["img1"][0, 0, 0], pair["img2"][0, 0, 0]) for pair in pairs], int)
    assert 50 < (levels[:, 0] != levels[:, 1]).sum() < 110  # 80, less where both round alike
    assert 59 <= levels.min() < 64
    assert 136 < levels.max() <= 141
    torch.manual_seed(7)
    np.random.seed(7)
    first = jitter(moving_pair())
    torch.manual_seed(7)
    np.random.seed(7)
    np.testing.assert_array_equal(jitter(moving_pair())["img2"], first["img2"])


def test_boxes_of_image_2_get_its_mean_colour():
    rng = np.random.RandomState(2)
    images = rng.randint(0, 120, (2, 240, 300, 3)).astype(np.uint8)
    images[1, :, :, 1] += 100
    mean = images[1].reshape(-1, 3).mean(axis=0).astype(np.uint8)
    erased, sides, whole = 0, [], []
    for _ in range(150):
        pair = build("FlowErase", max_boxes=1)(dict(img1=images[0].copy(), img2=images[1]))
        np.testing.assert_array_equal(pair["img1"], images[0])
        changed = (pair["img2"] != images[1]).any(axis=2)
        if not changed.any():
            continue
        erased += 1
        (rows,), (columns,) = np.nonzero(changed.any(axis=1)), np.nonzero(changed.any(axis=0))
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        assert (pair["img2"][box] == mean).all()
        sides += [(box[0].stop - box[0].start, box[1].stop - box[1].start)]
        if rows[-1] < 239 and columns[-1] < 299:  # not cut off
            whole += [sides[-1]]
    assert 50 < erased < 100
    whole = np.array(whole)
    assert 50 <= whole.min() <= 57
    assert 92 <= whole.max() <= 99
    assert np.abs(np.corrcoef(whole.T)[0, 1]) < 0.5
    assert min(min(side) for side in sides) < 50  # some were cut off
    assert max(max(side) for side in sides) <= 99


def test_one_or_two_boxes_and_the_given_image_stays():
    image = np.zeros((200, 200, 3), np.uint8)
    image[::2] = 100
    kept = image.copy()
    erase = build("FlowErase", prob=1.0, sizes=(10, 11))
    areas = [(erase(dict(img2=image))["img2"] == 50).all(axis=2).sum() for _ in range(200)]
    # Half of 200 draws have two boxes of 100 pixels each; few of them overlap or are cut off.
    assert 70 < sum(area > 100 for area in areas) < 130
    assert max(areas) == 200
    np.testing.assert_array_equal(image, kept)
    never = build("FlowErase", prob=0.0)
    assert all(never(dict(img2=image))["img2"] is image for _ in range(20))


def test_a_pair_without_ground_truth_is_changed_too():
    pair = {name: moving_pair()[name] for name in ("img1", "img2", "sparse")}
    results = build("FlowResizeCrop", crop_size=CROP)(pair)
    for name in ("FlowRandomFlip", "FlowColorJitter", "FlowErase"):
        results = build(name)(results)
    assert set(results) == {"img1", "img2", "sparse"}
    assert results["img1"].shape == results["img2"].shape == (*CROP, 3)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (
            "FlowResizeCrop",
            dict(crop_size=368),
            r"crop_size is two whole numbers from 1 on, not 368",
        ),
        ("FlowResizeCrop", dict(crop_size=(0, 496)), r"crop_size is two whole"),
        (
            "FlowResizeCrop",
            dict(crop_size=CROP, scale_range=(1.0, -0.1)),
            r"scale_range is \(smallest, largest\)",
        ),
        (
            "FlowResizeCrop",
            dict(crop_size=CROP, spatial_prob=1.5),
            r"spatial_prob is a probability",
        ),
        ("FlowResizeCrop", dict(crop_size=CROP, stretch_prob=-1), r"stretch_prob is a probability"),
        (
            "FlowResizeCrop",
            dict(crop_size=CROP, max_stretch=-0.2),
            r"max_stretch is a power of two",
        ),
        (
            "FlowResizeCrop",
            dict(crop_size=CROP, sparse_margin=(20, -1)),
            r"sparse_margin is two whole",
        ),
        ("FlowRandomFlip", dict(horizontal_prob=2), r"horizontal_prob is a probability"),
        ("FlowRandomFlip", dict(vertical_prob=float("nan")), r"vertical_prob is a probability"),
        ("FlowErase", dict(prob=-0.5), r"prob is a probability"),
        ("FlowErase", dict(sizes=(100, 50)), r"low < high"),
        ("FlowErase", dict(sizes=(50.0, 100)), r"sizes is two whole numbers"),
        ("FlowErase", dict(max_boxes=0), r"max_boxes is at least 1"),
        ("FlowColorJitter", dict(asymmetric_prob=7), r"asymmetric_prob is a probability"),
        ("FlowColorJitter", dict(hue=0.7), r"hue"),
        ("FlowColorJitter", dict(contrast=-0.1), r"contrast"),
    ],
)
def test_wrong_arguments_are_named(name, settings, message):
    with pytest.raises(ValueError, match=message):
        build(name, **settings)
