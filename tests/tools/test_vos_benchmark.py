"""``vos-benchmark``: the real command on a small network."""

from __future__ import annotations

import csv
import re
import sys

import cv2
import pytest

from mmkd_ext.apis.vos_benchmark import main
from tests.packaging.commands import ROOT, run
from tests.vos import tiny

SIZE = ("--size", "32", "48", "--device", "cpu")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("project") / "tiny_swem.py"
    path.write_text(f"default_scope = 'mmkd_ext'\nmodel = {tiny.config()!r}\n")
    return str(path)


def test_sizes_of_the_memory(config, tmp_path):
    options = ("--num-bases", "8", "16", "--iters", "1", "2", "--objects", "1", "3")
    tool = ROOT / "tools" / "vos_benchmark.py"
    command = (sys.executable, tool, config, *SIZE, *options, "--frames", "3", "--repeats", "1")
    printed = run(*command, cwd=tmp_path)
    assert "32 x 48 pixels, memorised every 1, float32 on " in printed
    number = r"\s+│ (\d+\.\d\d)\s+│ (\d+\.\d\d)\s+│ \d+"
    rows = re.findall(rf"│ (\d+)\s+│ (\d+)\s+│ (\d+){number}", printed)
    assert [row[:3] for row in rows] == [
        (objects, bases, iters) for objects in "13" for bases in ("8", "16") for iters in "12"
    ]
    assert all(float(row[3]) > 0 for row in rows)
    # Two banks, two classes, K bases of 8 + 16 + 1 numbers for each object; two probability maps.
    kept = [float(row[4]) for row in rows]
    assert kept[0] == pytest.approx((1 * 2 * 2 * 8 * 25 + 2 * 32 * 48) * 4 / 1024**2, abs=0.006)
    assert kept[-1] == pytest.approx((3 * 2 * 2 * 16 * 25 + 4 * 32 * 48) * 4 / 1024**2, abs=0.006)


def test_a_long_video(config, tmp_path, capsys):
    out = tmp_path / "out"
    main([config, *SIZE, "--length", "12", "--out-dir", str(out), "--amp"])
    printed = capsys.readouterr().out
    assert "bfloat16 on " in printed
    assert re.search(r"SWEMMemory   frame +11: .* ms, kept +\d+\.\d\d MiB, peak ", printed)
    with (out / "frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    kept = {
        name: [float(row["session_mib"]) for row in rows if row["memory"] == name]
        for name in ("SWEMMemory", "FrameMemory")
    }
    assert len(set(kept["SWEMMemory"][1:])) == 1  # the second bank comes with the second frame
    growth = [b - a for a, b in zip(kept["FrameMemory"], kept["FrameMemory"][1:], strict=False)]
    # Keys and values at stride 16, in float32.
    assert growth == pytest.approx([2 * 3 * (8 + 16) * 4 / 1024**2] * 11)
    assert len(rows) == 24
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert cv2.imread(str(out / "frames.png")).shape[1] > 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--num-bases", "2"), "num_bases below topl lowers it"),
        (("--num-bases", "0"), "--num-bases takes numbers above 0"),
        (("--length", "0"), "--length takes a number above 0"),
        (("--objects", "99"), "99 objects do not fit into 32 x 48 pixels"),
    ],
)
def test_one_clear_error(config, options, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main([config, *SIZE, *options])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
