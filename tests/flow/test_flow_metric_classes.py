"""Metrics of whole datasets, against sums written as plain loops, by hand, and in 2 processes."""

from __future__ import annotations

import json
import math
import zipfile

import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from mmkd_ext.flow.metrics import EndPointError, FlowOutliers
from mmkd_ext.flow.structures import FlowDataSample
from mmkd_ext.registry import METRICS
from tests.logs import logged
from tests.two_ranks import run_ranks

from .answers import MadePairs, settings, write_pairs

SPEEDS = ((0, 10), (10, 40), (40, math.inf))


def sample(name, pred, gt, valid=None, occluded=None) -> dict:
    """A pair as the evaluator hands it over; flow is given as (H, W, 2)."""
    found = FlowDataSample(metainfo=dict(img1_path=f"{name}/1.png", img2_path=f"{name}/2.png"))
    found.pred_flow = torch.as_tensor(np.asarray(pred, np.float32)).permute(2, 0, 1)
    found.gt_flow = torch.as_tensor(np.asarray(gt, np.float32)).permute(2, 0, 1)
    found.gt_valid = torch.ones(found.gt_flow.shape[1:], dtype=torch.bool)
    if valid is not None:
        found.gt_valid = torch.as_tensor(valid, dtype=torch.bool)
    if occluded is not None:
        found.gt_occluded = torch.as_tensor(occluded, dtype=torch.bool)
    return found.to_dict()


def off_by(name, *errors, **masks) -> dict:
    """A pair of one row: nothing moves, and the prediction is wrong by so many pixels."""
    pred = np.zeros((1, len(errors), 2))
    pred[0, :, 1] = errors
    return sample(name, pred, np.zeros_like(pred), **masks)


def evaluate(metric, *batches) -> dict:
    for batch in batches:
        metric.process(None, batch)
    return metric.evaluate(size=1)


def in_loops(pairs: list[dict], groups: list[int] | None) -> dict[str, float]:
    """What the metrics should find, pixel by pixel, where ``groups`` are averaged by themselves."""
    collected: dict = {}
    for pair, group in zip(pairs, groups or [0] * len(pairs), strict=True):
        (u, v), (true_u, true_v) = pair["pred_flow"].tolist(), pair["gt_flow"].tolist()
        valid, occluded = pair["gt_valid"].tolist(), pair["gt_occluded"].tolist()
        for y, row in enumerate(valid):
            for x, known in enumerate(row):
                if not known:
                    continue
                error = math.hypot(u[y][x] - true_u[y][x], v[y][x] - true_v[y][x])
                length = math.hypot(true_u[y][x], true_v[y][x])
                hidden = "unmatched" if occluded[y][x] else "matched"
                speed = "0-10" if length < 10 else "10-40" if length < 40 else "40+"
                wrong = 100.0 if error > 3 and error > length / 20 else 0.0
                figures = {
                    "EPE": error,
                    **{f"{n}px_acc": 1.0 if error < n else 0.0 for n in (1, 3, 5)},
                    f"EPE_{hidden}": error,
                    f"EPE_s{speed}": error,
                    "Fl_all": wrong,
                    f"Fl_{hidden}": wrong,
                }
                for key, value in figures.items():
                    collected.setdefault(key, {}).setdefault(group, []).append(value)
    return {
        f"flow/{key}": math.fsum(math.fsum(v) / len(v) for v in of.values()) / len(of)
        for key, of in collected.items()
    }


@pytest.mark.parametrize("average", ["pixel", "image", "batch"])
def test_every_figure_agrees_with_loops(tmp_path, average):
    write_pairs(tmp_path)
    random = np.random.RandomState(1)
    pairs = []
    for item in MadePairs(str(tmp_path)):
        one = item["sample"]
        noise = random.normal(0, 2, one.gt_flow.shape) * random.choice([0.2, 1, 4])
        one.pred_flow = one.gt_flow + torch.as_tensor(noise, dtype=torch.float32)
        pairs.append(one.to_dict())
    pairs[2]["gt_flow"] *= 3
    metrics = [
        METRICS.build(dict(type="mmkd_ext.EndPointError", average=average, speeds=SPEEDS)),
        METRICS.build(dict(type="mmkd_ext.FlowOutliers", average=average)),
    ]
    found = {}
    for metric in metrics:
        found |= evaluate(metric, pairs[:2], pairs[2:4], pairs[4:])
    groups = {"pixel": None, "image": [0, 1, 2, 3, 4], "batch": [0, 0, 1, 1, 2]}[average]
    assert found == pytest.approx(in_loops(pairs, groups), abs=1e-5)
    assert len(found) == 12


