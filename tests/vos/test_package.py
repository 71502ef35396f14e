"""What importing the package costs, and what it offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mmkd_ext.vos
from tests import warm_python


def test_importing_costs_nothing():
    code = (
        "import sys, mmkd_ext.vos\n"
        "assert not {'torch', 'mmengine', 'torchvision'} & set(sys.modules)\n"
        "assert set(mmkd_ext.vos.__all__) <= set(dir(mmkd_ext.vos))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_names_come_when_they_are_used():
    assert mmkd_ext.vos.SWEMMemory().num_bases == 128
    assert mmkd_ext.vos.region_similarity.__module__ == "mmkd_ext.vos.metrics.functional"
    assert mmkd_ext.vos.boundary_f_score.__module__ == "mmkd_ext.vos.metrics.functional"


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'SWEMSegmentor'"):
        mmkd_ext.vos.SWEMSegmentor  # noqa: B018


def test_the_registry_finds_them_by_itself(tmp_path):
    """In a process that has imported nothing else of ours."""
    names = [
        "SWEM",
        "SWEMMemory",
        "FrameMemory",
        "ResNetTrunk",
        "BootstrappedCELoss",
        "SoftIoULoss",
    ]
    code = (
        "from mmkd_ext.registry import MODELS\n"
        f"found = [MODELS.get(f'mmkd_ext.{{name}}').__name__ for name in {names}]\n"
        "print(*found)\n"
    )
    done = warm_python.run([sys.executable, "-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == names
