"""tools/train.py and tools/test.py as a user calls them."""

import json
import pickle
import sys

import pytest

from tests import warm_python
from tests.packaging.commands import ROOT, run
from tests.tools import tiny_project

TRAIN, TEST = ROOT / "tools" / "train.py", ROOT / "tools" / "test.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a config, its data and a finished run in ``work``."""
    folder = tmp_path_factory.mktemp("project")
    config = tiny_project.write(folder)
    printed = run(
        sys.executable, TRAIN, config, "--work-dir", "work", "--data-root", "images", cwd=folder
    )
    return folder, config, printed


@pytest.mark.parametrize("tool", [TRAIN, TEST])
def test_help_loads_nothing_heavy(tool, tmp_path):
    code = (
        "import runpy, sys; sys.argv = ['tool', '-h']\n"
        "try: runpy.run_path(sys.argv.pop(0) and " + repr(str(tool)) + ", run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "finally: print('torch' in sys.modules)"
    )
    code = code.replace("sys.argv.pop(0) and ", "")
    printed = run(sys.executable, "-c", code, cwd=tmp_path)
    assert printed.rstrip().endswith("False")
    assert "--gpus" not in printed  # mim would pass that option
    for option in ("--work-dir", "--data-root", "--cfg-options", "--launcher"):
        assert option in printed


def test_train(trained):
    folder, _, printed = trained
    assert "--data-root: train_dataloader.dataset.data_root: data/never -> " in printed
    names = {path.name for path in (folder / "work").iterdir() if path.is_file()}
    assert names == {"epoch_1.pth", "last_checkpoint", "tiny_project_config_resolved.py"}
    assert "ExactResumeHook" in printed


def test_resume_from_path_and_auto(trained):
    folder, config, _ = trained
    common = ("--work-dir", "work", "--data-root", "images", "--cfg-options")
    for number, resume in enumerate((["--resume", "work/epoch_1.pth"], ["--resume"]), 2):
        printed = run(
            sys.executable, TRAIN, config, *resume, *common, f"train_cfg.max_epochs={number}",
            cwd=folder,
        )  # fmt: skip
        assert f"Epoch(train) [{number}]" in printed
        assert "Epoch(train) [1]" not in printed


def test_test_with_drawings_scores_and_tta(trained):
    folder, config, _ = trained
    common = [config, "work/epoch_1.pth", "--work-dir", "tested", "--data-root", "images"]
    drawing = [*common, "--show-dir", "drawn", "--out", "scores.json", "--out-item", "metrics"]
    printed = run(sys.executable, TEST, *drawing, cwd=folder, code=2)
    assert "this config has no visualization hook" in printed
    visual = folder / "visual_config.py"
    visual.write_text(
        f"_base_ = {str(config)!r}\n"
        "default_hooks = dict(visualization=dict(type='VisualizationHook'))\n"
        "visualizer = dict(type='UniversalVisualizer')\n"
    )
    run(sys.executable, TEST, visual, *drawing[1:], cwd=folder)
    assert "accuracy/top1" in json.loads((folder / "scores.json").read_text())
    assert list((folder / "drawn").rglob("*.png"))
    printed = run(sys.executable, TEST, *common, "--tta", "--out", "predicted.pkl", cwd=folder)
    assert "AverageClsScoreTTA" in printed
    assert len(pickle.loads((folder / "predicted.pkl").read_bytes())) == 8


EXPECTED_FAILURES = {
    "no such config": (["tinny.py"], "does not exist"),
    "data root": (["CONFIG", "--data-root", "nowhere"], "--data-root nowhere does not exist"),
    "data missing": (["CONFIG"], "data/never"),
    "amp on the CPU": (["CONFIG", "--amp"], "Mixed precision needs an accelerator"),
    "no base batch size": (["CONFIG", "--auto-scale-lr"], "base_batch_size"),
    "resume": (["CONFIG", "--resume", "no.pth"], "--resume no.pth: there is no such file"),
    "launcher": (["CONFIG", "--launcher", "pytorch"], "dist_train.sh"),
    "misspelt argument": (
        ["CONFIG", "--cfg-options", "model.backbone.dept=18"],
        "did you mean 'depth'?",
    ),
}


@pytest.mark.parametrize("name", EXPECTED_FAILURES)
def test_expected_failures_are_one_message(name, trained):
    folder, config, _ = trained
    arguments, words = EXPECTED_FAILURES[name]
    arguments = [str(config) if part == "CONFIG" else part for part in arguments]
    command = [sys.executable, str(TRAIN), *arguments, "--work-dir", "failed"]
    result = warm_python.run(command, folder)
    assert result.returncode == 2
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]
    assert "Traceback" not in result.stdout + result.stderr


def test_checkpoint_of_another_network(trained):
    folder, config, _ = trained
    printed = run(
        sys.executable, TEST, config, "work/epoch_1.pth", "--work-dir", "tested", "--data-root",
        "images", "--cfg-options", "model.backbone.base_channels=8", "model.head.in_channels=64",
        cwd=folder, code=2,
    )  # fmt: skip
    assert "is of another network" in printed


def test_traceback_on_request(trained):
    folder, _, _ = trained
    printed = run(sys.executable, TRAIN, "no.py", cwd=folder, code=2, MMKD_TRACEBACK="1")
    assert "Traceback" in printed
    assert printed.rstrip().splitlines()[-1].startswith("error: ")


def test_two_processes_by_the_shell_scripts(trained):
    folder, config, _ = trained
    options = ("--work-dir", "both", "--data-root", "images")
    printed = run(
        "bash", ROOT / "tools" / "dist_train.sh", config, "2", *options,
        cwd=folder, PYTHON=sys.executable,
    )  # fmt: skip
    assert "Distributed launcher: pytorch" in printed
    assert "[2/2]" in printed  # 8 images, 2 processes, batches of 2
    printed = run(
        "bash", ROOT / "tools" / "dist_test.sh", config, "both/epoch_1.pth", "2", *options,
        cwd=folder, PYTHON=sys.executable,
    )  # fmt: skip
    assert "accuracy/top1" in printed


@pytest.mark.parametrize("name", ["dist_train.sh", "dist_test.sh", "slurm_train.sh"])
def test_shell_scripts_say_their_usage(name, tmp_path):
    printed = run("bash", ROOT / "tools" / name, cwd=tmp_path, code=2)
    assert f"bash tools/{name}" in printed
    assert "set -euo" not in printed
