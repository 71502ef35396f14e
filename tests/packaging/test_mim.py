"""mim on the editable checkout: from any directory, again and again."""

import shutil
import sys
import uuid

import pytest

from mmkd_ext import compat
from tests.packaging.commands import ROOT, SHORT, SHORT_TEST, mim


@pytest.fixture
def results_in_checkout():
    """A work folder where users have theirs: under the checkout, which mim searches."""
    folder = ROOT / "work_dirs" / f"test_mim_{uuid.uuid4().hex[:8]}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_train_twice_then_test_by_bare_name(tmp_path, results_in_checkout):
    for _ in range(2):
        printed = mim(
            "train", "mmkd_ext", "cls_digits_baseline.py",
            "--work-dir", results_in_checkout, "--cfg-options", *SHORT, cwd=tmp_path,
        )  # fmt: skip
        assert "Training finished successfully" in printed
        assert "multiple config files" not in printed
    assert not (results_in_checkout / "cls_digits_baseline.py").exists()
    assert (results_in_checkout / "cls_digits_baseline_resolved.py").is_file()
    assert compat.configs_found_twice() == {}
    printed = mim(
        "test", "mmkd_ext", "cls_digits_baseline.py",
        "--checkpoint", results_in_checkout / "epoch_1.pth", "--work-dir", tmp_path / "test",
        "--cfg-options", *SHORT_TEST, cwd=tmp_path,
    )  # fmt: skip
    assert "accuracy/top1" in printed


def test_search_and_run(tmp_path):
    printed = mim("search", "mmkd_ext", "--valid-config", cwd=tmp_path)
    assert "nkd_resnet18_resnet34_8xb32_in1k" in printed
    printed = mim("run", "mmkd_ext", "train", "--", "-h", cwd=tmp_path)
    assert "--data-root" in printed


@pytest.mark.slow
def test_gridsearch_by_path(tmp_path):
    config = tmp_path / "my_grid.py"
    base = str(ROOT / "configs" / "demo" / "cls_digits_baseline.py")
    config.write_text(f"_base_ = {base!r}\n")
    printed = mim(
        "gridsearch", "mmkd_ext", config, "--work-dir", tmp_path / "grid",
        "--search-args", "--optim_wrapper.optimizer.lr 0.1", "--cfg-options", *SHORT, cwd=tmp_path,
    )  # fmt: skip
    assert "hyper parameter search finished successfully" in printed


def test_stock_mim_train_with_our_modules(tmp_path):
    """`mim train <mmpretrain's name> my.py`: mmpretrain's own tool, our modules by config."""
    config = tmp_path / "my_distillation.py"
    config.write_text(
        f"""_base_ = {str(ROOT / "configs" / "demo" / "cls_digits_baseline.py")!r}
custom_imports = dict(imports=['mmkd_ext'], allow_failed_imports=False)
model = dict(
    _delete_=True, type='mmkd_ext.Distiller', student=_base_.model,
    losses=dict(tf_nkd=dict(type='TFNKDLoss', tap='head.fc')))
"""
    )
    printed = mim(
        "train", compat.mim_name("mmpretrain"), config,
        "--work-dir", tmp_path / "work", "--cfg-options", *SHORT, cwd=tmp_path,
    )  # fmt: skip
    assert "kd.loss_tf_nkd" in printed
    assert (tmp_path / "work" / "epoch_1.pth").is_file()


def test_this_is_an_editable_install_of_this_checkout():
    """What the tests above rely on; `make test` sees to it."""
    assert compat._is_editable(), f"run `make env`: {sys.executable} has no editable mmkd_ext"
