"""Running real commands for the packaging tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import warm_python

ROOT = Path(__file__).resolve().parents[2]
# Two steps of training on twenty-odd real digits: enough to go through everything once.
SHORT = ["train_cfg.max_epochs=1", "val_dataloader.dataset.indices=20"]
SHORT_TEST = ["test_dataloader.dataset.indices=20"]


def run(
    *command: str | os.PathLike, cwd: Path, code: int = 0, cold: bool = False, **variables: str
) -> str:
    """Run a command, check its exit code, return what it printed (stderr included).

    Our own commands begin with the libraries imported, unless they are to start ``cold``.
    """
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "LOCAL_RANK")}
    environment.update(OMP_NUM_THREADS="1", **variables)
    command = [str(part) for part in command]
    ours = command[1].startswith(str(ROOT / "tools")) or command[1:3] == ["-m", "mmkd_ext"]
    if command[0] == sys.executable and ours and not cold:
        result = warm_python.run(command, cwd, environment, merge=True)
    else:
        result = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
    assert result.returncode == code, result.stdout[-4000:]
    return result.stdout


def mim(*arguments: str | os.PathLike, cwd: Path, python: str = sys.executable, **kwargs) -> str:
    """Run mim of an interpreter's environment."""
    return run(python, "-m", "mim", *arguments, cwd=cwd, **kwargs)
