"""What the processes of test_demo_jobs.py are asked to do; imports nothing heavy."""

import os
import signal
import time
from pathlib import Path

from mmkd_ext.apis.errors import UserError


class Diary:
    def __init__(self):
        self.lines, self.results = [], {}

    def began(self, job):
        self.lines.append(("began", job.name))

    def progress(self, job, *values):
        self.lines.append((job.name, *values))

    def done(self, job, result, results):
        assert results[job.name] == result
        self.results = dict(results)
        self.lines.append(("done", job.name))


def prepare():
    os.environ["PREPARED"] = "yes"


def meet(folder, mine, other):
    """Ends only while the other one runs as well."""
    folder = Path(folder)
    (folder / mine).touch()
    end = time.monotonic() + 30
    while not (folder / other).exists():
        if time.monotonic() > end:
            raise RuntimeError(f"{other} never ran")
        time.sleep(0.01)
    return os.getpid(), os.environ.get("PREPARED")


def count(upto, on_epoch):
    for done in range(1, upto + 1):
        on_epoch(done, upto, 0.5 * done)
    return os.getpid()


def add(first, second):
    return first + second


def be_told():
    raise UserError("mend this")


def have_a_bug():
    return {}["nothing"]


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(300)
