"""``python -m mmkd_ext compare``: real trainings, kept results, the table's figures, bad input."""

import json
import sys

import pytest
import torch
from mmengine.config import Config

from mmkd_ext.apis.compare import Result, _scalars, headline, table
from mmkd_ext.apis.config import has_parent
from mmkd_ext.apis.errors import UserError
from mmkd_ext.apis.shorten import epoch_options
from tests.packaging.commands import run

from . import tiny_project


def compare(*arguments, cwd, code=0):
    return run(sys.executable, "-m", "mmkd_ext", "compare", *arguments, cwd=cwd, code=code)


def test_it_trains_tests_keeps_resumes_and_refuses(tmp_path):
    first = tiny_project.write(tmp_path)
    second = tmp_path / "self_distilled.py"
    second.write_text(
        f"_base_ = './{first.name}'\n"
        "model = dict(_delete_=True, type='mmkd_ext.Distiller', student=_base_.model,\n"
        "             losses=dict(tf_nkd=dict(type='TFNKDLoss', tap='head.fc')))\n"
    )
    line = [str(first), str(second), "--seeds", "3", "--epochs", "2", "--work-dir", "runs"]
    folders = [tmp_path / "runs" / f"{name}_seed3" for name in (first.stem, "self_distilled")]

    # A start that fails leaves nothing that is in the way of the corrected command.
    printed = compare(*line, "--data-root", "nowhere", cwd=tmp_path, code=2)
    assert f"`train {first.stem}` failed with exit code 2" in printed
    assert "nowhere" in printed
    assert not list(tmp_path.glob("runs/*/result.json"))

    line += ["--data-root", str(tmp_path / "images")]
    printed = compare(*line, "--split", "val", cwd=tmp_path)
    assert "[2/2] self_distilled seed 3 ..." in printed
    assert "self_distilled: its validation data ARE its test data" in printed
    checkpoints = [folder / "epoch_2.pth" for folder in folders]
    stamps = [path.stat().st_mtime_ns for path in checkpoints]
    assert all(result["test"] is None for result in saved(tmp_path))

    # The test split now, without another training.
    compare(*line, cwd=tmp_path)
    assert [path.stat().st_mtime_ns for path in checkpoints] == stamps
    assert [r["config"] for r in saved(tmp_path)] == [first.stem, "self_distilled"]
    for result in saved(tmp_path):
        # The validation data are the test data here, and the last epoch was validated.
        assert result["test"]["accuracy/top1"] == result["val"]["accuracy/top1"]
        assert result["step_seconds"] > 0
    assert "| self_distilled |" in (tmp_path / "runs" / "table.md").read_text()

    # What a kill in the second epoch leaves: the first one's checkpoint, half a line of log.
    unbroken = weights(checkpoints[1])
    (folders[1] / "result.json").unlink()
    checkpoints[1].unlink()
    (folders[1] / "last_checkpoint").write_text(str(folders[1] / "epoch_1.pth"))
    [log] = folders[1].glob("*/vis_data/scalars.json")
    log.write_text(log.read_text()[:-9])
    assert compare(*line, cwd=tmp_path).count("(kept)") == 1
    resumed = weights(checkpoints[1])
    assert all(torch.equal(unbroken[key], resumed[key]) for key in unbroken)
    assert len((folders[1] / "seconds.txt").read_text().split()) == 2

    line[line.index("2")] = "3"
    printed = compare(*line, cwd=tmp_path, code=2)
    assert f"holds a run of {first.stem} with other settings" in printed


def saved(folder):
    return json.loads((folder / "runs" / "results.json").read_text())["results"]


def weights(path):
    return torch.load(path, weights_only=False)["state_dict"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.py", "--seeds", "1", "1"], "names one twice"),
        (["a.py", "--epochs", "0"], "--epochs must be at least 1"),
        (["no_such.py"], "no_such.py does not exist"),
    ],
)
def test_bad_arguments(arguments, words, tmp_path):
    assert words in compare(*arguments, cwd=tmp_path, code=2)
    assert not list(tmp_path.iterdir())


def test_an_option_goes_where_its_parent_is():
    cfg = Config(dict(model=dict(teacher=dict(config="a")), hooks=[dict(x=1)], lr=1))
    fitting = ("model.teacher.checkpoint", "hooks.0.x", "lr", "new", "model.new")
    assert all(has_parent(cfg, key) for key in fitting)
    assert not any(has_parent(cfg, key) for key in ("model.losses.kd.alpha", "hooks.1.x", "lr.a.b"))


def test_an_option_that_fits_no_config(tmp_path):
    config = tiny_project.write(tmp_path)
    line = [str(config), "--cfg-options", "model.teacher.checkpoint=a.pth"]
    printed = compare(*line, cwd=tmp_path, code=2)
    assert (
        "--cfg-options model.teacher.checkpoint: none of the configs has model.teacher" in printed
    )


