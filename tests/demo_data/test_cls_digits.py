"""The digits on disk: the same every time, whole or absent, and read by mmpretrain itself."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmkd_ext import demo_data
from mmkd_ext.demo_data import cls_digits, digits, folder, forms

CHILD = "from mmkd_ext import demo_data; print(demo_data.ensure('cls_digits'))"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKD_DEMO_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


def hashes(path: Path) -> dict[str, str]:
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def start(root: Path, **env) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD],
        env={**os.environ, "MMKD_DEMO_ROOT": str(root), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_root_is_independent_of_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.delenv("MMKD_DEMO_ROOT", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    expected = tmp_path / "cache" / "mmkd_ext" / "demo"
    for place in (tmp_path, Path("/")):
        monkeypatch.chdir(place)
        assert demo_data.data_root() == expected
    assert not expected.exists()  # asking makes nothing
    monkeypatch.setenv("MMKD_DEMO_ROOT", "~/elsewhere")
    assert demo_data.data_root() == Path.home() / "elsewhere"


def test_splits_are_stratified_disjoint_and_complete():
    source = digits.load()
    assert source.images.shape == (1797, 32, 32)
    assert source.images.dtype == np.uint8
    assert source.images.min() == 0
    assert source.images.max() == 255
    parts = [set(source.splits[name].tolist()) for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [897, 300, 600]
    assert set.union(*parts) == set(range(1797))  # with the sizes: disjoint
    for name, count in (("val", 30), ("test", 60)):
        assert set(Counter(source.labels[source.splits[name]].tolist()).values()) == {count}
    budget = source.splits["train"][:50]
    assert set(Counter(source.labels[budget].tolist()).values()) == {5}


def test_images_are_the_scans(root):
    """Shrinking an enlarged image back gives the scan, so labels and images belong together."""
    from sklearn.datasets import load_digits

    scans = load_digits()
    path = Path(demo_data.ensure("cls_digits"))
    for file in list((path / "test").rglob("*.png"))[::60]:
        index = int(file.stem)
        assert file.parent.name == str(scans.target[index])
        small = Image.open(file).resize((8, 8), Image.Resampling.BOX)
        scan = scans.images[index] * 255 / 16
        assert np.corrcoef(np.asarray(small).ravel(), scan.ravel())[0, 1] > 0.95


def test_two_builds_are_byte_identical_and_the_second_use_builds_nothing(root, tmp_path, capfd):
    first = Path(demo_data.ensure("cls_digits"))
    assert capfd.readouterr().err.count("making demo data") == 1
    before = {file: file.stat().st_mtime_ns for file in first.rglob("*")}
    assert demo_data.ensure("cls_digits") == str(first)
    assert capfd.readouterr().err == ""
    assert {file: file.stat().st_mtime_ns for file in first.rglob("*")} == before

    other = tmp_path / "other"
    process = start(other)
    assert process.wait(timeout=120) == 0
    assert hashes(other / "cls_digits") == hashes(first)
    assert len(hashes(first)) == 1797 + 2  # and the label budget, and the stamp


def test_two_processes_at_once_build_it_once(root):
    processes = [start(root) for _ in range(3)]
    results = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], results
    assert sum("making demo data" in err for _, err in results) == 1
    assert folder._is_complete(root / "cls_digits", forms.FORMS["cls_digits"].version)
    assert not [path.name for path in root.iterdir() if ".tmp-" in path.name]


def test_without_locks_the_faster_process_wins(root):
    """Network file systems may know no locks: then both build, and one rename decides."""
    target = root / "thing"
    root.mkdir()

    def fast(draft: Path) -> None:
        (draft / "a.txt").write_text("a")

    def slow(draft: Path) -> None:
        fast(draft)
        folder._build(target, 1, fast)  # meanwhile the other process finishes

    folder._build(target, 1, slow)
    assert folder._is_complete(target, 1)
    assert [path.name for path in root.iterdir()] == ["thing"]


def test_a_build_that_fails_leaves_nothing_that_passes_for_data(root):
    def write(draft: Path) -> None:
        (draft / "a.txt").write_text("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.ensure_folder(root / "thing", version=1, write=write, describe="a thing")
    assert [path.name for path in root.iterdir()] == [".thing.lock"]


def test_a_killed_build_is_made_again_and_cleared_away(root):
    root.mkdir()
    old, young = root / ".cls_digits.tmp-0123abcd", root / ".cls_digits.tmp-4567cdef"
    for draft in (old, young):
        (draft / "train" / "0").mkdir(parents=True)
    os.utime(old, (0, 0))
    path = Path(demo_data.ensure("cls_digits"))
    assert not old.exists()
    assert young.exists()  # may be another machine's, at work
    assert len(list(path.rglob("*.png"))) == 1797


@pytest.mark.parametrize("damage", ["version", "file", "stamp"])
def test_outdated_or_damaged_data_is_made_again(root, damage, capfd):
    path = Path(demo_data.ensure("cls_digits"))
    whole = hashes(path)
    if damage == "version":
        stamp = json.loads((path / folder.STAMP).read_text())
        (path / folder.STAMP).write_text(json.dumps({**stamp, "version": 0}))
    elif damage == "file":
        next((path / "train" / "3").iterdir()).unlink()
    else:
        (path / folder.STAMP).write_text("{")
    capfd.readouterr()
    demo_data.ensure("cls_digits")
    assert "making demo data" in capfd.readouterr().err
    assert hashes(path) == whole
    assert sorted(entry.name for entry in root.iterdir()) == [".cls_digits.lock", "cls_digits"]


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMKD_DEMO_ROOT", str(tmp_path / "file" / "root"))
    with pytest.raises(demo_data.DemoDataError, match="Set MMKD_DEMO_ROOT"):
        demo_data.ensure("cls_digits")
    with pytest.raises(ValueError, match="there is: cls_digits"):
        demo_data.ensure("cls_digit")


def test_mmpretrains_own_dataset_reads_it(root):
    from mmengine.config import Config
    from mmpretrain.datasets import CustomDataset, build_dataset

    base = Path(__file__).parents[2] / "configs" / "demo" / "cls_digits_baseline.py"
    cfg = Config.fromfile(base)
    sizes = {"train": cls_digits.LABELS_PER_CLASS * 10, "val": 300, "test": 600}
    seen: dict[str, set[str]] = {}
    for split, size in sizes.items():
        dataset = build_dataset(cfg[f"{split}_dataloader"].dataset)
        assert type(dataset) is CustomDataset
        assert len(dataset) == size
        assert dataset.metainfo["classes"] == tuple("0123456789")
        for index in range(0, size, 25):
            info = dataset.get_data_info(index)
            assert Path(info["img_path"]).parent.name == str(info["gt_label"])
        sample = dataset[0]
        assert sample["inputs"].shape == (3, 32, 32)
        seen[split] = {dataset.get_data_info(index)["img_path"] for index in range(size)}
    assert not seen["train"] & seen["test"]
    assert not seen["val"] & seen["test"]
    teacher = Config.fromfile(base.with_name("cls_digits_teacher.py"))
    everything = build_dataset(teacher.train_dataloader.dataset)
    assert len(everything) == 897
    paths = {everything.get_data_info(index)["img_path"] for index in range(897)}
    assert seen["train"] < paths
    assert not paths & (seen["val"] | seen["test"])


@pytest.mark.parametrize("name", ["teacher", "baseline", "distill"])
def test_stock_mmengine_finds_the_data_from_anywhere(root, tmp_path, name):
    """Only mmengine is imported first, as in `mim train mmpretrain`; the config does the rest."""
    config = Path(__file__).parents[2] / "configs" / "demo" / f"cls_digits_{name}.py"
    code = (
        "from mmengine.config import Config\n"
        f"cfg = Config.fromfile({str(config)!r}, import_custom_modules=False)\n"
        "print(cfg.data_root)\n"
        "assert 'module' not in cfg.pretty_text"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == str(root / "cls_digits")
    assert (root / "cls_digits" / "train" / "0").is_dir()
    assert "making demo data" in done.stderr
