"""The requirement files agree with each other and with what is installed."""

import re
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging.commands import ROOT

FOLDER = ROOT / "requirements"


def requirements(name: str) -> list[Requirement]:
    lines = (FOLDER / f"{name}.txt").read_text().splitlines()
    return [Requirement(line) for raw in lines if (line := raw.partition("#")[0].strip())]


def pins() -> dict[str, Requirement]:
    return {canonicalize_name(line.name): line for line in requirements("constraints")}


@pytest.mark.parametrize("name", ["runtime", "onedl", "optional", "tests", "docs"])
def test_pins_satisfy_the_requirements(name):
    for line in requirements(name):
        pin = pins()[canonicalize_name(line.name)]
        (specifier,) = pin.specifier
        assert specifier.operator == "=="
        assert line.specifier.contains(specifier.version), (line, pin)


def test_the_environment_is_the_tested_one():
    for name, pin in pins().items():
        if pin.marker is None or pin.marker.evaluate():
            try:
                found = metadata.version(name).partition("+")[0]
            except metadata.PackageNotFoundError:
                continue  # a dependency on other platforms only
            assert pin.specifier.contains(found, prereleases=True), (name, found)


def test_nothing_makes_pip_build_mmcv_in_isolation():
    for path in FOLDER.glob("*.txt"):
        if path.stem != "constraints":
            names = {canonicalize_name(line.name) for line in requirements(path.stem)}
            assert not names & {"mmcv", "onedl-mmcv", "mmcv-lite"}, path


def test_no_index_is_named():
    files = [*FOLDER.glob("*.txt"), ROOT / "Makefile", ROOT / "setup.py", ROOT / "pyproject.toml"]
    files += (ROOT / "tools" / "environment").glob("*.py")
    for path in files:
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links", path.read_text()), path
