"""The demo, run for real but short: its figures are those of its files, its report is whole."""

import base64
import io
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmkd_ext.__main__ import main
from tests import warm_python

# The teacher sees the students' few images here, which makes its epochs as short as theirs.
OPTIONS = ["--seeds", "2", "--epochs", "40", "--teacher-labels", "few"]


def run(root: Path, cwd: Path, *command: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "MMKD_DEMO_ROOT": str(root), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    return warm_python.run([sys.executable, "-m", "mmkd_ext", *command], cwd, env, timeout=540)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """One short demo, from a folder of its own and with no demo data yet."""
    cwd = tmp_path_factory.mktemp("demo")
    done = run(cwd / "root", cwd, "demo", *OPTIONS)
    assert done.returncode == 0, done.stdout + done.stderr
    work_dir = cwd / "work_dirs" / "demo"
    results = json.loads((work_dir / "results.json").read_text())
    return cwd, work_dir, results, done


def test_it_says_what_it_does(demo):
    cwd, work_dir, results, done = demo
    assert done.stderr.count("making demo data") == 1
    for place, name in enumerate(
        (
            "teacher",
            "baseline_seed0",
            "distilled_seed0",
            "baseline_seed1",
            "distilled_seed1",
        ),
        start=1,
    ):
        assert f"[{place}/5] {name}: 40 epochs" in done.stdout
    for row in results["table"][1:]:
        line = next(line for line in done.stdout.splitlines() if f"│ {row[0]} " in line)
        assert all(cell in line for cell in row)
    assert "Measured here, by: python -m mmkd_ext demo --seeds 2" in done.stdout
    assert str(work_dir / "report.html") in done.stdout
    # A two-second teacher must not become that of cls_digits_distill.py.
    assert not (cwd / "root" / "teachers").exists()


def test_figures_are_those_of_the_files(demo):
    _, work_dir, results, _ = demo
    for run_ in [results["teacher"], *results["baseline"], *results["distilled"]]:
        folder = work_dir / run_["name"]
        logged = [
            json.loads(line)
            for path in folder.glob("*/vis_data/scalars.json")
            for line in path.read_text().splitlines()
        ]
        val = [(entry["step"], entry["accuracy/top1"]) for entry in logged if _is_val(entry)]
        assert val
        assert [tuple(point) for point in run_["val_top1"]] == val
        assert len(run_["student_loss"]) == 40
        assert set(run_["kd_losses"]) == ({"nkd", "mgd"} if "distilled" in run_["name"] else set())
        test_log = [
            json.loads(path.read_text().splitlines()[-1])
            for path in folder.glob("*/*.json")
            if "accuracy/top1" in path.read_text()
        ]
        assert [entry["accuracy/top1"] for entry in test_log] == [run_["test_top1"]]
        assert Path(run_["checkpoint"]).parent == folder
        weights = torch.load(run_["checkpoint"], weights_only=False)["state_dict"]
        counts = {True: 0, False: 0}
        for key, value in weights.items():
            if not key.endswith(("running_mean", "running_var", "num_batches_tracked")):
                counts[key.startswith("distill.")] += value.numel()
        assert counts == {False: run_["parameters"], True: run_["added_parameters"]}
    for name, row in (("baseline", 2), ("distilled", 3)):
        scores = [run_["test_top1"] for run_ in results[name]]
        text = f"{statistics.mean(scores):.2f} ± {statistics.stdev(scores):.2f}"
        assert results["table"][row][1] == text
    assert all(run_["added_parameters"] > 0 for run_ in results["distilled"])
    assert results["baseline"][0]["parameters"] == results["distilled"][0]["parameters"]
    assert results["baseline"][0]["train_images"] == results["distilled"][0]["train_images"] == 50


def _is_val(entry: dict) -> bool:
    return "accuracy/top1" in entry


def test_distilled_checkpoints_score_the_same_in_stock_mmpretrain(demo):
    cwd, _, results, done = demo
    assert "Checked: loaded by stock mmpretrain" in done.stdout
    scores = [run_["test_top1"] for run_ in results["distilled"]]
    assert results["stock_top1_of_distilled"] == scores
    assert min(scores) > 20  # equality of two chance results would say little
    # Once more, by hand and in a process that has nothing of ours but the data.
    code = f"""
import torch
from mmengine.config import Config
from mmengine.runner import load_checkpoint
from mmengine.registry import init_default_scope
from mmpretrain.datasets import build_dataset
from mmpretrain.registry import MODELS
cfg = Config.fromfile({str(CONFIGS / "cls_digits_baseline.py")!r})
init_default_scope("mmpretrain")
cfg.model.data_preprocessor = cfg.data_preprocessor
model = MODELS.build(cfg.model).eval()
state = load_checkpoint(model, {results["distilled"][0]["checkpoint"]!r}, map_location="cpu")
assert set(model.state_dict()) <= set(state["state_dict"])
data = build_dataset(cfg.test_dataloader.dataset)
right = 0
for start in range(0, len(data), 100):
    items = [data[i] for i in range(start, min(start + 100, len(data)))]
    batch = dict(inputs=[i["inputs"] for i in items], data_samples=[i["data_samples"] for i in items])
    with torch.no_grad():
        right += sum(int(s.pred_label) == int(s.gt_label) for s in model.test_step(batch))
print(right, len(data))
"""
    env = {**os.environ, "MMKD_DEMO_ROOT": str(cwd / "root")}
    by_hand = warm_python.run([sys.executable, "-c", code], cwd, env)
    assert by_hand.returncode == 0, by_hand.stderr
    right, total = map(int, by_hand.stdout.split()[-2:])
    assert 100 * right / total == pytest.approx(scores[0], abs=1e-4)


CONFIGS = Path(__file__).parents[2] / "configs" / "demo"


def test_the_report_is_whole(demo):
    _, work_dir, results, _ = demo
    html = (work_dir / "report.html").read_text()
    pictures = re.findall(r"src='data:image/png;base64,([^']+)'", html)
    assert len(pictures) == 3
    for picture in pictures:
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            image.load()
            assert image.width > 400
            assert len(image.convert("RGB").getcolors(1 << 20)) > 50  # something is drawn
    for row in results["table"]:
        for cell in row:
            assert f">{cell}<" in html
    assert "http" not in html.replace("http-equiv", "")  # needs nothing from elsewhere


def test_no_work_folder_holds_a_config_under_a_name_of_ours(demo):
    """Else mim finds a bare config name twice."""
    _, work_dir, _, _ = demo
    names = {path.name for path in CONFIGS.glob("*.py")}
    assert len(names) == 25
    assert not [path for path in work_dir.rglob("*.py") if path.name in names]


def test_a_missing_teacher_is_one_error_that_names_the_command(demo, tmp_path):
    cwd, *_ = demo
    done = run(
        cwd / "root", tmp_path, "train", "cls_digits_distill.py", "--work-dir", str(tmp_path / "x")
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    message = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(message) == 1
    assert "python -m mmkd_ext train cls_digits_teacher.py" in message[0]
    assert not list((tmp_path / "x").rglob("*.pth"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "0"], "must be at least 1"),
        (["--epochs", "-1"], "must be at least 1"),
        (["--work-dir", "file"], "is a file"),
    ],
)
def test_bad_options_are_refused(tmp_path, monkeypatch, capfd, options, message):
    monkeypatch.setenv("MMKD_DEMO_ROOT", str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit) as stop:
        main(["demo", *options])
    assert stop.value.code == 2
    assert message in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