def test_the_three_averages_by_hand():
    batches = [[off_by("a", 1, 2, 3), off_by("b", 9)], [off_by("c", 6, 6)]]
    found = {
        average: evaluate(EndPointError(average), *batches)["flow/EPE"]
        for average in ("pixel", "image", "batch")
    }
    assert found == {
        "pixel": (1 + 2 + 3 + 9 + 6 + 6) / 6,
        "image": pytest.approx((2 + 9 + 6) / 3),
        "batch": (15 / 4 + 6) / 2,
    }


def test_subsets_have_figures_of_their_own():
    pairs = [off_by("a", 1, 3), off_by("b", 5), off_by("c", 9)]
    for pair, subset in zip(pairs, ("clean", "clean", "final"), strict=True):
        pair["subset"] = subset
    figures = evaluate(EndPointError(thresholds=()), pairs)
    assert figures == {"flow/EPE": 18 / 4, "flow/clean/EPE": 3.0, "flow/final/EPE": 9.0}
    assert list(evaluate(EndPointError(thresholds=()), pairs[:2])) == ["flow/EPE"]
    image = evaluate(EndPointError("image", thresholds=()), pairs)
    assert image["flow/clean/EPE"] == (2 + 5) / 2


def test_thresholds_are_fractions_below_them():
    figures = evaluate(EndPointError(thresholds=(1, 2.5)), [off_by("a", 0, 0.5, 1, 2.5)])
    assert figures == {"flow/EPE": 1.0, "flow/1px_acc": 0.5, "flow/2.5px_acc": 0.75}


def test_occlusions_where_they_are_known():
    known = off_by("a", 4, 8, 2, valid=[[1, 1, 0]], occluded=[[0, 1, 1]])
    unknown = off_by("b", 100)
    figures = evaluate(EndPointError(thresholds=()), [known], [unknown])
    assert figures == {
        "flow/EPE": 112 / 3,
        "flow/EPE_matched": 4.0,
        "flow/EPE_unmatched": 8.0,
    }
    assert list(evaluate(EndPointError(thresholds=(), occlusion=False), [known])) == ["flow/EPE"]
    found = evaluate(FlowOutliers("image"), [known], [unknown])
    assert found == {"flow/Fl_all": 100.0, "flow/Fl_matched": 100.0, "flow/Fl_unmatched": 100.0}
    # Not one occluded pixel in the whole set: there is no such figure.
    visible = off_by("a", 4, 8, occluded=[[0, 0]])
    assert "flow/EPE_unmatched" not in evaluate(EndPointError("batch"), [visible])


@pytest.mark.parametrize(
    ("average", "expected"),
    [
        ("pixel", (7 + 12 + 5) / 7),
        ("image", (2 + 3 + 2 + 5 + 5) / 5),
        ("batch", (7 / 3 + 12 / 3 + 5) / 3),
    ],
)
def test_a_pair_that_is_repeated_counts_once(average, expected):
    # As of a sampler: the first pair again at the end, to fill the last batch.
    again = off_by("a", 2, 2)
    batches = [
        [again, off_by("e", 3)],
        [off_by("b", 2), off_by("c", 5, 5)],
        [off_by("d", 5), again],
    ]
    found = evaluate(EndPointError(average), *batches)
    assert found["flow/EPE"] == pytest.approx(expected)
    assert evaluate(EndPointError(average), *batches[:2], batches[2][:1]) == found


def test_pairs_without_paths_are_told_apart_by_sequence_and_index():
    pairs = []
    for index, error in ((0, 2), (1, 4), (0, 2)):
        pair = off_by("", error)
        del pair["img1_path"], pair["img2_path"]
        pairs.append({**pair, "sequence": "s", "index": index})
    assert evaluate(EndPointError(), pairs)["flow/EPE"] == 3
    del pairs[0]["index"]
    with pytest.raises(ValueError, match="which pair is this"):
        EndPointError().process(None, pairs)


