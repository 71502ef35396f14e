"""``python -m mmkd_ext`` and the doctor."""

import sys

import pytest

from tests.packaging.commands import run


def mmkd(*arguments, cwd, code=0, **variables):
    return run(sys.executable, "-m", "mmkd_ext", *arguments, cwd=cwd, code=code, **variables)


def test_help_and_unknown_command(tmp_path):
    printed = mmkd("-h", cwd=tmp_path)
    for command in ("demo", "train", "test", "export", "doctor"):
        assert f"\n  {command} " in printed
    printed = mmkd("trian", cwd=tmp_path, code=2)
    assert printed == (
        "error: no command 'trian'. Did you mean 'train'? "
        "There is demo, train, test, export, doctor.\n"
    )


@pytest.mark.parametrize("command", ["demo", "train", "test", "export", "doctor"])
def test_every_command_has_help(command, tmp_path):
    assert "usage:" in mmkd(command, "-h", cwd=tmp_path)


def test_doctor_finds_this_environment_well(tmp_path):
    printed = mmkd("doctor", cwd=tmp_path)
    assert "ERROR" not in printed
    for word in ("Python", "OpenMMLab stack", "mmcv ops", "PyTorch", "mmkd_ext:: configs"):
        assert word in printed


def test_doctor_warns_of_trusted_checkpoints(tmp_path):
    printed = mmkd("doctor", cwd=tmp_path, MMKD_TRUST_CHECKPOINTS="1")
    assert "MMKD_TRUST_CHECKPOINTS is set" in printed
