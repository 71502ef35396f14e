"""What the dense forms share: the same bytes every time, whole or absent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mmengine.config import Config

from mmkd_ext import demo_data
from mmkd_ext.demo_data import folder, forms, scenes

from .test_cls_digits import hashes

BASES = Path(__file__).parents[2] / "configs" / "_base_" / "datasets"


@pytest.mark.parametrize("form", ["det_digits", "seg_digits"])
def test_a_killed_build_passes_for_nothing_and_the_next_makes_the_same_bytes(
    form, tmp_path, monkeypatch
):
    whole = Path(demo_data.ensure(form))
    fewer = {"train": 60, "val": 5, "test": 5}  # scenes do not depend on how many there are
    root = tmp_path / "root"
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from mmkd_ext import demo_data; from mmkd_ext.demo_data import scenes\n"
            f"scenes.IMAGES.update({fewer}); demo_data.ensure({form!r})",
        ],
        env={**os.environ, "MMKD_DEMO_ROOT": str(root), "PYTHONHASHSEED": "7"},
        stderr=subprocess.DEVNULL,
    )
    while len(drawn := list(root.rglob("*.png"))) < 30:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (root / form).exists()
    [draft] = [entry for entry in root.iterdir() if ".tmp-" in entry.name]
    finished = sorted(drawn)[:10]  # not the last ones, which may be half written
    for file in finished:
        assert file.read_bytes() == (whole / file.relative_to(draft)).read_bytes()

    monkeypatch.setenv("MMKD_DEMO_ROOT", str(root))
    for split, size in fewer.items():
        monkeypatch.setitem(scenes.IMAGES, split, size)
    remade = Path(demo_data.ensure(form))
    assert remade == root / form
    monkeypatch.setenv("MMKD_DEMO_ROOT", str(tmp_path / "other"))
    again = Path(demo_data.ensure(form))
    assert hashes(again) == hashes(remade)
    pictures = list(remade.rglob("*.png"))
    assert len(pictures) == 70 * (1 if form == "det_digits" else 2)
    for file in pictures:
        assert file.read_bytes() == (whole / file.relative_to(remade)).read_bytes()
    next(remade.rglob("0042.png")).unlink()
    assert not folder._is_complete(remade, forms.FORMS[form].version)  # so it would be made again


@pytest.mark.parametrize("name", ["det_digits", "insseg_digits", "seg_digits"])
def test_the_config_is_plain_text_once_read(name, tmp_path, monkeypatch):
    cfg = Config.fromfile(BASES / f"{name}.py")
    assert "module" not in cfg.pretty_text
    assert "default_scope" not in cfg
    cfg.dump(tmp_path / "dumped.py")
    monkeypatch.setenv("MMKD_DEMO_ROOT", str(tmp_path / "unused"))
    assert Config.fromfile(tmp_path / "dumped.py").to_dict() == cfg.to_dict()
    assert not (tmp_path / "unused").exists()
