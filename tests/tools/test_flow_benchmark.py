"""``flow-benchmark``: the real command on small networks."""

from __future__ import annotations

import json
import os
import re
import sys

import cv2
import pytest
import torch

from mmkd_ext.apis.flow_benchmark import main
from mmkd_ext.apis.flow_benchmark_report import Row, plot
from mmkd_ext.flow.benchmark import Bench, available_bytes, ratios
from mmkd_ext.registry import MODELS
from tests.flow import tiny_raft
from tests.packaging.commands import ROOT, run
from tests.vos import tiny as tiny_vos

CPU = ("--device", "cpu", "--threads", "1")


@pytest.fixture(scope="module")
def network():
    return MODELS.build(tiny_raft.config())


def write_config(path, model):
    path.write_text(f"default_scope = 'mmkd_ext'\nmodel = {model!r}\n")
    return str(path)


@pytest.mark.slow
def test_sizes_and_one_that_does_not_fit(tmp_path):
    tool = ROOT / "tools" / "flow_benchmark.py"
    options = ("--size", "small", "--methods", "all_pairs", "--iters", "2", "--repeats", "2", *CPU)
    sizes = ("--sizes", "250x320", "20000x20000", "--out-dir", "out")
    printed = run(sys.executable, tool, *options, *sizes, cwd=tmp_path)
    content = json.loads((tmp_path / "out" / "correlation.json").read_text())
    assert content["setting"]["network"] == "RAFT small"
    assert "RAFT small, 2 iterations, median of 2, float32 on cpu; " in printed
    assert ", 1 used, " in content["setting"]["hardware"]
    done, huge = (Row(**row) for row in content["rows"])
    # Maps of 32 x 40, as 250 rows are padded to 256, and three more levels, in float32.
    volume = 4 * 32 * 40 * (32 * 40 + 16 * 20 + 8 * 10 + 4 * 5) / 2**20
    assert (done.work, done.method, done.size) == ("prediction", "all_pairs", "250x320")
    assert done.volume_mib == pytest.approx(volume)
    assert done.peak_mib - done.idle_mib > volume  # it was there, whatever else was
    assert done.idle_mib > 50  # PyTorch itself
    assert len(done.seconds) == 2
    assert min(done.seconds) > 0
    assert not done.skipped
    (row,) = re.findall(r"│ prediction +│ 250x320 +│ all_pairs +(.*)│", printed)
    numbers = [float(text) for text in row.strip("│ ").split("│")]
    fastest, slowest = sorted(done.seconds)
    expected = [volume, done.peak_mib, done.peak_mib - done.idle_mib]
    expected += [(fastest + slowest) / 2, fastest, slowest]
    for number, value, digit in zip(numbers, expected, (1, 0, 1, 3, 3, 3), strict=True):
        assert number == pytest.approx(value, abs=0.51 * 10**-digit)
    assert huge.seconds == []
    assert re.match(r"the volume of all pairs needs 193260\.4 GiB at least", huge.skipped)
    assert f"skipped prediction 20000x20000 all_pairs: {huge.skipped}" in printed
    assert cv2.imread(str(tmp_path / "out" / "correlation.png")).shape[1] > 1000


@pytest.mark.slow
def test_what_a_learnable_cost_volume_adds(tmp_path, capsys):
    config = write_config(tmp_path / "tiny.py", tiny_raft.config())
    options = ("--lcv", "--sizes", "32x48", "--iters", "2", "--repeats", "3", *CPU)
    main([config, *options, "--out-dir", str(tmp_path / "out")])
    (row,) = json.loads((tmp_path / "out" / "lcv.json").read_text())["rows"]
    assert (row["height"], row["width"], row["skipped"]) == (32, 48, "")
    plain, learnable = row["seconds"]["inner_product"], row["seconds"]["learnable"]
    assert len(plain) == len(learnable) == 3
    assert row["ratio"] == pytest.approx(sorted(learnable)[1] / sorted(plain)[1])
    printed = capsys.readouterr().out
    assert f"│ 32x48 │ inner_product │ {sorted(plain)[1]:7.3f} │" in printed
    shown = [row[key] for key in ("ratio", "lowest", "highest")]
    assert re.search(r"learnable .*│ +" + r" +│ +".join(f"{one:.3f}" for one in shown), printed)


def test_ratio_of_the_medians_and_of_single_steps():
    seconds = dict(inner_product=[2.0, 4.0, 5.0], learnable=[3.0, 3.0, 6.0])
    assert ratios(seconds) == dict(ratio=0.75, lowest=0.75, highest=1.5)


def test_work_is_what_it_says(network):
    bench, size = Bench(network, network.data_preprocessor, iters=2), (30, 48)
    found = []
    handle = network.predictions.register_forward_hook(lambda *args: found.append(args[2]))
    before = network.feature_encoder.conv.weight.clone()
    for method in ("all_pairs", "on_demand"):
        network.correlation.method = method
        cost = bench.measure(bench.prediction, size, repeats=2)
        assert len(cost.seconds) == 2
        assert cost.peak_mib >= cost.idle_mib > 0
        assert not network.training
    # The first of three is the warm-up. Only the last flow is upsampled.
    assert [flows[-1].shape[2:] for flows in found] == 2 * [(64, 64), (32, 48), (32, 48)]
    assert {len(flows) for flows in found} == {1}
    assert torch.equal(network.feature_encoder.conv.weight, before)
    found.clear()
    bench.measure(bench.training_step, size, repeats=1)
    assert network.training
    assert [len(flows) for flows in found] == [2, 2]
    assert not torch.equal(network.feature_encoder.conv.weight, before)
    handle.remove()


def test_networks_with_and_without_lcv_leave_the_given_one_alone(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    seconds = Bench(network, network.data_preprocessor, 1).with_and_without_lcv((32, 32), 1)
    assert list(seconds) == ["inner_product", "learnable"]
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_memory_that_is_free():
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < available_bytes(torch.device("cpu")) <= whole


def test_plot_where_all_is_skipped():
    row = Row("training step", "all_pairs", 1080, 1920, 5339.0, skipped="too large")
    assert plot([row], "title").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sizes", "0x8"), "'0x8' is no size; give height x width as 436x1024"),
        (("--sizes", "64"), "'64' is no size"),
        (("--iters", "0"), "--iters takes a number above 0"),
        (("--lcv", "--train"), "leave out --methods and --train"),
        (("any.py", "--size", "small"), "give a config or --size, not both"),
        (("--device", "gpu"), "--device gpu: give cpu, cuda or"),
        (("--device", "cuda:99"), "--device cuda:99: PyTorch sees "),
        (("missing.py",), "missing.py"),
        (("vos.py", "--device", "cpu"), "SWEM is no network of optical flow"),
    ],
)
def test_one_clear_error(options, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path / "vos.py", tiny_vos.config())
    with pytest.raises(SystemExit) as stopped:
        main([*options, "--out-dir", "out"])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
