"""The digit world as image pairs: FlyingChairs' form, exact flow, occlusion, real digits."""

import hashlib
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from PIL import Image

from mmkd_ext.demo_data import digits, flow_digits
from mmkd_ext.demo_data.layers import Layer, Pair
from mmkd_ext.flow import end_point_error, read_flow
from mmkd_ext.registry import METRICS, MODELS
from tests.demo_data import small_flow_digits

BASE = Path(__file__).parents[2] / "configs" / "_base_" / "datasets" / "flow_digits.py"
SHAPE = (flow_digits.HEIGHT, flow_digits.WIDTH)


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return [flow_digits.render("val", index) for index in range(6)]


@pytest.fixture(scope="module")
def world() -> dict[str, list[tuple[Layer, ...]]]:
    return {split: [flow_digits.scene(split, i) for i in range(24)] for split in flow_digits.PAIRS}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A few pairs where the config looks for all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMKD_DEMO_ROOT", str(tmp_path_factory.mktemp("demo")))
        yield small_flow_digits.make()


def warp_error(pair: Pair, flow: np.ndarray) -> float:
    """Mean difference, of 255, of image 1 and of image 2 fetched by a flow, where both show it."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    fetched = cv2.remap(pair.images[1], x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
    return np.abs(fetched.astype(int) - pair.images[0])[~pair.occluded].mean()


def test_the_flow_fetches_the_first_image_out_of_the_second(pairs):
    for pair in pairs:
        exact = warp_error(pair, pair.flow)
        assert exact < 2.5
        for wrong in ([0.5, 0], [0, -0.5]):
            assert warp_error(pair, pair.flow + np.float32(wrong)) > 1.25 * exact
        assert warp_error(pair, -pair.flow) > 5 * exact
        assert warp_error(pair, np.zeros_like(pair.flow)) > 5 * exact


def test_what_is_occluded_cannot_be_fetched(pairs):
    for pair in pairs:
        shown = Pair(pair.images, pair.flow, ~pair.occluded, pair.owner)
        assert warp_error(shown, pair.flow) > 10 * warp_error(pair, pair.flow)
        assert 0.03 < pair.occluded.mean() < 0.3


def test_the_flow_of_each_layer_is_affine_and_as_large_as_it_should_be(pairs, world):
    for pair, scene in zip(pairs, world["val"], strict=False):
        for index in np.unique(pair.owner):
            rows, columns = np.nonzero(pair.owner == index)
            points = np.stack([columns, rows, np.ones_like(rows)], axis=1)
            flow = pair.flow[rows, columns].astype(np.float64)
            if len(rows) < 20:
                continue
            found, *_ = np.linalg.lstsq(points, flow, rcond=None)
            np.testing.assert_allclose(points @ found, flow, atol=1e-5)
            matrix = np.eye(2) + found[:2].T
            zoom = np.sqrt(np.linalg.det(matrix))
            angle = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
            low, high, most = (0.97, 1.03, 1.5) if index == 0 else (0.87, 1.14, 11.5)
            assert low - 1e-4 < zoom < high + 1e-4
            assert abs(angle) < most
            np.testing.assert_allclose(matrix.T @ matrix, zoom**2 * np.eye(2), atol=1e-4)
            assert np.linalg.norm(flow, axis=1).max() < (20 if index == 0 else 45)
            motion = scene[index].motion
            np.testing.assert_allclose(found.T[:, 2], [motion.x0, motion.y0], atol=1e-3)


def test_every_pair_is_the_same_on_every_machine(pairs):
    """Nothing but integers and IEEE 754's basic operations: one digest for all."""
    again = flow_digits.render("val", 3)
    first, second = (
        hashlib.sha256(b"".join(a.tobytes() for a in (*p.images, p.flow, p.occluded))).hexdigest()
        for p in (pairs[3], again)
    )
    assert first == second == "490268aae0bff40696ac263393bf8a17f7f95c40f798607b52886b9f2f600bd2"
    assert len({pair.images[0].tobytes() for pair in pairs}) == len(pairs)


def test_every_split_has_its_own_digits_and_some_of_everything(world):
    used = {}
    for split, scenes in world.items():
        members = set(digits.load().splits[split].tolist())
        found = [[layer.source for layer in scene[1:]] for scene in scenes]
        used[split] = {source for of_one in found for source in of_one if source is not None}
        assert used[split] <= members
        numbers = [sum(source is not None for source in of_one) for of_one in found]
        assert set(numbers) == {3, 4, 5, 6}
        assert 0.1 < np.mean([None in of_one for of_one in found]) < 0.9
    assert all(not used[a] & used[b] for a, b in combinations(used, 2))


def test_a_background_never_ends_in_sight(world):
    corners = np.asarray([0, SHAPE[1] - 1.0])[None], np.asarray([0, SHAPE[0] - 1.0])[:, None]
    for background in (scene[0] for scenes in world.values() for scene in scenes):
        for frame in (0, 1):
            x, y = background.texels(frame)(*corners)
            assert 0 <= x.min() < x.max() <= background.texture.shape[1] - 1
            assert 0 <= y.min() < y.max() <= background.texture.shape[0] - 1


