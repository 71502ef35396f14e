"""The doctor as users run it, on this environment and on broken ones made of real files."""

import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import mmcv
import pytest

from tests.packaging.commands import ROOT, run


def doctor(cwd: Path, code: int, **variables: str) -> dict:
    """What is found -> (level, found, remedy), from a real process that must exit with ``code``."""
    command = (sys.executable, "-m", "mmkd_ext", "doctor")
    rows: list[list[str]] = []
    for line in run(*command, cwd=cwd, code=code, cold=True, **variables).splitlines():
        if not line.startswith("│"):
            continue
        cells = [cell.strip() for cell in line.split("│")[1:-1]]
        if cells[0]:
            rows.append(cells)
        else:  # a long cell goes on
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
    return {subject: (level, *rest) for level, subject, *rest in rows}


def install(folder: Path, **versions: str) -> None:
    """The metadata of distributions, which is all that the doctor sees of them."""
    for name, version in versions.items():
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(text)


def test_this_environment_is_well(tmp_path):
    rows = doctor(tmp_path, 0)
    assert "ERROR" not in {level for level, *_ in rows.values()}
    assert {"Python", "OpenMMLab stack", "mmcv ops", "PyTorch", "mmkd_ext:: configs"} <= set(rows)


def test_only_mmdet_has_another_name_for_the_forks_mim(tmp_path):
    rows = doctor(tmp_path, 0)
    if "onedl" in rows["OpenMMLab stack"][1]:
        level, found, remedy = rows["names for mim"]
        assert (level, found) == ("note", "mmdet is onedl-mmdetection")
        assert "mim train onedl-mmdetection" in remedy
    else:
        assert "names for mim" not in rows


def test_both_families_at_once(tmp_path):
    install(tmp_path / "site", mmdet="3.3.0", onedl_mmdetection="3.5.1")
    rows = doctor(tmp_path, 1, PYTHONPATH=str(tmp_path / "site"))
    level, found, remedy = rows["OpenMMLab stack"]
    assert level == "ERROR"
    assert "onedl-mmdetection and mmdet" in found
    assert "Uninstall both, then install one." in remedy
    # No advice for a family that may not be the one in force.
    assert [name for name, row in rows.items() if row[0] == "ERROR"] == ["OpenMMLab stack"]


def test_mmcv_without_its_ops(tmp_path):
    """The installed mmcv, but for the compiled file."""
    copy = tmp_path / "site" / "mmcv"
    copy.mkdir(parents=True)
    for entry in Path(mmcv.__file__).parent.iterdir():
        if not entry.name.startswith("_ext."):
            (copy / entry.name).symlink_to(entry)
    level, found, remedy = doctor(tmp_path, 1, PYTHONPATH=str(tmp_path / "site"))["mmcv ops"]
    assert level == "ERROR"
    assert "missing, the wheel was built without them" in found
    assert "MMCV_WITH_OPS=1 pip install --no-build-isolation" in remedy or "mim install" in remedy

    (copy / f"_ext{EXTENSION_SUFFIXES[0]}").write_text("no library for this PyTorch")
    level, found, remedy = doctor(tmp_path, 1, PYTHONPATH=str(tmp_path / "site"))["mmcv ops"]
    assert level == "ERROR"
    assert "missing, built for another PyTorch" in found


@pytest.mark.parametrize(
    ("variables", "level", "found"),
    [
        ({"MMKD_TRUST_CHECKPOINTS": "1"}, "WARNING", "MMKD_TRUST_CHECKPOINTS is set"),
        ({"MMKD_TRUST_CHECKPOINTS": "0"}, "ok", "read as weights only"),
        (
            {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"},
            "ERROR",
            "are both set",
        ),
    ],
)
def test_how_checkpoints_are_read(tmp_path, variables, level, found):
    row = doctor(tmp_path, int(level == "ERROR"), **variables)["checkpoints"]
    assert row[0] == level
    assert found in row[1]
    assert ("Unset" in row[2]) == (level != "ok")


def bare(folder: Path) -> dict[str, str]:
    """What the doctor says where nothing but ``folder`` and this package is installed."""
    command = [sys.executable, "-S", "-m", "mmkd_ext", "doctor"]
    path = os.pathsep.join([str(folder), str(ROOT)])
    result = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert not result.stderr
    return {
        subject: rest
        for line in result.stdout.splitlines()
        for subject, _, rest in [line.removeprefix("ERROR").strip().partition(": ")]
    }


def test_nothing_is_installed(tmp_path):
    rows = bare(tmp_path)
    assert rows["OpenMMLab stack"] == "none installed -> `make env` in the checkout."
    assert rows["PyTorch"].startswith("cannot be imported")


def test_traps_of_the_original_stack(tmp_path):
    install(tmp_path, mmengine="0.10.7", mmcv="2.2.0", mmdet="3.3.0", torch="2.6.0")
    install(tmp_path, setuptools="82.0.0", numpy="2.1.0")
    rows = bare(tmp_path)
    assert "pip install 'torch<2.6'" in rows["resume"]
    assert "pip install 'setuptools<82'" in rows["setuptools"]
    assert "pip install 'numpy<2'" in rows["numpy"]
    assert "mim install 'mmcv==2.1.0'" in rows["mmdet"]
