"""The wheel: what is in it, and that mim works with it where no checkout is in sight."""

import json
import os
import sys
import sysconfig
import venv
import zipfile
from email.parser import Parser

import pytest

from tests.packaging.commands import ROOT, SHORT, mim, run

# Without what makes the environment of a checkout.
TOOLS = ("_launch.sh", "dist_test.sh", "dist_train.sh", "export_student.py", "slurm_train.sh")
TOOLS += ("flow_benchmark.py", "flow_infer.py", "test.py", "train.py", "vos_benchmark.py")
TOOLS += ("flownas_export.py", "flownas_rank.py", "vos_infer.py")
TOOLS += tuple(
    f"dataset_converters/{name}"
    for name in ("README.md", "color_labels.py", "split_coco.py", "voc_to_coco.py")
)
TOOLS += tuple(
    f"dataset_converters/scripts/{name}.sh"
    for name in ("_unpack", "preprocess_ade20k", "preprocess_cityscapes")
)
# What stands in for OpenDataLab's downloader: it puts an archive where that one does.
OPENXLAB = """#!/bin/sh
# openxlab dataset get OWNER/NAME -d FOLDER
[ "$1 $2 $3 $4" = "dataset get OpenDataLab/ADE20K_2016 -d" ] || exit 9
mkdir -p "$5/OpenDataLab___ADE20K_2016/raw"
cp "$ARCHIVE" "$5/OpenDataLab___ADE20K_2016/raw/"
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built offline; the checkout must look the same afterwards."""
    folder = tmp_path_factory.mktemp("wheel")
    before = {path.name for path in ROOT.iterdir()}
    run(
        sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index",
        "-w", folder, ROOT, cwd=folder,
    )  # fmt: skip
    left_behind = {path.name for path in ROOT.iterdir()} - before
    assert not left_behind
    assert not (ROOT / "mmkd_ext" / ".mim").exists()
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def wheel_python(wheel, tmp_path_factory):
    """An environment with the wheel, which sees the big packages of the present one."""
    folder = tmp_path_factory.mktemp("env") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    # As a .pth line this adds the folder, but not the editable install that its own .pth files
    # would bring along.
    (folder / paths["purelib"] / "_big_packages.pth").write_text(sysconfig.get_path("purelib"))
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index",
        wheel, cwd=folder,
    )  # fmt: skip
    return str(python)


def test_payload_for_both_mims(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for folder in ("mmkd_ext/.mim/", "_mmkd_ext/.mim/"):
        assert {folder + "model-index.yml", folder + "dataset-index.yml"} <= set(names)
        assert {folder + f"tools/{name}" for name in TOOLS} == {
            name for name in names if name.startswith(folder + "tools/")
        }
        assert folder + "configs/demo/cls_digits_baseline.py" in names
        assert folder + "configs/cls/mgd/metafile.yml" in names
    assert not [name for name in names if "__pycache__" in name]


def test_metadata(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["Name"] == "mmkd_ext"
    required = metadata.get_all("Requires-Dist")
    hard = sorted(line.partition(">")[0] for line in required if "extra ==" not in line)
    assert hard == ["numpy", "torch"]
    assert metadata["Summary"]
    classifiers = metadata.get_all("Classifier")
    for version in ("3.10", "3.11", "3.12"):
        assert f"Programming Language :: Python :: {version}" in classifiers
    extras = set(metadata.get_all("Provides-Extra"))
    assert {"onedl", "openmmlab", "tests"} <= extras
    # pip would build either in isolation, without its ops.
    for line in required:
        assert not line.lower().startswith(("onedl-mmcv", "mmcv")), line
    assert not [name for name in archive.namelist() if name.endswith("entry_points.txt")]


def test_sdist_builds_the_same_wheel(wheel, tmp_path):
    run(sys.executable, "setup.py", "-q", "sdist", "-d", tmp_path, cwd=ROOT)
    assert not list(ROOT.glob("*.egg-info"))
    (sdist,) = tmp_path.glob("*.tar.gz")
    run(
        sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index",
        "-w", tmp_path, sdist, cwd=tmp_path,
    )  # fmt: skip
    (again,) = tmp_path.glob("*.whl")
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def test_mim_search_and_run(wheel_python, tmp_path):
    printed = mim("search", "mmkd_ext", "--valid-config", cwd=tmp_path, python=wheel_python)
    assert "mgd_resnet18_resnet34_8xb32_in1k" in printed
    printed = mim("run", "mmkd_ext", "train", "--", "-h", cwd=tmp_path, python=wheel_python)
    assert "--data-root" in printed
    assert "_mmkd_ext/.mim/tools/train.py" in printed


def test_mim_runs_a_converter(wheel_python, tmp_path):
    content = dict(images=[dict(id=i, file_name=f"{i}.jpg") for i in range(4)])
    (tmp_path / "all.json").write_text(json.dumps(content | dict(annotations=[], categories=[])))
    arguments = ["all.json", "--val-fraction", "0.25"]
    printed = mim("run", "mmkd_ext", "split_coco", *arguments, cwd=tmp_path, python=wheel_python)
    assert "all_fit.json: 3 images" in printed
    assert json.loads((tmp_path / "all_holdout.json").read_text())["images"]


def test_mim_downloads_a_dataset(wheel_python, tmp_path):
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "openxlab").write_text(OPENXLAB)
    (bin_folder / "openxlab").chmod(0o755)
    archive = tmp_path / "ADEChallengeData2016.zip"
    members = [f"ADEChallengeData2016/{kind}/training/a" for kind in ("images", "annotations")]
    surroundings = dict(PATH=f"{bin_folder}:{os.environ['PATH']}", ARCHIVE=str(archive))

    def download(name, **kwargs):
        line = ("download", "mmkd_ext", "--dataset", name)
        return mim(*line, cwd=tmp_path, python=wheel_python, **surroundings, **kwargs)

    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(members[0], "")
    printed = download("ade20k")  # mim does not ask how a script ended
    assert "error: unpacked 1 archives" in printed
    assert "there is no data/ade/ADEChallengeData2016/annotations" in printed
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(members[1], "")
    assert "data/ade is ready" in download("ade20k")
    assert all((tmp_path / "data" / "ade" / member).is_file() for member in members)
    printed = download("no_such_data", code=1)
    assert "Cannot find no_such_data" in printed
    assert "ade20k" in printed
    assert "cityscapes" in printed


def test_mim_train_by_bare_name(wheel_python, tmp_path):
    printed = mim(
        "train", "mmkd_ext", "cls_digits_baseline.py", "--work-dir", tmp_path / "work",
        "--cfg-options", *SHORT, cwd=tmp_path, python=wheel_python,
    )  # fmt: skip
    assert "Training finished successfully" in printed
    assert str(ROOT / "tools") not in printed
    assert str(ROOT / "configs") not in printed
    assert (tmp_path / "work" / "epoch_1.pth").is_file()


def test_package_bases_in_a_users_script(wheel_python, tmp_path):
    config = tmp_path / "mine.py"
    config.write_text("_base_ = 'mmkd_ext::demo/cls_digits_baseline.py'\n")
    code = (
        "import mmkd_ext, sys; from mmengine.config import Config; "
        f"print(Config.fromfile({str(config)!r}).model.type, mmkd_ext.__file__)"
    )
    printed = run(wheel_python, "-c", code, cwd=tmp_path).splitlines()[-1].split()
    assert printed[0] == "ImageClassifier"
    assert printed[1].startswith(str(wheel_python).partition("/bin/")[0])