def test_classic_flow_finds_most_of_it_but_not_all(pairs):
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    zero, found = [], []
    for pair in pairs:
        first, second = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in pair.images)
        zero.append(end_point_error(np.zeros_like(pair.flow), pair.flow))
        found.append(end_point_error(dis.calc(first, second, None), pair.flow))
    assert 6 < np.mean(zero) < 12
    assert 0.5 < np.mean(found) < 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("split", "expected"),
    [("val", dict(zero=8.617, dis=2.404, farneback=4.602)),
     ("test", dict(zero=8.497, dis=2.426, farneback=4.659))],
)  # fmt: skip
def test_the_figures_of_classic_methods(split, expected):
    """Those of the documents, in the mean over the pairs."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found = {name: [] for name in expected}
    for index in range(flow_digits.PAIRS[split]):
        pair = flow_digits.render(split, index)
        first, second = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in pair.images)
        settings = dict(pyr_scale=0.5, levels=3, winsize=15, iterations=3, poly_n=5, poly_sigma=1.2)
        flows = dict(
            zero=np.zeros_like(pair.flow),
            dis=dis.calc(first, second, None),
            farneback=cv2.calcOpticalFlowFarneback(first, second, None, flags=0, **settings),
        )
        for name, flow in flows.items():
            found[name].append(end_point_error(flow, pair.flow))
    assert {name: np.mean(errors) for name, errors in found.items()} == pytest.approx(
        expected, abs=0.02
    )


def test_it_is_laid_out_as_flying_chairs(root):
    numbers = small_flow_digits.PAIRS
    lines = (root / "FlyingChairs_train_val.txt").read_text().split()
    assert lines == ["1"] * numbers["train"] + ["2"] * numbers["val"]
    members = [("train", i) for i in range(numbers["train"])]
    members += [("val", i) for i in range(numbers["val"])]
    for folder, inside in ((root, members), (root / "test", [("test", 0), ("test", 1)])):
        ends = ("_flow.flo", "_img1.ppm", "_img2.ppm", "_occ1.png")
        expected = [f"{n:05d}{end}" for n in range(1, len(inside) + 1) for end in ends]
        assert sorted(path.name for path in (folder / "data").iterdir()) == expected
        last = folder / "data" / f"{len(inside):05d}"
        pair = flow_digits.render(*inside[-1])
        for which, image in enumerate(pair.images, start=1):
            path = Path(f"{last}_img{which}.ppm")
            assert path.read_bytes().startswith(b"P6\n256 192\n255\n")
            np.testing.assert_array_equal(np.array(Image.open(path)), image)
        flow, valid = read_flow(f"{last}_flow.flo")
        np.testing.assert_array_equal(flow, pair.flow)
        assert valid.all()
        assert flow.shape == (192, 256, 2)
        mask = np.array(Image.open(f"{last}_occ1.png"))
        np.testing.assert_array_equal(mask, pair.occluded * np.uint8(255))


def test_the_config_trains_and_measures_on_it(root):
    cfg = Config.fromfile(BASE)
    assert "module" not in cfg.pretty_text
    preprocessor = MODELS.build(cfg.data_preprocessor)
    torch.manual_seed(0)
    batch, *_ = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    batch = preprocessor(batch, training=True)
    assert batch["inputs"].shape == (4, 2, 3, 160, 208)
    assert all(sample.gt_flow.shape == (2, 160, 208) for sample in batch["data_samples"])
    assert all(sample.gt_valid.float().mean() > 0.95 for sample in batch["data_samples"])

    for loader, evaluators, split in (
        (cfg.val_dataloader, cfg.val_evaluator, "val"),
        (cfg.test_dataloader, cfg.test_evaluator, "test"),
    ):
        batches = list(Runner.build_dataloader(loader, seed=0))
        number = small_flow_digits.PAIRS[split]
        assert batches[0]["inputs"][0].shape == (2, 3, 192, 256)
        figures = {}
        for evaluator in evaluators:
            metric = METRICS.build(evaluator)
            samples = [
                dict(sample.to_dict(), pred_flow=torch.zeros_like(sample.gt_flow))
                for batch in batches
                for sample in batch["data_samples"]
            ]
            metric.process(None, samples)
            figures |= metric.evaluate(number)
        truth = [flow_digits.render(split, index) for index in range(number)]
        lengths = np.stack([np.linalg.norm(pair.flow, axis=2) for pair in truth])
        occluded = np.stack([pair.occluded for pair in truth])
        assert figures["flow/EPE"] == pytest.approx(lengths.mean(), abs=1e-3)
        assert figures["flow/EPE_unmatched"] == pytest.approx(lengths[occluded].mean(), abs=1e-3)
        assert figures["flow/Fl_all"] == pytest.approx(100 * (lengths > 3).mean(), abs=1e-3)
