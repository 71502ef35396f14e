"""``python -m mmkd_ext``: its commands and their help."""

import sys

import pytest

from tests.packaging.commands import run


def mmkd(*arguments, cwd, code=0, **variables):
    return run(sys.executable, "-m", "mmkd_ext", *arguments, cwd=cwd, code=code, **variables)


def test_help_and_unknown_command(tmp_path):
    printed = mmkd("-h", cwd=tmp_path)
    for command in (
        "demo",
        "train",
        "test",
        "taps",
        "compare",
        "export",
        "vos-infer",
        "vos-benchmark",
        "flow-infer",
        "flow-benchmark",
        "flownas-export",
        "flownas-rank",
        "doctor",
    ):
        assert f"\n  {command} " in printed
    printed = mmkd("trian", cwd=tmp_path, code=2)
    assert printed == (
        "error: no command 'trian'. Did you mean 'train'? "
        "There is demo, train, test, taps, compare, export, vos-infer, vos-benchmark, "
        "flow-infer, flow-benchmark, flownas-export, flownas-rank, doctor.\n"
    )


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "train",
        "test",
        "taps",
        "compare",
        "export",
        "vos-infer",
        "vos-benchmark",
        "flow-infer",
        "flow-benchmark",
        "flownas-export",
        "flownas-rank",
        "doctor",
    ],
)
def test_every_command_has_help(command, tmp_path):
    assert f"usage: python -m mmkd_ext {command} [-h]" in mmkd(command, "-h", cwd=tmp_path)
