from __future__ import annotations

import json
import re

import mmengine.hooks
import pytest
import torch
from mmengine.evaluator import BaseMetric

from mmkd_ext.hooks.teacher_check import TeacherAtChanceError
from mmkd_ext.registry import HOOKS, METRICS
from tests.two_ranks import run_ranks

from .tiny_ranks import settings
from .tiny_run import (
    TEACHER,
    classifier,
    config,
    good_teacher,
    loader,
    log_of,
    preprocessor,
    run,
    tensors_of,
)

CHECK = dict(type="mmkd_ext.TeacherCheckHook")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return good_teacher(tmp_path_factory.mktemp("teacher") / "teacher.pth")


def check_of(runner):
    return next(h for h in runner.hooks if type(h).__name__ == "TeacherCheckHook")


def test_a_good_teacher_scores_what_the_stock_library_gives_it(tmp_path, teacher):
    runner = run(config(tmp_path / "kd", [CHECK], teacher=teacher))
    score = check_of(runner).scores["teacher"]["accuracy/top1"]
    assert score > 80
    assert "AT CHANCE" not in log_of(runner)
    assert f"teacher on 18 of 18 validation images: accuracy/top1 {score:.4g}" in log_of(runner)
    stock = config(tmp_path / "stock", val=True)
    stock.model = TEACHER
    stock.load_from = teacher["checkpoint"]
    from mmengine.runner import Runner

    assert Runner.from_cfg(stock).val()["accuracy/top1"] == score


def test_the_input_is_renormalised_for_the_teacher(tmp_path, teacher):
    # The student sees other numbers, and BGR.
    other = preprocessor(mean=[0.0, 20.0, 40.0], std=[255.0] * 3, to_rgb=False)
    scores = []
    for name, students in (("same", preprocessor()), ("other", other)):
        cfg = config(tmp_path / name, [CHECK], teacher=teacher, data_preprocessor=students)
        scores.append(check_of(run(cfg)).scores["teacher"]["accuracy/top1"])
    assert scores[0] == scores[1] > 80


def test_a_teacher_at_chance_is_loud(tmp_path):
    runner = run(config(tmp_path, [CHECK]))
    log = log_of(runner)
    assert "AT CHANCE" in log
    assert "chance level 37.5" in log  # 1.5 * 100 / 4 classes
    assert "NO CHECKPOINT" in log
    assert log.count("!" * 80) == 2
    line = next(line for line in log.splitlines() if "TeacherCheckHook: \n" in line + "\n")
    assert "WARNING" in line


def test_it_can_be_an_error(tmp_path):
    with pytest.raises(TeacherAtChanceError, match=r"AT CHANCE.*accuracy/top1"):
        run(config(tmp_path, [dict(CHECK, on_chance="error")]))


def test_training_is_bitwise_the_same(tmp_path, teacher):
    spoilt = {**teacher, "mode": "train"}  # its batch norm moves; evaluation must not move it
    hooks = [dict(CHECK), dict(type="mmkd_ext.RandomWitness")]
    losses = dict(near=dict(type="TinyImitation", tap="backbone.body"))
    plain = run(config(tmp_path / "plain", hooks[1:], losses, spoilt))
    checked = run(config(tmp_path / "checked", hooks, losses, spoilt))
    before, after = tensors_of(plain), tensors_of(checked)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert plain.hooks[-1].numbers == checked.hooks[-1].numbers
    ours = checked.model.teacher
    assert all(m.training for m in ours.modules())
    theirs = dict(plain.model.teacher.named_buffers())
    assert all(torch.equal(b, theirs[name]) for name, b in ours.named_buffers())


@HOOKS.register_module()
class RandomWitness(mmengine.hooks.Hook):
    """What the generator gives once all `before_train` are done."""

    priority = "LOWEST"

    def before_train(self, runner):
        self.numbers = torch.get_rng_state().tolist()
        assert all(not metric.results for metric in runner.val_evaluator.metrics)


