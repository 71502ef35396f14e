"""The CIFAR-10 configs: taps, settings and one step of each; one trained from a folder of images."""

import json
import sys

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from tests.packaging.commands import run

from .cls_configs import (
    ROOT,
    check_gradients,
    check_predictions,
    load,
    made_batch,
    record_inputs,
    runner_of,
    shapes,
    terms_of,
)
from .cls_expected import N, logits, maps, self_logits

pytestmark = pytest.mark.filterwarnings("ignore")

CONFIGS = sorted((ROOT / "configs" / "real").glob("cifar10_*.py"))
VIT_TOKENS = ([(N, 65, 64)] * 3, [(N, 65, 128)] * 3)  # 8 x 8 patches and the class token
TAPS = {
    "cnn_teacher": {},
    "cnn_baseline": {},
    "cnn_kd": {"kd": logits(10)},
    "cnn_nkd": {"nkd": logits(10)},
    "cnn_mgd": {"mgd": maps(64, 64, 8)},
    "cnn_mgd-nkd": {"mgd": maps(64, 64, 8), "nkd": logits(10)},
    "cnn_tf-nkd": {"tf_nkd": self_logits(10)},
    "vit_teacher": {},
    "vit_baseline": {},
    "vit_kd": {"kd": logits(10)},
    "vit_nkd": {"nkd": logits(10)},
    "vit_vitkd": {"vitkd": VIT_TOKENS},
    "vit_vitkd-nkd": {"vitkd": VIT_TOKENS, "nkd": logits(10)},
    "vit_tf-nkd": {"tf_nkd": self_logits(10)},
}


def test_every_config_in_the_folder_is_covered():
    assert {path.stem for path in CONFIGS} == {f"cifar10_{name}" for name in TAPS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_trains_a_step_and_predicts(path, tmp_path):
    taps = TAPS[path.stem.removeprefix("cifar10_")]
    cfg = load(path, 32)
    runner = runner_of(cfg, tmp_path)
    model = runner.model
    seen = {name: [] for name in taps}
    if taps:
        check_gradients(model, 32, 10, taps)
        for name, module in model.distill.items():
            record_inputs(module, seen[name])
    wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
    model.train()
    log = model.train_step(made_batch(32, 10), wrapper)
    assert torch.isfinite(log["loss"])
    for name, expected in taps.items():
        assert all(torch.isfinite(log[key]) for key in terms_of(log, name))
        [((student, teacher, _), _)] = seen[name]
        assert (shapes(student), shapes(teacher)) == expected
    check_predictions(model, 32, 10)


@pytest.mark.parametrize("family", ["cnn", "vit"])
def test_baseline_and_methods_share_data_and_schedule(family):
    settings = {}
    for path in CONFIGS:
        if path.stem.startswith(f"cifar10_{family}") and not path.stem.endswith("teacher"):
            cfg = Config.fromfile(path)
            student = cfg.model.get("student", cfg.model)
            parts = (student, cfg.train_dataloader, cfg.optim_wrapper, cfg.param_scheduler)
            settings[path.stem] = str([part for part in parts]) + str(cfg.train_cfg)
    assert len(settings) >= 5
    assert len(set(settings.values())) == 1


def test_the_splits_are_disjoint_and_test_is_apart():
    cfg = Config.fromfile(ROOT / "configs" / "real" / "cifar10_cnn_baseline.py")
    train, val, test = (cfg[f"{name}_dataloader"].dataset for name in ("train", "val", "test"))
    assert train.data_prefix == val.data_prefix == "train"
    assert test.data_prefix == "test"
    assert (train.per_class, val.per_class) == ((0, 4500), (4500, 5000))
    assert "per_class" not in test


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CIFAR-10 of five training and two test images a class."""
    root = tmp_path_factory.mktemp("cifar")
    rng = np.random.default_rng(0)
    for split, count in (("train", 5), ("test", 2)):
        for label in Config.fromfile(CONFIGS[0]).classes:
            (root / split / label).mkdir(parents=True)
            for index in range(count):
                image = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
                cv2.imwrite(str(root / split / label / f"{index:04d}.jpg"), image)
    return root


def train(config, folder, tmp_path, **expected):
    return run(
        *(sys.executable, "-m", "mmkd_ext", "train", config),
        *("--data-root", str(folder), "--work-dir", str(tmp_path / "run"), "--cfg-options"),
        *("train_dataloader.dataset.per_class=0,3", "val_dataloader.dataset.per_class=3,5"),
        *("train_dataloader.batch_size=10", "train_dataloader.num_workers=0"),
        *("val_dataloader.num_workers=0", "train_cfg.max_epochs=1"),
        "default_hooks.logger.interval=1",
        cwd=tmp_path,
        **expected,
    )


def test_it_trains_from_a_folder_of_images(folder, tmp_path):
    train("cifar10_cnn_tf-nkd.py", folder, tmp_path)
    [scalars] = tmp_path.glob("run/*/vis_data/scalars.json")
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert [line["iter"] for line in lines if "loss" in line] == [1, 2, 3]  # 30 images
    assert 0 <= lines[-1]["accuracy/top1"] <= 100
    assert (tmp_path / "run" / "epoch_1.pth").is_file()


def test_a_missing_teacher_names_the_command_that_trains_it(folder, tmp_path):
    printed = train("cifar10_cnn_kd.py", folder, tmp_path, code=2)
    assert "work_dirs/cifar10_cnn_teacher/epoch_60.pth" in printed
    assert "python -m mmkd_ext train cifar10_cnn_teacher.py" in printed
    assert not list(tmp_path.rglob("*.pth"))
