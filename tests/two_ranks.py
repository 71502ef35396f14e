"""Two real processes that talk over gloo."""

from __future__ import annotations

import os
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import warm_python

ROOT = Path(__file__).resolve().parents[1]


def run_ranks(module: str, *arguments: str | os.PathLike) -> None:
    """Run ``python -m module`` as rank 0 and as rank 1 of a group on this machine.

    Args:
        module: It starts the process group from the environment.
        arguments: Of both.

    Raises:
        AssertionError: One failed; with the errors of both.
        subprocess.TimeoutExpired: One took longer than three minutes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    group = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}

    def process(rank: str):
        environment = {**group, "RANK": rank, "LOCAL_RANK": rank}
        command = [sys.executable, "-m", module, *arguments]
        return warm_python.run(command, ROOT, environment, timeout=180)

    with ThreadPoolExecutor(2) as threads:
        ranks = list(threads.map(process, "01"))
    assert [rank.returncode for rank in ranks] == [0, 0], "\n".join(rank.stderr for rank in ranks)
