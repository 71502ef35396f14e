"""J, F and their statistics: published fixtures, references written another way, 1 and 2 processes."""

import csv
import json
import math
import zipfile

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from mmkd_ext.registry import METRICS
from mmkd_ext.vos import boundary_f_score, region_similarity
from mmkd_ext.vos.masks import read_mask, read_palette
from mmkd_ext.vos.metrics import DAVISMetric, YouTubeVOSMetric, functional, statistics
from mmkd_ext.vos.structures import VOSDataSample
from tests.logs import logged
from tests.two_ranks import run_ranks

from .copy_first_mask import run_test
from .video_files import Square, write_davis, write_meta


def box(shift: int = 0) -> np.ndarray:
    mask = np.zeros((480, 854), bool)
    mask[100:200, 300 + shift : 420 + shift] = True
    return mask


@pytest.mark.parametrize(
    ("shift", "region", "contour"),
    [(4, 0.935484, 1.0), (8, 0.875, 1.0), (9, 0.860465, 0.581818), (20, 0.714286, 0.531818)],
)
def test_the_fixtures_of_the_official_tool(shift, region, contour):
    assert region_similarity(box(shift), box()) == pytest.approx(region, abs=5e-7)
    assert boundary_f_score(box(shift), box()) == pytest.approx(contour, abs=5e-7)


def test_empty_masks():
    empty = np.zeros_like(box())
    assert (region_similarity(empty, box()), boundary_f_score(empty, box())) == (0.0, 0.0)
    assert (region_similarity(box(), empty), boundary_f_score(box(), empty)) == (0.0, 0.0)
    assert (region_similarity(empty, empty), boundary_f_score(empty, empty)) == (1.0, 1.0)


def contour_by_distance(pred: np.ndarray, gt: np.ndarray, tolerance: float) -> float:
    """F pixel by pixel: each boundary pixel asks for the nearest one of the other boundary."""

    def boundary(mask):
        height, width = mask.shape
        return np.asarray(
            [
                (y, x)
                for y in range(height)
                for x in range(width)
                if (x + 1 < width and mask[y, x] != mask[y, x + 1])
                or (y + 1 < height and mask[y, x] != mask[y + 1, x])
                or (x + 1 < width and y + 1 < height and mask[y, x] != mask[y + 1, x + 1])
            ]
        )

    ours, theirs = boundary(pred), boundary(gt)
    if not len(ours) or not len(theirs):
        return float(len(ours) == len(theirs))
    reach = math.ceil(tolerance * math.sqrt(pred.shape[0] ** 2 + pred.shape[1] ** 2)) + 1e-6
    precision = np.mean(cKDTree(theirs).query(ours)[0] <= reach)
    recall = np.mean(cKDTree(ours).query(theirs)[0] <= reach)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def test_boundaries_agree_with_a_search_for_the_nearest_pixel():
    random = np.random.RandomState(0)
    scores = []
    for tolerance in (0.008, 0.03, 0.06):
        for _ in range(12):
            height, width = random.randint(8, 60, size=2)
            pred, gt = np.zeros((2, height, width), bool)
            for mask in (pred, gt):
                for _ in range(random.randint(4)):  # up to the borders, and beyond
                    y, x = random.randint(-5, height), random.randint(-5, width)
                    side = random.randint(1, 25)
                    mask[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)] ^= True
            score = boundary_f_score(pred, gt, tolerance=tolerance)
            assert score == pytest.approx(contour_by_distance(pred, gt, tolerance), abs=1e-12)
            scores.append(score)
    assert len(set(scores)) > 12


def test_dilation_is_by_a_euclidean_disk():
    point = np.zeros((40, 40), bool)
    point[20, 20] = True
    for radius in (1, 2, 5, 8, 13):
        y, x = np.mgrid[:40, :40] - 20
        np.testing.assert_array_equal(functional.dilate(point, radius), y**2 + x**2 <= radius**2)


def test_void_pixels_do_not_count():
    gt, void = box(), np.zeros_like(box())
    void[:, 420:] = True
    assert region_similarity(box(9), gt) < 0.9
    assert region_similarity(box(9), gt, void) == pytest.approx((120 - 9) / 120)
    assert boundary_f_score(box(9) | void, gt & ~void, void) < 1
    assert boundary_f_score(gt | void, gt, void) == 1


def test_ids_in_place_of_masks_are_refused():
    ids = box().astype(np.uint8) * 2
    with pytest.raises(ValueError, match=r"pred is uint8 .* compare with an object's id"):
        region_similarity(ids, box())
    with pytest.raises(ValueError, match=r"of one size \(gt: \(480, 854\)\)"):
        boundary_f_score(box()[:100], box())


def test_statistics_of_the_official_tool():
    found = statistics(np.arange(10, 0, -1) / 10)
    assert found == pytest.approx((0.55, 0.5, 0.70))
    assert statistics(np.linspace(1, 0.01, 101)).decay == pytest.approx(0.7425)
    assert statistics([0.5, 0.6]).recall == 0.5  # above, not at
    assert statistics([0.3]) == (0.3, 0.0, 0.0)
    # 8-bit frame numbers would wrap around here.
    long = statistics(np.linspace(1, 0, 1001))
    assert long.decay == pytest.approx(np.linspace(1, 0, 1001)[:251].mean() - 0.125)
    with pytest.raises(ValueError, match="no frames"):
        statistics([])