def test_pairs_without_a_valid_pixel():
    empty = off_by("empty", 7, 7, valid=[[0, 0]])
    metric = EndPointError("image")
    with logged() as lines:
        assert evaluate(metric, [empty, off_by("a", 4)], [off_by("b", 1, 1)])["flow/EPE"] == 2.5
    assert any(
        "1 of 3 pairs have no valid pixel" in line and "empty/1.png" in line for line in lines
    )
    with pytest.raises(ValueError, match="none of the 1 pairs has a valid pixel"):
        evaluate(metric, [empty])
    with pytest.raises(ValueError, match="FlowOutliers: not one pair was evaluated"):
        FlowOutliers().evaluate(0)


def test_a_metric_starts_anew_after_each_evaluation():
    metric = EndPointError("batch")
    assert evaluate(metric, [off_by("a", 4)], [off_by("b", 2)])["flow/EPE"] == 3
    assert evaluate(metric, [off_by("a", 1)])["flow/EPE"] == 1


def test_predictions_of_half_precision():
    pair = off_by("a", 0.5, 2)
    pair["pred_flow"] = pair["pred_flow"].bfloat16().requires_grad_()
    assert evaluate(EndPointError(), [pair])["flow/EPE"] == 1.25


def test_what_is_wrong_names_the_pair():
    bad = off_by("sintel/alley", 0, float("nan"), valid=[[1, 0]])
    with pytest.raises(ValueError, match=r"sintel/alley/1\.png: 1 of 4 predicted values are not"):
        EndPointError().process(None, [bad])
    with pytest.raises(ValueError, match=r"x/1\.png: no ground truth .*FlowDumpHook"):
        FlowOutliers().process(None, [{"img1_path": "x/1.png", "pred_flow": bad["pred_flow"]}])
    with pytest.raises(ValueError, match=r"x/1\.png: no prediction"):
        FlowOutliers().process(None, [{"img1_path": "x/1.png", "gt_flow": bad["gt_flow"]}])
    small = {**off_by("x", 1, 2), "pred_flow": torch.zeros(2, 1, 3)}
    with pytest.raises(ValueError, match=r"x/1\.png: .* got \(1, 3, 2\) and \(1, 2, 2\)"):
        EndPointError().process(None, [small])
    with pytest.raises(ValueError, match=r"x/1\.png: gt_occluded is \(1, 3\)"):
        EndPointError().process(None, [off_by("x", 1, 2, occluded=[[0, 0, 0]])])


def test_options_that_mean_nothing():
    with pytest.raises(ValueError, match="'pixel', 'image' or 'batch', not 'mean'"):
        FlowOutliers(average="mean")
    with pytest.raises(ValueError, match="thresholds are pixels above 0"):
        EndPointError(thresholds=(0, 1))
    with pytest.raises(ValueError, match=r"speeds are ranges .*\(40\.0, 10\.0\)"):
        EndPointError(speeds=((40, 10),))


def test_two_processes_give_the_figures_of_one(tmp_path):
    """Five pairs in batches of two: one process gets a repeated pair to have three as well."""
    root = tmp_path / "data"
    write_pairs(root)
    alone = Runner.from_cfg(settings(root, tmp_path / "one")).test()
    (tmp_path / "two").mkdir()
    run_ranks("tests.flow.answers", root, tmp_path / "two")
    first, second = (
        json.loads((tmp_path / "two" / f"rank_{rank}.json").read_text()) for rank in "01"
    )
    assert first == second
    assert {k: v for k, v in first.items() if "batch" not in k} == {
        k: v for k, v in alone.items() if "batch" not in k
    }
    # Ranks take turns: batches (0, 2), (4) here and (1, 3), (0 again, which is dropped) there.
    metric = EndPointError("batch")
    samples = [item["sample"] for item in MadePairs(str(root))]
    answers = Runner.from_cfg(settings(root, tmp_path / "again")).model(None, samples, "predict")
    by_hand = evaluate(metric, *([answers[i].to_dict() for i in b] for b in ((0, 2), (4,), (1, 3))))
    assert first["batch/EPE"] == pytest.approx(by_hand["flow/EPE"], rel=1e-12)
    assert first["batch/EPE"] != pytest.approx(alone["batch/EPE"], rel=1e-3)
    # Results of both processes, and one archive of all.
    with zipfile.ZipFile(tmp_path / "two" / "all.zip") as two:
        assert two.namelist() == [f"flow/clean/{number}/frame0001.flo" for number in range(5)]
        with zipfile.ZipFile(tmp_path / "one" / "all.zip") as one:
            assert [two.read(n) for n in two.namelist()] == [one.read(n) for n in one.namelist()]
