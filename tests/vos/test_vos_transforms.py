"""Clip transforms: images and masks move together, clips keep or change their random state."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.interpolate import RBFInterpolator

from mmkd_ext.registry import MODELS, TRANSFORMS
from mmkd_ext.vos.masks import write_mask
from mmkd_ext.vos.structures import VOSDataSample
from mmkd_ext.vos.transforms import FrameTPS, SampleClip, SelectObjects, SynthesizeClip
from mmkd_ext.vos.transforms.clip import draw_frames
from mmkd_ext.vos.transforms.tps import control_points, tps_weights

from .video_files import Square, draw

SHAPE = (60, 90)
CHANGES = {
    "ClipRandomFlip": {},
    "ClipRandomResizedCrop": dict(size=(48, 72)),
    "ClipResizeShort": dict(size=48),
    "ClipRandomAffine": dict(degrees=20, scale=(0.8, 1.5), shear=10),
    "FrameRandomAffine": dict(degrees=15, shear=10),
    "FrameRandomCrop": dict(size=(48, 48)),
    "FrameTPS": dict(margin=0.3),
}
COLOURS = {"ClipColorJitter": dict(brightness=0.5), "ClipRandomGrayscale": dict(prob=0.5)}


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)
    torch.manual_seed(0)


def clip(length: int = 3, same: bool = True) -> dict:
    """Frames of a square on black, the mask being where the image is bright."""
    frames = []
    for t in range(length):
        mask = draw(0 if same else t, SHAPE, [Square(2, side=24, place=(12, 25))])[1]
        frames.append((np.repeat(mask[..., None] * 100, 3, axis=2), mask))
    return dict(imgs=[f[0] for f in frames], masks=[f[1] for f in frames])


def build(name: str, **settings):
    return TRANSFORMS.build(dict(type=f"mmkd_ext.{name}", **settings))


@pytest.mark.parametrize("name", list(CHANGES))
def test_the_mask_goes_where_the_image_goes(name):
    transform = build(name, **CHANGES[name])
    if hasattr(transform, "image_fill"):
        transform.image_fill = (0, 0, 0)
    sizes = set()
    for _ in range(8):
        results = transform(clip())
        for image, mask in zip(results["imgs"], results["masks"], strict=True):
            assert (image.dtype, mask.dtype) == (np.uint8, np.uint8)
            assert image.shape == (*mask.shape, 3)
            assert set(np.unique(mask)) <= {0, 2}
            sizes.add(mask.shape)
            bright = image[..., 0] > 100
            # They may differ along the edges, where images are interpolated.
            assert (bright != (mask == 2)).mean() < 0.035
            assert (mask == 2).mean() > 0.03
    expected = {
        "ClipRandomResizedCrop": (48, 72),
        "ClipResizeShort": (48, 72),
        "FrameRandomCrop": (48, 48),
    }
    assert sizes == {expected.get(name, SHAPE)}


@pytest.mark.parametrize("name", [*CHANGES, *COLOURS, "FrameColorJitter"])
def test_one_random_state_a_clip_or_one_a_frame(name):
    settings = {**CHANGES, **COLOURS, "FrameColorJitter": COLOURS["ClipColorJitter"]}[name]
    transform = build(name, **settings)
    within, between = 0, []
    for _ in range(10):
        source = clip()
        for image in source["imgs"]:
            image[..., 1] //= 3  # not grey
        images = [image.tobytes() for image in transform(source)["imgs"]]
        within += len(set(images)) > 1
        between.append(images[0])
    assert (within > 5) == name.startswith("Frame")
    assert within == 0 or name.startswith("Frame")
    assert (len(set(between)) > 1) == (name != "ClipResizeShort")  # that one draws nothing


def test_flips_are_exact():
    source = clip()
    flipped = build("ClipRandomFlip", prob=1.0)(clip())
    np.testing.assert_array_equal(flipped["imgs"][1], source["imgs"][1][:, ::-1])
    np.testing.assert_array_equal(flipped["masks"][1], source["masks"][1][:, ::-1])
    kept = build("ClipRandomFlip", prob=0.0)(clip())
    np.testing.assert_array_equal(kept["imgs"][1], source["imgs"][1])


def test_a_crop_pads_what_is_too_small():
    source = clip()
    results = build("FrameRandomCrop", size=(80, 50), image_fill=(1, 2, 3))(clip())
    for image, mask in zip(results["imgs"], results["masks"], strict=True):
        assert image.shape == (80, 50, 3)
        assert (image[:10] == (1, 2, 3)).all()
        assert (image[70:] == (1, 2, 3)).all()
        assert not mask[:10].any()
        columns = [
            x for x in range(41) if np.array_equal(source["imgs"][0][:, x : x + 50], image[10:70])
        ]
        assert columns
        assert np.array_equal(source["masks"][0][:, columns[0] : columns[0] + 50], mask[10:70])


def test_a_short_side_is_only_shrunk_where_asked():
    assert build("ClipResizeShort", size=30)(clip())["masks"][0].shape == (30, 45)
    kept = build("ClipResizeShort", size=300, shrink_only=True)(clip())
    np.testing.assert_array_equal(kept["imgs"][0], clip()["imgs"][0])


def test_grey_is_grey_and_jitter_stays_in_its_range():
    source = clip()
    for image in source["imgs"]:
        image[:] = (100, 50, 20)
    grey = build("ClipRandomGrayscale", prob=1.0)({k: list(v) for k, v in source.items()})
    assert (grey["imgs"][0] == grey["imgs"][0][..., :1]).all()
    factors = []
    for _ in range(30):
        bright = build("ClipColorJitter", brightness=0.3)({k: list(v) for k, v in source.items()})
        factors.append(bright["imgs"][0][0, 0, 0] / 100)
    assert 0.69 <= min(factors) < 0.8
    assert 1.2 < max(factors) <= 1.31


def test_the_spline_is_the_thin_plate_spline():
    height, width = 11, 17
    points = control_points().double().numpy()
    values = points + np.random.uniform(-0.2, 0.2, points.shape)
    reference = RBFInterpolator(points, values, kernel="thin_plate_spline", degree=1)
    y, x = (np.arange(height) * 2 + 1) / height - 1, (np.arange(width) * 2 + 1) / width - 1
    pixels = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    ours = tps_weights(height, width).double().numpy() @ values
    np.testing.assert_allclose(ours, reference(pixels), atol=2e-6)


def test_bending_leaves_the_border_alone_and_nothing_without_a_margin():
    random = np.random.RandomState(1)
    image = random.randint(0, 256, (40, 40, 3)).astype(np.uint8)
    mask = np.kron(random.randint(0, 4, (8, 8)), np.ones((5, 5))).astype(np.uint8)
    still = FrameTPS(margin=0.0)(dict(imgs=[image], masks=[mask]))
    assert np.abs(still["imgs"][0].astype(int) - image).max() <= 1
    np.testing.assert_array_equal(still["masks"][0], mask)
    never = FrameTPS(margin=0.5, prob=0.0)(dict(imgs=[image], masks=[mask]))
    np.testing.assert_array_equal(never["imgs"][0], image)
    drawn = FrameTPS(margin=0.25).draw(40, 40) - control_points()
    inner = drawn.view(4, 4, 2)[1:3, 1:3]
    assert drawn.abs().sum() == inner.abs().sum()
    assert 0 < inner.abs().max() <= 0.125
    # Every control point is looked up where it was moved to, at the pixel nearest to it.
    values = torch.rand(16, 2) * 0.1 + control_points()
    field = (tps_weights(240, 240) @ values).view(240, 240, 2)
    rows = ((control_points()[:, 1] + 1) * 120).long().clamp(max=239)
    columns = ((control_points()[:, 0] + 1) * 120).long().clamp(max=239)
    assert (field[rows, columns] - values).abs().max() < 0.01


def test_frames_lie_as_far_apart_as_allowed_and_fit():
    for length, count, skip in ((20, 3, 0), (20, 3, 2), (9, 3, 25), (3, 3, 5), (40, 5, 3)):
        gaps = Counter()
        for _ in range(300):
            picks = draw_frames(length, count, skip)
            assert len(picks) == count
            assert picks == sorted(set(picks))
            assert picks[0] >= 0
            assert picks[-1] < length
            gaps.update(np.diff(picks).tolist())
        # With room for all, the widest gap is skip + 1; else the picks that are left must fit.
        widest = {(20, 3, 0): 1, (20, 3, 2): 3, (9, 3, 25): 7, (3, 3, 5): 1, (40, 5, 3): 4}
        assert max(gaps) == widest[length, count, skip]
    assert len(draw_frames(2, 3, 5)) == 3  # some twice


def test_frames_are_drawn_with_the_right_probabilities():
    # First pick uniform; then right or left with equal chances, where both are there.
    counts = Counter(tuple(draw_frames(4, 2, 0)) for _ in range(8000))
    expected = {(0, 1): 3 / 8, (1, 2): 2 / 8, (2, 3): 3 / 8}
    assert set(counts) == set(expected)
    for pair, share in expected.items():
        assert counts[pair] / 8000 == pytest.approx(share, abs=0.025)
    # With skip 1: frames 0 and 1 by 0 (of 1, 2) or by 1 (of 0, 2, 3); 0 and 2 by 0 or by 2 (of 0, 1,
    # 3, 4).
    after = Counter(
        picks[1] for picks in (draw_frames(9, 2, 1) for _ in range(9000)) if picks[0] == 0
    )
    assert after[2] / (after[1] + after[2]) == pytest.approx(
        (1 / 2 + 1 / 4) / (1 / 2 + 1 / 4 + 1 / 2 + 1 / 3), abs=0.05
    )


def test_a_clip_runs_backwards_half_of_the_time_and_keeps_images_and_masks_together():
    names = [f"{t:02d}" for t in range(12)]
    info = dict(
        frames=names, images=[f"{n}.jpg" for n in names], masks={n: f"{n}.png" for n in names}
    )
    backwards = 0
    for _ in range(200):
        results = SampleClip(num_frames=4, max_skip=2)(dict(info))
        assert results["images"] == [f"{n}.jpg" for n in results["frames"]]
        assert results["mask_paths"] == [f"{n}.png" for n in results["frames"]]
        numbers = [int(n) for n in results["frames"]]
        assert numbers in (sorted(numbers), sorted(numbers, reverse=True))
        backwards += numbers[0] > numbers[-1]
    assert 70 < backwards < 130
    assert SampleClip(max_skip=25).final_skip == 10
    assert SampleClip(max_skip=5).final_skip == 2
    assert SampleClip(max_skip=1).final_skip == 1


def test_objects_of_the_first_frame_are_chosen_and_numbered():
    first, second = np.zeros((2, 20, 20), np.uint8)
    first[2:6, 2:6], first[8:10, 8:10], first[15:18, 1:4], first[0] = 9, 4, 7, 255
    second[1:5, 1:5], second[10:15, 10:15], second[16:19, 1:4] = 9, 3, 7
    chosen = Counter()
    for _ in range(60):
        source = dict(masks=[first.copy(), second.copy()])
        results = SelectObjects(max_objects=2)(source)
        ids = np.stack(results["masks"])
        assert set(np.unique(ids[0])) == {0, 1, 2}
        assert results["valid_objects"].tolist() == [True, True]
        origin = {int(np.unique(first[ids[0] == n])[0]) for n in (1, 2)}
        for n in (1, 2):
            [old] = np.unique(first[ids[0] == n])
            np.testing.assert_array_equal(ids[1] == n, second == old)
        assert not ids[1][second == 3].any()  # it was not there in the first frame
        assert not ids[0][first == 255].any()
        chosen.update(origin)
    assert set(chosen) == {4, 7, 9}
    assert min(chosen.values()) > 25  # 40 expected
    three = SelectObjects(max_objects=5)(dict(masks=[first, second]))
    assert three["valid_objects"].tolist() == [True] * 3 + [False] * 2
    large = SelectObjects(max_objects=5, min_pixels=10)(dict(masks=[first, second]))
    assert large["valid_objects"].sum() == 1
    assert SelectObjects(min_pixels=17)(dict(masks=[first, second])) is None


def stills(tmp_path, sizes) -> list[dict]:
    colours = ((220, 30, 30), (30, 220, 30), (30, 30, 220))
    infos = []
    for index, (height, width) in enumerate(sizes):
        image = np.full((height, width, 3), 100, np.uint8)
        mask = np.zeros((height, width), np.uint8)
        mask[height // 4 : height // 2, width // 4 : width // 2] = 1
        image[mask > 0] = colours[index]
        Image.fromarray(image).save(tmp_path / f"{index}_image.png")
        write_mask(tmp_path / f"{index}.png", mask)
        infos.append(
            dict(
                img_path=str(tmp_path / f"{index}_image.png"),
                mask_path=str(tmp_path / f"{index}.png"),
            )
        )
    return infos


def test_stills_become_clips_whose_objects_keep_their_ids(tmp_path):
    first, *others = stills(tmp_path, [(80, 100), (60, 60), (200, 300)])
    whole = dict(img_path=first["img_path"], mask_path=first["mask_path"])
    shares, orders, colour_of_one = [], set(), set()
    for _ in range(25):
        results = SynthesizeClip(num_frames=3)({**whole, "others": others})
        assert results["ori_shape"] == (80, 100)
        assert results["frames"] == ["00000", "00001", "00002"]
        known = {}
        for image, mask in zip(results["imgs"], results["masks"], strict=True):
            assert (image.shape, mask.shape) == ((80, 100, 3), (80, 100))
            assert set(np.unique(mask)) <= {0, 1, 2, 3}
            for number in set(np.unique(mask)) - {0}:
                colours = np.unique(image[mask == number], axis=0)
                # Bicubic resizing of a plain colour: one colour.
                assert len(colours) == 1
                assert known.setdefault(number, tuple(colours[0])) == tuple(colours[0])
            # Where its own object was there is its mean colour, or something pasted on it.
            own = np.zeros((80, 100), bool)
            own[20:40, 25:50] = True
            assert (image[own & (mask == 0)] == (220, 30, 30)).all()
            assert (image[~own & (mask == 0)] == 100).all()
        assert len(known) >= 2
        colour_of_one.add(known.get(1))
        green = [n for n, colour in known.items() if colour == (30, 220, 30)]
        for mask in results["masks"]:
            shares += [(mask == n).sum() / (15 * 15) for n in green if (mask == n).any()]
        orders.add(tuple((mask > 0).sum() for mask in results["masks"]))
    assert len(orders) == 25
    assert len(colour_of_one) == 3
    # Of the area of its bounding box; less where it is hidden.
    assert 0.65 < max(shares) < 0.9
    alone = SynthesizeClip(num_frames=2)({**whole, "others": []})
    assert len(alone["imgs"]) == 2
    np.testing.assert_array_equal(alone["imgs"][0], alone["imgs"][1])
    assert alone["masks"][0].sum() == 20 * 25


PREPROCESSOR = dict(
    type="mmkd_ext.VOSDataPreprocessor", mean=[10.0, 20.0, 30.0], std=[2.0, 4.0, 5.0]
)


def sample_of(shape) -> VOSDataSample:
    sample = VOSDataSample(metainfo=dict(video="v", ori_shape=shape))
    sample.gt_masks = torch.ones(3, *shape, dtype=torch.long)
    sample.valid_objects = torch.tensor([True, False])
    return sample


def test_clips_are_normalised_stacked_and_padded_where_needed():
    preprocessor = MODELS.build(PREPROCESSOR)
    clips = [
        torch.randint(0, 256, (3, 3, *shape), dtype=torch.uint8) for shape in ((32, 40), (30, 48))
    ]
    samples = [sample_of((32, 40)), sample_of((30, 48))]
    batch = preprocessor(dict(inputs=clips, data_samples=samples), training=True)
    assert (batch["inputs"].shape, batch["inputs"].dtype) == ((2, 3, 3, 32, 48), torch.float32)
    for row, (clip, (height, width)) in enumerate(zip(clips, ((32, 40), (30, 48)), strict=True)):
        found = batch["inputs"][row]
        for channel, (mean, std) in enumerate(((10, 2), (20, 4), (30, 5))):
            expected = (clip[:, channel].float() - mean) / std
            assert torch.allclose(found[:, channel, :height, :width], expected)
        assert not found[..., height:, :].any()
        assert not found[..., width:].any()
        sample = batch["data_samples"][row]
        assert sample.img_shape == (height, width)
        assert sample.gt_masks.shape == (3, 32, 48)
        assert sample.gt_masks.sum() == 3 * height * width
    whole = preprocessor(dict(inputs=[clips[0][..., :32]]), training=True)
    assert whole["inputs"].shape == (1, 3, 3, 32, 32)


def test_frames_are_not_padded():
    preprocessor = MODELS.build(PREPROCESSOR)
    batch = preprocessor(
        dict(inputs=[torch.full((3, 31, 47), 30, dtype=torch.uint8)]), training=False
    )
    assert batch["inputs"].shape == (1, 3, 31, 47)
    assert batch["inputs"][0, :, 0, 0].tolist() == [10.0, 2.5, 0.0]


@pytest.mark.parametrize(
    "shapes",
    [[(3, 8, 8), (3, 8, 9)], [(2, 3, 8, 8), (3, 3, 8, 8)], [(1, 8, 8)], [(3, 8, 8), (2, 3, 8, 8)]],
)
def test_inputs_that_make_no_batch_are_told(shapes):
    inputs = [torch.zeros(shape, dtype=torch.uint8) for shape in shapes]
    with pytest.raises(ValueError, match=r"clips \(T, 3, H, W\) of equal T or frames"):
        MODELS.build(PREPROCESSOR)(dict(inputs=inputs))


def test_a_sample_refuses_what_is_no_mask():
    sample = VOSDataSample(metainfo=dict(video="v"))
    with pytest.raises(ValueError, match=r"gt_mask holds ids or flags in 2 dimensions, but got"):
        sample.gt_mask = torch.zeros(1, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"pred_mask .*torch\.float32 of shape \(4, 4\)"):
        sample.pred_mask = torch.zeros(4, 4)
    sample.pred_mask = np.zeros((4, 4), np.uint8)
    assert sample.to_tensor().pred_mask.dtype == torch.uint8