def frames_of(video, preds, gts, given, **meta):
    """What a model returns, frame by frame, as the evaluator hands it to a metric."""
    for t, (pred, gt) in enumerate(zip(preds, gts, strict=True)):
        sample = VOSDataSample(
            metainfo=dict(
                video=video,
                frame=f"{t:05d}",
                index=t,
                num_frames=len(preds),
                is_first=t == 0,
                is_last=t == len(preds) - 1,
                **meta,
            )
        )
        sample.pred_mask, sample.gt_mask = torch.from_numpy(pred), torch.from_numpy(gt)
        if t in given:
            sample.given_mask = torch.from_numpy(
                np.where(np.isin(gt, given[t]), gt, 0).astype(np.uint8)
            )
        yield sample.to_dict()


def moving(number: int, length: int, shift: int = 0, height: int = 20) -> list[np.ndarray]:
    """A bar of one id that moves down by a row a frame; J of another shift is known."""
    masks = []
    for t in range(length):
        mask = np.zeros((60, 40), np.uint8)
        mask[t + shift : t + shift + height, 5:35] = number
        masks.append(mask)
    return masks


def test_first_and_last_frame_do_not_count_and_objects_weigh_the_same(tmp_path):
    metric = METRICS.build(
        dict(type="mmkd_ext.DAVISMetric", csv_file=str(tmp_path / "new" / "table.csv"))
    )
    # Video a: two objects, one shifted by 5 rows of 20 (J = 15/25), one perfect; garbage at both
    # ends. Video b: one object, never found.
    both = [np.maximum(x, y[::-1]) for x, y in zip(moving(1, 6), moving(3, 6), strict=True)]
    pred = [np.maximum(x, y[::-1]) for x, y in zip(moving(1, 6, 5), moving(3, 6), strict=True)]
    pred[0] = pred[5] = np.zeros_like(pred[0])
    for sample in frames_of("a", pred, both, {0: [1, 3]}):
        metric.process(None, [sample])
    for sample in frames_of("b", [np.zeros_like(m) for m in moving(2, 5)], moving(2, 5), {0: [2]}):
        metric.process(None, [sample])
    with logged() as lines:
        figures = metric.evaluate(size=1)
    assert set(figures) == {
        f"davis/{key}" for key in ("JF", "J", "J_recall", "J_decay", "F", "F_recall", "F_decay")
    }
    assert figures["davis/J"] == pytest.approx((0.6 + 1 + 0) / 3)
    assert figures["davis/J_recall"] == pytest.approx(2 / 3)
    assert figures["davis/J_decay"] == pytest.approx(0)
    assert figures["davis/JF"] == (figures["davis/J"] + figures["davis/F"]) / 2
    [table] = [line for line in lines if "a_1" in line]
    assert [row.split()[0] for row in table.splitlines()[2:]] == ["a_1", "a_3", "b_2", "mean"]
    rows = list(csv.reader((tmp_path / "new" / "table.csv").open()))
    assert [(row[0], row[1]) for row in rows] == [
        ("Sequence", "J-Mean"),
        ("a_1", "0.600"),
        ("a_3", "1.000"),
        ("b_2", "0.000"),
    ]
    assert metric.results == []


def test_an_object_that_enters_later_counts_from_the_next_frame():
    length = 7
    gts = [
        m if t < 3 else np.maximum(m, n)
        for t, (m, n) in enumerate(zip(moving(1, length), moving(2, length, 30), strict=True))
    ]
    preds = [mask.copy() for mask in gts]
    preds[2][preds[2] == 0] = 2  # before it is given: object 2 cannot be wrong yet
    preds[3][preds[3] == 2] = 0  # the frame in which it is given
    preds[4][preds[4] == 2] = 0  # one of its two frames
    metric = DAVISMetric()
    for sample in frames_of("v", preds, gts, {0: [1], 3: [2]}):
        metric.process(None, [sample])
    [record] = metric.results
    assert record["objects"][1]["J"] == [1.0] * 5
    assert record["objects"][2]["J"] == [0.0, 1.0]
    assert metric.evaluate(1)["davis/J"] == 0.75
    # With the last frame there are three.
    metric = DAVISMetric(skip_last=False, workers=2)
    for sample in frames_of("v", preds, gts, {0: [1], 3: [2]}):
        metric.process(None, [sample])
    assert metric.evaluate(1)["davis/J"] == pytest.approx((1 + 2 / 3) / 2)


def test_void_is_background_as_in_davis_or_ignored():
    gts = moving(1, 4)
    for mask in gts:
        mask[50:] = 255
    preds = [np.where(mask == 255, 1, mask).astype(np.uint8) for mask in gts]
    scores = {}
    for void in ("background", "ignore"):
        metric = DAVISMetric(void=void)
        for sample in frames_of("v", preds, gts, {0: [1]}):
            metric.process(None, [sample])
        scores[void] = metric.evaluate(1)["davis/J"]
    assert scores == {"background": pytest.approx(600 / 1000), "ignore": 1.0}
    with pytest.raises(ValueError, match="void is 'background' or 'ignore'"):
        DAVISMetric(void="none")


