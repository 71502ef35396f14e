"""The dense demos, run for real but short: figures, report and stock check of each task."""

import base64
import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmkd_ext.__main__ import main
from mmkd_ext.apis.demo import figures, sheet
from mmkd_ext.apis.demo.runs import RUN, _kept, train
from mmkd_ext.apis.demo.task import DENSE, TASKS

from .test_demo import CONFIGS, run

ROOT = Path(os.environ["MMKD_DEMO_ROOT"])
TEST_IMAGES = 12
KEYS = {
    "bbox_mAP": ("coco/bbox_mAP", 100),
    "segm_mAP": ("coco/segm_mAP", 100),
    "mIoU": ("mIoU", 1),
}
METRICS = {"det": ["bbox_mAP"], "insseg": ["segm_mAP", "bbox_mAP"], "semseg": ["mIoU"]}


def few(train_images):
    """Options for a training on a few images; the network is the demo's own."""
    sizes = {"train": train_images, "val": 8, "test": TEST_IMAGES}
    return [f"{split}_dataloader.dataset.indices={size}" for split, size in sizes.items()]


def demo(cwd, *options):
    done = run(ROOT, cwd, "demo", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def semseg(tmp_path_factory):
    """One short demo of two processes."""
    cwd = tmp_path_factory.mktemp("demo_dense")
    options = ["--task", "semseg", "--seeds", "1", "--epochs", "2", "--jobs", "2"]
    before = teacher_written()
    done = demo(cwd, *options, "--work-dir", str(cwd / "here"), "--cfg-options", *few(16))
    # The teacher of two epochs must not become that of semseg_digits_distill.py.
    assert teacher_written() == before
    return cwd / "here" / "semseg", done


def teacher_written():
    """When the shared teacher was; None if there is none."""
    path = ROOT / "teachers" / "semseg_digits_teacher.pth"
    return path.stat().st_mtime_ns if path.exists() else None


def test_a_short_run_leaves_true_figures_and_a_whole_report(semseg):
    folder, done = semseg
    assert "[1/3] teacher: 2 epochs" in done.stdout
    assert "[3/3] distilled_seed0: 2 epochs" in done.stdout
    results = check_results("semseg", folder, epochs=2)
    # Every pixel taken for background scores this much; a network that has not learnt, less.
    assert min(results["stock_mIoU_of_distilled"]) > 6
    for row in results["table"][1:]:
        line = next(line for line in done.stdout.splitlines() if f"│ {row[0]} " in line)
        assert all(cell in line for cell in row)
    assert "Checked: loaded by stock mmseg into semseg_digits_baseline.py" in done.stdout
    check_report(folder, results, classes=10)


def check_results(task, folder, epochs):
    """The figures are those that the Runner's own logs and checkpoints hold."""
    results = json.loads((folder / "results.json").read_text())
    metrics = METRICS[task]
    distill = Config.fromfile(CONFIGS / f"{task}_digits_distill.py").model
    for one in [results["teacher"], *results["baseline"], *results["distilled"]]:
        logs = [
            json.loads(line)
            for path in (folder / one["name"]).glob("*/vis_data/scalars.json")
            for line in path.read_text().splitlines()
        ]
        tests = [
            json.loads(path.read_text().splitlines()[-1])
            for path in (folder / one["name"]).glob("*/*.json")
        ]
        for name in metrics:
            key, factor = KEYS[name]
            points = dict(one[f"val_{name}"])
            logged = {log["step"]: factor * log[key] for log in logs if key in log}
            assert points == pytest.approx({**dict.fromkeys(points, 0.0), **logged})
            assert max(points) == epochs
            # Nothing is logged where nothing was detected.
            test = [factor * log[key] for log in tests if key in log] or [0]
            assert [one[f"test_{name}"]] == pytest.approx(test)
        taught = one["name"].startswith("distilled")
        families = {re.sub(r"_\d+$", "", name) for name in one["kd_losses"]}
        assert families == (set(distill.losses) if taught else set())
        for points in (one["student_loss"], *one["kd_losses"].values()):
            assert [epoch for epoch, _ in points] == list(range(1, epochs + 1))
            assert np.isfinite([value for _, value in points]).all()
        weights = torch.load(one["checkpoint"], weights_only=False)["state_dict"]
        counts = {True: 0, False: 0}
        for key, value in weights.items():
            if not re.search(r"running_mean|running_var|num_batches_tracked|project$", key):
                counts[key.startswith("distill.")] += value.numel()
        assert counts == {False: one["parameters"], True: one["added_parameters"]}
        assert (one["added_parameters"] > 0) == taught
        assert one["macs"] > 1e6
    for name in metrics:
        for role in ("baseline", "distilled"):
            assert results[f"stock_{name}_of_{role}"] == [r[f"test_{name}"] for r in results[role]]
    assert results["baseline"][0]["macs"] <= results["teacher"]["macs"]
    return results


def check_report(folder, results, classes=0):
    """It holds the table, curves and bars, and the sheet of evenly chosen test images."""
    html = (folder / "report.html").read_text()
    for row in results["table"]:
        for cell in row:
            assert f">{cell}<" in html
    assert "http" not in html
    pictures = []
    for picture in re.findall(r"src='data:image/png;base64,([^']+)'", html):
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            pictures.append(np.asarray(image.convert("RGB")))
    bars, curves, views = pictures
    assert all(len(np.unique(one.reshape(-1, 3), axis=0)) > 50 for one in (bars, curves))
    side = 3 * 128
    rows, legend = sheet.IMAGES, sheet.LEGEND if classes else 0
    assert views.shape[:2] == (
        sheet.HEAD + rows * (side + sheet.GAP) + legend,
        sheet.LEFT + 4 * (side + sheet.GAP),
    )
    shown = figures.evenly(rows, TEST_IMAGES)
    drawn = 0
    for row, index in enumerate(shown):
        form = "seg_digits/images/test" if classes else "det_digits/test"
        plain = Image.open(ROOT / form / f"{index:04d}.png").convert("RGB")
        plain = plain.resize((side, side), Image.Resampling.BICUBIC)
        if classes:
            plain = plain.convert("L").convert("RGB")
        y = sheet.HEAD + row * (side + sheet.GAP)
        truth = views[y : y + side, sheet.LEFT : sheet.LEFT + side].astype(float)
        if classes:  # dark where nothing is coloured
            matches = np.abs(truth - 0.4 * np.asarray(plain)).max(axis=-1) < 3
        else:
            matches = np.abs(truth - np.asarray(plain)).max(axis=-1) < 3
        assert matches.mean() > 0.5
        drawn += (~matches).sum()
    assert drawn > 1000


def test_finished_trainings_are_kept_on_request(semseg):
    folder, _ = semseg
    path = folder / "baseline_seed0" / RUN
    written = json.loads(path.read_text())
    before = sorted(folder.rglob("*"))
    options = {key: int(size) for key, size in (text.split("=") for text in few(16))}
    asked = dict(seed=0, options=options, resume=True)
    kept = train(TASKS["semseg"], "baseline", path.parent, epochs=2, **asked)
    assert kept.kept
    assert sorted(folder.rglob("*")) == before
    assert kept.as_dict()["test_mIoU"] == written["test"]["mIoU"]
    assert kept.checkpoint == written["checkpoint"]
    assert _kept(path, "other settings") is None
    # So many times the config's length is the same setting as that number of epochs.
    length = Config.fromfile(CONFIGS / "semseg_digits_baseline.py").train_cfg.max_epochs
    assert train(TASKS["semseg"], "baseline", path.parent, scale=2 / length, **asked) == kept


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "pose"], "invalid choice: 'pose'"),
        (["--task", "dense", "--teacher-labels", "few"], "is for --task cls"),
        (["--task", "det", "--jobs", "0"], "--jobs must be at least 1"),
        (["--scale-epochs", "0"], "--scale-epochs must be above 0"),
        (["--scale-epochs", "2", "--epochs", "3"], "not allowed with argument"),
        (["--task", "det", "--cfg-options", "model.nothing.here=1"], "has model.nothing"),
    ],
)
def test_bad_options_are_refused(tmp_path, monkeypatch, capfd, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["demo", *options])
    assert stop.value.code == 2
    assert message in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_all_tasks_run_at_once_and_go_on_after_an_interruption(tmp_path):
    options = ["--task", "dense", "--seeds", "1", "--epochs", "2", "--work-dir", str(tmp_path)]
    options += ["--cfg-options", *few(160)]
    first = demo(tmp_path, *options)
    results = {}
    for task in DENSE:
        folder = tmp_path / task
        assert f"{task}: scoring every checkpoint" in first.stdout
        results[task] = check_results(task, folder, epochs=2)
        check_report(folder, results[task], classes=10 if task == "semseg" else 0)
    assert len(re.findall(r"^\[\d/9\] ", first.stdout, re.MULTILINE)) == 9
    assert mean_iou_by_hand(results["semseg"]["distilled"][0]["checkpoint"]) == pytest.approx(
        results["semseg"]["distilled"][0]["test_mIoU"], abs=0.006
    )

    # As if the call had been interrupted in the last training.
    (tmp_path / "semseg" / "distilled_seed0" / RUN).unlink()
    again = demo(tmp_path, *options, "--resume", "--jobs", "1")
    assert again.stdout.count("(kept)") == 8
    for task in DENSE:
        resumed = json.loads((tmp_path / task / "results.json").read_text())
        for name in METRICS[task]:
            # Training is exact: neither the process it runs in nor a resumed demo changes it.
            for role in ("baseline", "distilled"):
                assert [one[f"test_{name}"] for one in resumed[role]] == [
                    one[f"test_{name}"] for one in results[task][role]
                ]


def mean_iou_by_hand(checkpoint):
    """Of the stock segmentor on the test images, from the files and a confusion matrix."""
    from mmseg.apis import inference_model, init_model

    model = init_model(str(CONFIGS / "semseg_digits_baseline.py"), checkpoint, device="cpu")
    confusion = np.zeros((11, 11))
    for index in range(TEST_IMAGES):
        folder = ROOT / "seg_digits"
        truth = np.asarray(Image.open(folder / "annotations" / "test" / f"{index:04d}.png"))
        image = str(folder / "images" / "test" / f"{index:04d}.png")
        found = inference_model(model, image).pred_sem_seg.data[0].numpy()
        valid = truth != 255
        np.add.at(confusion, (truth[valid], found[valid]), 1)
    both = np.diag(confusion)
    with np.errstate(invalid="ignore"):  # a class that neither has
        return 100 * np.nanmean(both / (confusion.sum(0) + confusion.sum(1) - both))
