"""``python -m mmkd_ext compare``: real trainings, kept results, the table's figures, bad input."""

import json
import sys

import pytest
from mmengine.config import Config

from mmkd_ext.apis.compare import Result, table
from mmkd_ext.apis.errors import UserError
from mmkd_ext.apis.shorten import epoch_options
from tests.packaging.commands import run

from . import tiny_project


def compare(*arguments, cwd, code=0):
    return run(sys.executable, "-m", "mmkd_ext", "compare", *arguments, cwd=cwd, code=code)


def test_it_trains_tests_keeps_and_refuses(tmp_path):
    first = tiny_project.write(tmp_path)
    second = tmp_path / "self_distilled.py"
    second.write_text(
        f"_base_ = './{first.name}'\n"
        "model = dict(_delete_=True, type='mmkd_ext.Distiller', student=_base_.model,\n"
        "             losses=dict(tf_nkd=dict(type='TFNKDLoss', tap='head.fc')))\n"
    )
    line = [str(first), str(second), "--seeds", "3", "--epochs", "2", "--work-dir", "runs"]
    line += ["--data-root", str(tmp_path / "images")]
    printed = compare(*line, cwd=tmp_path)
    assert "[2/2] self_distilled seed 3 ..." in printed
    saved = json.loads((tmp_path / "runs" / "results.json").read_text())["results"]
    assert [(r["config"], r["seed"]) for r in saved] == [(first.stem, 3), ("self_distilled", 3)]
    for result in saved:
        folder = tmp_path / "runs" / f"{result['config']}_seed3"
        assert (folder / "epoch_2.pth").is_file()
        # The validation data are the test data here, and the last epoch was validated.
        assert result["test"]["accuracy/top1"] == result["val"]["accuracy/top1"]
        assert result["step_seconds"] > 0
    assert "| self_distilled |" in (tmp_path / "runs" / "table.md").read_text()

    stamp = (tmp_path / "runs" / "self_distilled_seed3" / "epoch_2.pth").stat().st_mtime_ns
    assert compare(*line, cwd=tmp_path).count("(kept)") == 2
    assert (tmp_path / "runs" / "self_distilled_seed3" / "epoch_2.pth").stat().st_mtime_ns == stamp

    line[line.index("2")] = "3"
    printed = compare(*line, cwd=tmp_path, code=2)
    assert "holds a run of tiny_project_config with other settings" in printed


def test_a_training_that_fails_is_reported_with_its_last_words(tmp_path):
    config = tiny_project.write(tmp_path)
    line = [str(config), "--seeds", "0", "--work-dir", "runs", "--data-root", "nowhere"]
    printed = compare(*line, cwd=tmp_path, code=2)
    assert "`train tiny_project_config` failed with exit code 2" in printed
    assert "nowhere" in printed
    assert not list(tmp_path.glob("runs/*/result.json"))


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


def made(config, seed, value, seconds=60.0):
    return Result(config, seed, "", {}, {"top1": value}, 0.1 + seed, seconds)


def test_the_table_pairs_gains_by_seed():
    values = {"base": (70.0, 72.0, 74.0), "kd": (73.0, 74.0, 75.0)}
    results = [made(c, seed, v) for c, vs in values.items() for seed, v in enumerate(vs)]
    rows = table(results[::-1], ["base", "kd"], "top1", "test")
    assert rows[1] == ("base", "72.00 ± 2.00", "", "100", "1.0")
    assert rows[2] == ("kd", "74.00 ± 1.00", "+2.00 ± 1.00", "100", "1.0")
    with pytest.raises(UserError, match="no such metric, but top1"):
        table(results, ["base", "kd"], "mAP", "test")


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
    assert (cosine.begin, cosine.end, cosine.T_max) == (0, 6, 6)
    assert steps.milestones == [3, 4]


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
