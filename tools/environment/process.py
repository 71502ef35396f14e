"""Running the commands of the set-up: output into a log, a sign of life now and then."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

HEARTBEAT = 30  # seconds between two signs of life
TAIL = 15  # lines of the log shown when a command fails
_COUNTER = re.compile(r"\[(\d+)/(\d+)\]")  # ninja's


class SetUpError(Exception):
    """The set-up cannot go on; the message says why and what to do."""


class Commands:
    """Runs commands for one environment.

    Args:
        log: The file that takes their output.
        cwd: Their working folder.
    """

    def __init__(self, log: str, cwd: str) -> None:
        self.log = log
        self.cwd = cwd
        # Children inherit the lock, so a pip that outlives a killed set-up still holds it.
        self.lock_fd: int | None = None

    def call(
        self,
        command: Sequence[str],
        what: str,
        extra: Mapping[str, str] | None = None,
        progress: bool = False,
    ) -> None:
        """Run a command to its end.

        Args:
            command: Program and arguments.
            what: For messages.
            extra: Environment variables to set.
            progress: Whether ninja's counter stands in the output.

        Raises:
            SetUpError: It failed; the message shows the last lines of its output.
        """
        start = beat = time.time()
        with open(self.log, "ab") as log:
            log.write(f"\n### {time.strftime('%F %T')} {' '.join(command)}\n".encode())
            log.flush()
            begin = log.tell()
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=clean_environment(extra),
                cwd=self.cwd,
                start_new_session=True,
                pass_fds=[] if self.lock_fd is None else [self.lock_fd],
            )
            try:
                while process.poll() is None:
                    time.sleep(0.05 if time.time() - start < 2 else 0.5)
                    if time.time() - beat >= HEARTBEAT:
                        beat = time.time()
                        say(f"      {elapsed(start)}: {self._sign_of_life(begin, progress)}")
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                process.wait()
                raise
        if process.returncode != 0:
            tail = "\n".join("    " + line for line in self._lines(begin)[-TAIL:])
            raise SetUpError(
                f"{what}: the command failed (exit {process.returncode}). Its last lines:\n{tail}\n"
                f"The whole log is {self.log}. Once mended, the same command goes on from here."
            )

    def _lines(self, begin: int) -> list[str]:
        with open(self.log, "rb") as file:
            file.seek(begin)
            text = file.read().decode("utf-8", "replace").replace("\r", "\n")
        return [line.rstrip() for line in text.splitlines() if line.strip()]

    def _sign_of_life(self, begin: int, progress: bool) -> str:
        lines = self._lines(begin)
        if progress:
            counters = [found for found in map(_COUNTER.search, lines) if found]
            if counters:
                return "{} of {} files compiled".format(*counters[-1].groups())
        return lines[-1].strip()[:100] if lines else "working"


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The user's environment without what leads pip or Python away from the venv."""
    away = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT")
    kept = {name: value for name, value in os.environ.items() if name not in away}
    kept.update(PYTHONNOUSERSITE="1", PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_NO_INPUT="1")
    kept.update(extra or {})
    return kept


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def elapsed(start: float) -> str:
    """Minutes and seconds since a time."""
    seconds = int(time.time() - start)
    return f"{seconds // 60} min {seconds % 60:02d} s" if seconds >= 60 else f"{seconds} s"
