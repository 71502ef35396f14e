from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint

from mmkd_ext.distill import read_checkpoint
from mmkd_ext.registry import HOOKS, MODELS

from .tiny_run import CLASSES, classifier, config, preprocessor, run

SAVE = dict(type="mmkd_ext.StudentCheckpointHook")
EMA = dict(type="EMAHook", momentum=0.1)
STUDENT = dict(classifier(4), data_preprocessor=preprocessor())


def names(folder):
    return sorted(path.name for path in Path(folder).glob("student_*"))


def stock_model():
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return MODELS.build(copy.deepcopy(STUDENT))


def test_the_stock_model_loads_it_strictly(tmp_path):
    runner = run(config(tmp_path, [SAVE]))
    assert names(tmp_path) == ["student_epoch_1.pth"]
    path = tmp_path / "student_epoch_1.pth"
    content = read_checkpoint(path)
    assert set(content) == {"meta", "state_dict"}
    assert not [key for key in content["state_dict"] if key.startswith("distill")]
    assert content["meta"]["dataset_meta"]["classes"] == CLASSES
    assert (content["meta"]["epoch"], content["meta"]["iter"]) == (1, 4)
    model = stock_model()
    load_checkpoint(model, str(path), strict=True)
    ours = runner.model.state_dict()
    assert all(torch.equal(value, ours[key]) for key, value in model.state_dict().items())
    assert path.stat().st_size < (tmp_path / "epoch_1.pth").stat().st_size / 2


def test_its_meta_holds_the_stock_config(tmp_path):
    run(config(tmp_path, [SAVE]))
    text = read_checkpoint(tmp_path / "student_epoch_1.pth")["meta"]["cfg"]
    plain = Config.fromstring(text, ".py")
    assert plain.model.type == "ImageClassifier"
    assert "custom_hooks" not in plain
    assert plain.train_dataloader.batch_size == 4


def test_interval_in_epochs_and_the_last_one(tmp_path):
    run(config(tmp_path, [dict(SAVE, interval=2)], epochs=3, val=False))
    assert names(tmp_path) == ["student_epoch_2.pth", "student_epoch_3.pth"]


def test_iterations_and_max_keep(tmp_path):
    stale = tmp_path / "student_iter_90.pth"  # of a longer run in the same folder
    stale.write_bytes(b"")
    hook = dict(SAVE, by_epoch=False, interval=2, max_keep=2)
    loop = dict(type="IterBasedTrainLoop", max_iters=9, val_interval=100)
    run(config(tmp_path, [hook], train_cfg=loop, val=False))
    assert names(tmp_path) == ["student_iter_8.pth", "student_iter_9.pth", stale.name]


def test_averaged_weights_too(tmp_path):
    runner = run(config(tmp_path, [EMA, dict(SAVE, max_keep=1)], epochs=2))
    assert names(tmp_path) == ["student_ema_epoch_2.pth", "student_epoch_2.pth"]
    averaged = read_checkpoint(tmp_path / "student_ema_epoch_2.pth")["state_dict"]
    raw = read_checkpoint(tmp_path / "student_epoch_2.pth")["state_dict"]
    full = read_checkpoint(tmp_path / "epoch_2.pth")  # mmengine swaps the two on saving
    key = "backbone.stem.0.weight"
    assert not torch.equal(raw[key], averaged[key])
    assert torch.equal(raw[key], full["ema_state_dict"][f"module.{key}"])
    assert torch.equal(raw[key], runner.model.state_dict()[key])
    assert torch.equal(averaged[key], full["state_dict"][key])
    stock_model().load_state_dict(averaged, strict=True)


def test_no_averaged_weights_where_not_wanted(tmp_path):
    run(config(tmp_path / "run", [EMA, dict(SAVE, ema=False, out_dir=str(tmp_path / "slim"))]))
    assert names(tmp_path / "run") == []
    assert names(tmp_path / "slim") == ["student_epoch_1.pth"]


def test_an_ema_teacher_is_not_in_it(tmp_path):
    run(config(tmp_path, [SAVE], teacher=dict(type="EMATeacher")))
    weights = read_checkpoint(tmp_path / "student_epoch_1.pth")["state_dict"]
    assert set(weights) == set(stock_model().state_dict())


def test_the_model_must_be_a_distiller(tmp_path):
    cfg = config(tmp_path, [SAVE])
    cfg.model = classifier(4)
    with pytest.raises(TypeError, match="StudentCheckpointHook works on a Distiller"):
        run(cfg)


@pytest.mark.parametrize("bad", [dict(interval=0), dict(max_keep=0), dict(max_keep=-2)])
def test_bad_arguments(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        HOOKS.build({**SAVE, **bad})