def test_part_of_the_set_is_spread_over_it(tmp_path, teacher):
    runner = run(config(tmp_path, [dict(CHECK, max_batches=2)], teacher=teacher))
    assert "teacher on 10 of 18 validation images" in log_of(runner)
    dataset = runner.val_dataloader.dataset
    assert [index for index, _ in dataset.handed_out[:10]] == [i * 18 // 10 for i in range(10)]
    assert len(dataset.handed_out) == 10 + 18


def test_predictions_go_to_samples_of_its_own(tmp_path, teacher):
    runner = run(config(tmp_path, [CHECK], teacher=teacher))
    handed = runner.val_dataloader.dataset.handed_out
    assert len(handed) == 2 * 18  # read anew for the student's validation
    assert len({id(sample) for _, sample in handed}) == 2 * 18


def test_loader_workers_of_the_runner_are_left_alone(tmp_path, teacher):
    cfg = config(tmp_path, [dict(CHECK), dict(type="mmkd_ext.WorkerWitness")], teacher=teacher)
    cfg.val_dataloader = loader(batch_size=5, size=18, seed=1, workers=1)
    runner = run(cfg)
    assert check_of(runner).scores["teacher"]["accuracy/top1"] > 80


@HOOKS.register_module()
class WorkerWitness(mmengine.hooks.Hook):
    priority = "LOWEST"

    def before_train(self, runner):
        assert runner.val_dataloader._iterator is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(val=False), "goes UNCHECKED: the config has no validation"),
        (dict(teacher=dict(type="EMATeacher")), "no teacher to check"),
        (
            dict(teacher=dict(config=dict(TEACHER, head=None, neck=None))),
            "evaluation of teacher on the validation set failed",
        ),
    ],
)
def test_what_cannot_be_checked_is_said(tmp_path, changes, said):
    assert said in log_of(run(config(tmp_path, [CHECK], **changes)))


def test_what_cannot_be_checked_stops_a_run_that_asked_for_it(tmp_path):
    teacher = dict(config=dict(TEACHER, head=None, neck=None))
    hooks = [dict(CHECK, on_chance="error")]
    with pytest.raises(RuntimeError, match="evaluation of teacher on the validation set failed"):
        run(config(tmp_path, hooks, teacher=teacher))
    assert not list(tmp_path.rglob("*.pth"))


@METRICS.register_module()
class Given(BaseMetric):
    """A metric that says what it is told to, under mmdet's or an unknown name."""

    default_prefix = "coco"

    def __init__(self, name, value):
        super().__init__()
        self.name, self.value = name, value

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return {self.name: self.value}


@pytest.mark.parametrize(
    ("name", "value", "options", "alarm"),
    [
        ("bbox_mAP", 0.009, {}, True),
        ("bbox_mAP", 0.011, {}, False),
        ("bbox_mAP", float("nan"), {}, True),
        ("bbox_mAP_s", 0.0, {}, False),  # no small objects is no fault of the teacher
        ("mIoU", 0.005, {}, True),
        ("speed", 0.1, {}, False),
        ("speed", 0.1, dict(chance={"coco/speed": 0.2}), True),
    ],
)
def test_other_scores(tmp_path, name, value, options, alarm):
    cfg = config(tmp_path, [dict(CHECK, **options)])
    cfg.val_evaluator = dict(type="mmkd_ext.Given", name=name, value=value)
    log = log_of(run(cfg))
    assert ("AT CHANCE" in log) == alarm
    assert re.search(rf"coco/{name} ", log)


def test_the_model_must_be_a_distiller(tmp_path):
    cfg = config(tmp_path, [CHECK])
    cfg.model = classifier(2)
    with pytest.raises(TypeError, match="TeacherCheckHook works on a Distiller, but the model is"):
        run(cfg)


def test_two_processes_share_the_work(tmp_path, teacher):
    run_ranks("tests.hooks.tiny_ranks", tmp_path, teacher["checkpoint"])
    first, second = (json.loads((tmp_path / f"rank_{rank}.json").read_text()) for rank in "01")
    assert first == second
    alone = run(settings(tmp_path / "alone", teacher["checkpoint"], [CHECK]))
    assert first["scores"] == check_of(alone).scores
    log = "\n".join(path.read_text() for path in (tmp_path / "work").glob("*/*.log"))
    assert log.count("teacher on 17 of 17 validation images") == 1
    assert log.count("Cost of distillation") == 1
    assert (tmp_path / "work" / "student_epoch_1.pth").exists()
    drawn = (tmp_path / "work").glob("*/vis_data/vis_image/*.png")
    assert sorted(path.name for path in drawn) == ["feature_maps_0.png", "feature_maps_2.png"]


@pytest.mark.parametrize("bad", [dict(on_chance="stop"), dict(max_batches=0)])
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        HOOKS.build({**CHECK, **bad})