def made(config, seed, value, seconds=60.0):
    return Result(config, seed, "", {}, {"top1": value}, 0.1 + seed, seconds)


def test_the_table_pairs_gains_by_seed():
    values = {"base": (70.0, 72.0, 74.0), "kd": (73.0, 74.0, 75.0)}
    results = [made(c, seed, v) for c, vs in values.items() for seed, v in enumerate(vs)]
    rows = table(results[::-1], ["base", "kd"], "top1", "test")
    assert rows[1] == ("base", "72.00 ± 2.00", "", "100", "1.0")
    assert rows[2] == ("kd", "74.00 ± 1.00", "+2.00 ± 1.00", "100", "1.0")
    with pytest.raises(UserError, match="no metric 'mAP' on the test split, but top1"):
        table(results, ["base", "kd"], "mAP", "test")


def test_fractions_get_four_decimals():
    results = [made("base", seed, value) for seed, value in enumerate((0.3712, 0.3735))]
    assert table(results, ["base"], "top1", "test")[1][1] == "0.3723 ± 0.0016"


def test_the_metric_when_none_is_named():
    assert headline({"aAcc": 90.0, "mIoU": 50.0, "mAcc": 60.0}) == "mIoU"
    assert headline({"coco/bbox_mAP": 0.3, "coco/bbox_mAP_50": 0.5}) == "coco/bbox_mAP"


def test_a_detector_that_finds_nothing_has_no_metric(tmp_path):
    log = tmp_path / "20260101_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    training = dict(loss=1.0, time=0.5, data_time=0.1, step=1)
    log.write_text("".join(json.dumps(v) + "\n" for v in (training, dict(time=0.1, step=1))))
    with pytest.raises(UserError, match=r"no metric of a validation.*finds no object yet"):
        _scalars(tmp_path)


def test_epochs_scale_the_whole_schedule():
    cfg = Config(
        dict(
            train_cfg=dict(by_epoch=True, max_epochs=60, val_interval=10),
            param_scheduler=[
                dict(type="LinearLR", begin=0, end=1),
                dict(type="CosineAnnealingLR", begin=1, end=60, T_max=59),
                dict(type="MultiStepLR", milestones=[30, 45], by_epoch=True),
            ],
        )
    )
    cfg.merge_from_dict(epoch_options(cfg, 6))
    assert cfg.train_cfg == dict(by_epoch=True, max_epochs=6, val_interval=6)
    linear, cosine, steps = cfg.param_scheduler
    assert (linear.begin, linear.end) == (0, 1)
    assert (cosine.begin, cosine.end, cosine.T_max) == (1, 6, 5)  # where the other ended
    assert steps.milestones == [3, 4]


def test_epochs_scale_decay_per_epoch_and_loss_weights():
    cfg = Config(
        dict(
            train_cfg=dict(max_epochs=300, val_begin=100),
            param_scheduler=[
                dict(type="StepLR", step_size=1, gamma=0.98),
                dict(type="StepLR", step_size=30, gamma=0.1),
                dict(type="ExponentialLR", gamma=0.99),
            ],
            model=dict(
                losses=dict(
                    dkd=dict(schedule=dict(type="warmup", end=20)),
                    kd=dict(schedule=[dict(type="cosine", begin=30, by="iter"), dict(end=15)]),
                    mgd=dict(type="MGDLoss"),
                )
            ),
        )
    )
    cfg.merge_from_dict(epoch_options(cfg, 30))
    every, steps, exponential = cfg.param_scheduler
    assert every.gamma**30 == pytest.approx(0.98**300)
    assert (steps.step_size, steps.gamma) == (3, pytest.approx(0.1))
    assert exponential.gamma**30 == pytest.approx(0.99**300)
    assert cfg.train_cfg.val_begin == 10
    losses = cfg.model.losses
    assert losses.dkd.schedule.end == pytest.approx(2)
    assert losses.kd.schedule == [dict(type="cosine", begin=30, by="iter"), dict(end=1.5)]


def test_a_scheduler_that_cannot_be_scaled():
    cfg = Config(
        dict(train_cfg=dict(max_epochs=4), param_scheduler=[dict(type="OneCycleLR", eta_max=1)])
    )
    with pytest.raises(UserError, match=r"param_scheduler.0 \(OneCycleLR\) cannot be scaled"):
        epoch_options(cfg, 2)


def test_epochs_are_refused_where_iterations_count():
    cfg = Config(dict(train_cfg=dict(max_iters=100)))
    with pytest.raises(UserError, match="does not train by epochs"):
        epoch_options(cfg, 3)
    cfg = Config(
        dict(
            train_cfg=dict(max_epochs=4),
            param_scheduler=dict(type="LinearLR", by_epoch=False, end=100),
        )
    )
    with pytest.raises(UserError, match=r"param_scheduler \(LinearLR\) counts iterations"):
        epoch_options(cfg, 2)