def test_mistakes_in_the_order_of_frames_are_told():
    metric = DAVISMetric()
    frames = list(frames_of("v", moving(1, 4), moving(1, 4), {0: [1]}))
    with pytest.raises(
        ValueError, match="frame 00002 of video 'v' comes without the frames before"
    ):
        metric.process(None, [frames[2]])
    metric.process(None, frames[:2])
    with logged() as lines, pytest.raises(ValueError, match="0 videos, but no object has a frame"):
        metric.evaluate(1)
    assert any("video 'v' was not finished" in line for line in lines)


def test_youtube_vos_takes_the_mean_of_four(tmp_path):
    write_meta(tmp_path / "meta.json", {"x": {1: ("cat", ["00000"]), 2: ("dog", ["00000"])}})
    metric = METRICS.build(dict(type="mmkd_ext.YouTubeVOSMetric", seen=str(tmp_path / "meta.json")))
    categories = {1: "cat", 4: "newt", 9: "dog"}
    for number, shift in ((1, 5), (9, 0), (4, 10)):
        frames = frames_of(
            f"v{number}",
            moving(number, 5, shift),
            moving(number, 5),
            {0: [number]},
            categories=categories,
        )
        for sample in frames:
            metric.process(None, [sample])
    figures = metric.evaluate(3)
    assert figures["ytvos/J_seen"] == pytest.approx((0.6 + 1) / 2)
    assert figures["ytvos/J_unseen"] == pytest.approx(10 / 30)
    four = [figures[f"ytvos/{key}"] for key in ("J_seen", "F_seen", "J_unseen", "F_unseen")]
    assert figures["ytvos/G"] == pytest.approx(np.mean(four))
    for sample in frames_of("v", moving(1, 4), moving(1, 4), {0: [1]}, categories=categories):
        metric.process(None, [sample])
    with pytest.raises(ValueError, match="no object with ground truth is unseen"):
        metric.evaluate(1)


def test_the_archive_holds_what_is_to_be_handed_in(tmp_path):
    metric = YouTubeVOSMetric(format_only=True, outfile_prefix=str(tmp_path / "out" / "yv"))
    masks = moving(200, 5)
    for name in ("b", "a"):
        for t, sample in enumerate(frames_of(name, masks, masks, {0: [200]})):
            metric.process(None, [{**sample, "save": t in (0, 3)}])
    assert metric.evaluate(2) == {}
    with zipfile.ZipFile(tmp_path / "out" / "yv.zip") as file:
        names = [f"Annotations/{v}/0000{t}.png" for v in "ab" for t in (0, 3)]
        assert file.namelist() == names
        file.extractall(tmp_path / "in")
    np.testing.assert_array_equal(read_mask(tmp_path / "in" / names[1]), masks[3])
    assert read_palette(tmp_path / "in" / names[1])[1] == (236, 95, 103)


def test_what_youtube_vos_cannot_do_without(tmp_path):
    with pytest.raises(ValueError, match="format_only needs outfile_prefix"):
        YouTubeVOSMetric(format_only=True)
    with pytest.raises(ValueError, match="which categories are seen"):
        YouTubeVOSMetric()
    with pytest.raises(ValueError, match=r"there is no .*meta\.json"):
        YouTubeVOSMetric(seen=str(tmp_path / "meta.json"))


def test_two_processes_give_the_figures_of_one(tmp_path):
    """Three videos of unequal length on mmengine's own test loop, whole videos in one process."""
    root = tmp_path / "data"
    for name, length, step in (("a", 9, (1, 2)), ("b", 5, (2, 1)), ("c", 4, (0, 1))):
        squares = [Square(1, step=step), Square(2, place=(20, 20), step=(1, 0), begin=1)]
        write_davis(root, {name: squares}, split=f"only-{name}", length=length)
    (root / "ImageSets" / "2017" / "val.txt").write_text("a\nb\nc\n")
    alone = run_test(root, tmp_path / "one")
    run_ranks("tests.vos.copy_first_mask", root, tmp_path / "two")
    ranks = [json.loads((tmp_path / "two" / f"rank_{rank}.json").read_text()) for rank in "01"]
    # Nine frames for one, nine for the other, every frame once, and nobody waits for anybody.
    assert [rank["frames"] for rank in ranks] == [["a"] * 9, ["b"] * 5 + ["c"] * 4]
    for rank in ranks:
        figures = {key: value for key, value in rank["metrics"].items() if "speed" not in key}
        assert figures == {key: value for key, value in alone.items() if "speed" not in key}
        assert rank["metrics"]["speed/frames"] == 18
    assert 0 < alone["davis/J"] < 0.9
    assert alone["speed/frames"] == 18
    # Masks of both processes, each written once.
    for name in "abc":
        one, two = (sorted((tmp_path / n / "masks" / name).iterdir()) for n in ("one", "two"))
        assert [path.name for path in one] == [path.name for path in two]
        assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
