"""What importing the package costs, and what it offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mmkd_ext.vos
from mmkd_ext.registry import MODELS


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


@pytest.mark.parametrize(
    "name",
    ["SWEM", "SWEMMemory", "FrameMemory", "ResNetTrunk", "BootstrappedCELoss", "SoftIoULoss"],
)
def test_the_registry_finds_it(name):
    assert MODELS.get(f"mmkd_ext.{name}").__name__ == name
