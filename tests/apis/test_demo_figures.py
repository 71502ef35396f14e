"""The demo's figures: from what an evaluation or a step logs to what is shown."""

import pytest

from mmkd_ext.apis.demo.figures import grouped
from mmkd_ext.apis.demo.runs import Evaluation, Run
from mmkd_ext.apis.demo.summary import Summary
from mmkd_ext.apis.demo.task import DENSE, TASKS
from mmkd_ext.apis.demo.watch import own_loss
from mmkd_ext.apis.errors import UserError


def test_metrics_become_percent_under_their_names():
    assert DENSE == ("det", "insseg", "semseg")
    assert TASKS["cls"].scores({"accuracy/top1": 95.44000244140625}) == {"top1": 95.44000244140625}
    logged = {"coco/bbox_mAP": 0.567, "coco/bbox_mAP_50": 0.8, "coco/segm_mAP": 0.29}
    assert TASKS["det"].scores(logged) == {"bbox_mAP": 56.7}
    assert TASKS["insseg"].scores(logged) == {"segm_mAP": 29.0, "bbox_mAP": 56.7}
    assert list(TASKS["insseg"].scores(logged)) == ["segm_mAP", "bbox_mAP"]  # the first decides
    assert TASKS["semseg"].scores({"aAcc": 90.0, "mIoU": 61.25}) == {"mIoU": 61.25}


def test_no_detection_at_all_is_a_score_of_0_and_a_missing_metric_an_error():
    assert TASKS["insseg"].scores({}) == {"segm_mAP": 0.0, "bbox_mAP": 0.0}
    with pytest.raises(KeyError, match=r"no 'mIoU' among the metrics aAcc"):
        TASKS["semseg"].scores({"aAcc": 90.0})


@pytest.mark.parametrize(
    ("logged", "own"),
    [
        ({"loss": 2.5}, 2.5),  # mmpretrain alone
        ({"loss": 4.0, "student.loss": 2.5, "kd.loss_mgd": 1.5, "kd.raw_mgd": 9.0}, 2.5),
        ({"loss": 3.0, "loss_cls": 1.0, "loss_bbox": 2.0, "acc": 90.0}, 3.0),
        ({"loss": 6.0, "decode.loss_ce": 1.0, "aux.loss_ce": 0.5, "kd.loss_cwd": 4.5}, 1.5),
    ],
)
def test_the_students_own_loss_is_told_from_the_teachers(logged, own):
    assert own_loss(logged) == pytest.approx(own)


def test_losses_of_one_brace_tap_are_added_up():
    losses = {
        "mgd_0": [(1, 1.0), (2, 0.5)],
        "mgd_1": [(1, 2.0), (2, 0.25)],
        "fgd_0_feature": [(1, 3.0), (2, 3.0)],
        "cwd": [(1, 4.0), (2, 5.0)],
    }
    assert grouped(losses) == {
        "mgd, sum of 2": [(1, 3.0), (2, 0.75)],
        "fgd_feature": [(1, 3.0), (2, 3.0)],
        "cwd": [(1, 4.0), (2, 5.0)],
    }


def summary(task, baseline, distilled, stock=None):
    """Of runs with these test scores, a dict for each seed."""

    def run(name, seed, scores):
        return Run(
            name=name, seed=seed, checkpoint=f"{name}_seed{seed}.pth", epochs=2, train_images=8,
            val={}, student_loss=[], kd_losses={}, test=scores, step_seconds=0.1, seconds=3.0,
            parameters=10, macs=1_000_000, added_parameters=0,
        )  # fmt: skip

    return Summary(
        task=TASKS[task],
        teacher=run("teacher", 0, baseline[0]),
        baseline=[run("baseline", seed, scores) for seed, scores in enumerate(baseline)],
        distilled=[run("distilled", seed, scores) for seed, scores in enumerate(distilled)],
        stock_baseline=[Evaluation(scores, 200, None) for scores in baseline],
        stock_distilled=[Evaluation(scores, 200, None) for scores in stock or distilled],
        stock_teacher=None,
        command="python -m mmkd_ext demo",
        jobs=2,
        seconds=None,
    )


def test_every_metric_has_its_column_and_the_first_one_decides():
    baseline = [{"segm_mAP": 20.0, "bbox_mAP": 30.0}, {"segm_mAP": 22.0, "bbox_mAP": 31.0}]
    distilled = [{"segm_mAP": 24.0, "bbox_mAP": 25.0}, {"segm_mAP": 27.0, "bbox_mAP": 35.0}]
    found = summary("insseg", baseline, distilled)
    assert found.headings()[:3] == ("", "mask mAP (%)", "box mAP (%)")
    assert found.rows()[2][:3] == ("student distilled", "25.50 ± 2.12", "30.00 ± 7.07")
    assert found.verdict() == (
        "Distillation gains +4.50 ± 0.71 points of mask mAP and -0.50 ± 6.36 of box mAP; that of "
        "mask mAP is more than its spread."
    )
    written = found.as_dict()
    assert written["gains"] == [4.0, 5.0]
    assert written["gains_bbox_mAP"] == [-5.0, 4.0]
    assert written["stock_segm_mAP_of_distilled"] == [24.0, 27.0]
    assert written["distilled"][1]["test_bbox_mAP"] == 35.0
    assert "15 s, added up" in found.conditions()[-1]  # a teacher, and two students twice
    assert "2 runs at a time" in found.conditions()[-1]


def test_a_gain_within_its_spread_is_called_none():
    found = summary("semseg", [{"mIoU": 50.0}, {"mIoU": 50.0}], [{"mIoU": 52.0}, {"mIoU": 49.0}])
    assert found.verdict() == (
        "Distillation gains +0.50 ± 2.12 points of mIoU: NOT more than its spread, so this run "
        "shows no gain."
    )
    assert (
        "one seed: no spread" in summary("det", [{"bbox_mAP": 1.0}], [{"bbox_mAP": 9.0}]).verdict()
    )


def test_a_checkpoint_that_scores_differently_in_the_stock_config_is_an_error():
    scores = [{"segm_mAP": 24.0, "bbox_mAP": 25.0}]
    assert (
        "stock mmdet into insseg_digits_baseline.py"
        in summary("insseg", scores, scores).stock_check()
    )
    other = [{"segm_mAP": 24.0, "bbox_mAP": 25.1}]  # of the second metric alone
    with pytest.raises(UserError, match=r"distilled_seed0.pth scores 25\.1.*25\.0"):
        summary("insseg", scores, scores, stock=other).stock_check()
