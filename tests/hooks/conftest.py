from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("resume_run.py")


class Runs:
    """Real training processes and what they left."""

    def __init__(self, folder: Path, driver: subprocess.Popen):
        self.folder = folder
        self.driver = driver
        self.count = 0

    def __call__(self, specs: dict[str, dict]) -> dict[str, list[int]]:
        """Carry out named runs in order; returns the exit codes of each one's processes."""
        self.count += 1
        listing = self.folder / f"specs_{self.count}.json"
        complete = []
        for name, spec in specs.items():
            work_dir = str(self.folder / spec.get("work_dir", name))
            out = str(self.folder / f"{name}.result")
            complete.append({**spec, "work_dir": work_dir, "out": out})
        listing.write_text(json.dumps(complete))
        self.driver.stdin.write(f"{listing}\n")
        self.driver.stdin.flush()
        answer = self.driver.stdout.readline()
        assert answer, "the driver of the test runs has died"
        return dict(zip(specs, json.loads(answer), strict=True))

    def result(self, name: str) -> dict:
        return torch.load(self.folder / f"{name}.result", weights_only=False)

    def differences(self, one: str, other: str) -> list[str]:
        """Names of all entries that differ in any bit between two runs' results."""
        return _differences(self.result(one), self.result(other), "")

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.result.log").read_text()


def _differences(one, other, name):
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{name}: {one.keys() ^ other.keys()}"]
        return [
            found for key in one for found in _differences(one[key], other[key], f"{name}.{key}")
        ]
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return [f"{name}: length"]
        pairs = enumerate(zip(one, other, strict=True))
        return [found for i, (a, b) in pairs for found in _differences(a, b, f"{name}.{i}")]
    same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    return [] if same else [name]


@pytest.fixture(scope="session")
def driver():
    """A process that starts training runs; see resume_run.py."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.stdin.close()
    process.wait(timeout=60)


@pytest.fixture
def runs(tmp_path, driver):
    return Runs(tmp_path, driver)
