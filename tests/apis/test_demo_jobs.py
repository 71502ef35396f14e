"""Jobs of the demo: in order here, several at a time elsewhere, and no process left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmkd_ext.apis.demo.jobs import Job, run_jobs
from mmkd_ext.apis.errors import UserError

from . import demo_calls
from .demo_calls import Diary


def chain():
    """Two that count, and one that needs both."""
    return [
        Job("a", demo_calls.count, lambda results: {"upto": 2}, reports=True),
        Job("b", demo_calls.count, lambda results: {"upto": 1}, reports=True),
        Job(
            "sum",
            demo_calls.add,
            lambda results: {"first": results["a"], "second": results["b"]},
            after=("a", "b"),
        ),
    ]


def test_one_at_a_time_runs_here_and_in_order():
    diary = Diary()
    run_jobs(chain(), 1, diary)
    assert diary.lines == [
        ("began", "a"), ("a", 1, 2, 0.5), ("a", 2, 2, 1.0), ("done", "a"),
        ("began", "b"), ("b", 1, 1, 0.5), ("done", "b"), ("began", "sum"), ("done", "sum"),
    ]  # fmt: skip
    assert diary.results == {"a": os.getpid(), "b": os.getpid(), "sum": 2 * os.getpid()}


def test_two_at_a_time_run_together_and_in_processes_that_stay(tmp_path):
    diary = Diary()
    meetings = [
        Job(
            name,
            demo_calls.meet,
            lambda results, names=(name, other): dict(
                folder=str(tmp_path), mine=names[0], other=names[1]
            ),
        )
        for name, other in (("left", "right"), ("right", "left"))
    ]
    # The one that waits comes before one that need not, yet does not hold it up.
    first, second, total = chain()
    run_jobs([*meetings, first, total, second], 2, diary, demo_calls.prepare)
    processes = {diary.results["left"][0], diary.results["right"][0]}
    assert len(processes) == 2
    assert os.getpid() not in processes
    assert {diary.results["left"][1], diary.results["right"][1]} == {"yes"}
    assert {diary.results["a"], diary.results["b"]} <= processes
    assert diary.results["sum"] == diary.results["a"] + diary.results["b"]
    assert [line for line in diary.lines if line[0] == "a"] == [("a", 1, 2, 0.5), ("a", 2, 2, 1.0)]
    assert diary.lines.index(("began", "sum")) > diary.lines.index(("done", "b"))
    assert not any(alive(process) for process in processes)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (demo_calls.be_told, UserError, "^it: mend this$"),
        (
            demo_calls.have_a_bug,
            RuntimeError,
            "(?s)^it failed:.*in have_a_bug.*KeyError: 'nothing'",
        ),
        (demo_calls.die, UserError, "it: its process ended with code -9.*--jobs"),
    ],
)
def test_a_failure_elsewhere_is_told_here(call, error, message):
    with pytest.raises(error, match=message):
        run_jobs([Job("it", call, lambda results: {})], 2, Diary())


def test_an_interrupt_ends_everything_at_once(tmp_path):
    code = f"""
import signal
from tests.apis import demo_calls
from mmkd_ext.apis.demo.jobs import Job, run_jobs
if __name__ == "__main__":
    # What a shell runs in the background begins with the signal ignored, and so do its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    jobs = [Job(n, demo_calls.sleep, lambda results: dict(folder={str(tmp_path)!r})) for n in "ab"]
    run_jobs(jobs, 2, demo_calls.Diary())
"""
    main = tmp_path / "main.py"
    main.write_text(code)
    root = Path(__file__).parents[2]
    # A session of its own: the signal goes to its whole group, as that of a terminal does.
    process = subprocess.Popen(
        [sys.executable, str(main)],
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while len(workers := [p for p in tmp_path.iterdir() if p.name.isdigit()]) < 2:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (1, -signal.SIGINT)
    assert said.count("Traceback") == 1  # of the main process alone
    assert "KeyboardInterrupt" in said
    assert not any(alive(int(path.name)) for path in workers)


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
