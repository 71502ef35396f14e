"""Run jobs one after another here, or several at a time in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from mmkd_ext.apis.errors import UserError, explain

Results = dict[str, Any]  # job name -> what it returned
PROGRESS, DONE, FAILED = "progress", "done", "failed"


@dataclass(frozen=True)
class Job:
    """A call that may wait for the results of others.

    Attributes:
        name: Unique.
        call: A module-level function.
        arguments: Gives its keyword arguments from the results so far.
        after: Names of the jobs that it waits for.
        reports: Whether it takes ``on_epoch``, a function to tell how far it is.
    """

    name: str
    call: Callable[..., Any]
    arguments: Callable[[Results], dict[str, Any]]
    after: tuple[str, ...] = ()
    reports: bool = False


class Observer(Protocol):
    """What hears of the jobs, in this process."""

    def began(self, job: Job) -> None:
        """A job begins."""

    def progress(self, job: Job, *values: Any) -> None:
        """It said this."""

    def done(self, job: Job, result: Any, results: Results) -> None:
        """It ended; ``results`` are all so far."""


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(
    jobs: Sequence[Job],
    at_once: int,
    observer: Observer,
    prepare: Callable[[], Any] | None = None,
) -> None:
    """Run all jobs, the first ones first where nothing keeps them waiting.

    Args:
        jobs: With each one's ``after`` before it.
        at_once: 1 runs them in this process; more in so many processes, which stay from job to job.
        observer: Hears of it.
        prepare: A module-level function that each of these processes calls first.

    Raises:
        UserError: A job in another process failed for a reason that the user can mend, or its
            process died.
        RuntimeError: A job in another process failed otherwise; the message holds its traceback.
    """
    if at_once > 1:
        _Pool(at_once, observer, prepare).run(list(jobs))
        return
    results: Results = {}
    for job in jobs:
        observer.began(job)
        report = {"on_epoch": lambda *values, job=job: observer.progress(job, *values)}
        results[job.name] = job.call(**job.arguments(results), **(report if job.reports else {}))
        observer.done(job, results[job.name], results)


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    job: Job | None = None


@dataclass
class _Pool:
    at_once: int
    observer: Observer
    prepare: Callable[[], Any] | None
    results: Results = field(default_factory=dict)
    workers: list[_Worker] = field(default_factory=list)

    def run(self, pending: list[Job]) -> None:
        try:
            while pending or self._busy():
                self._start(pending)
                for connection in wait([worker.connection for worker in self._busy()]):
                    self._hear(next(w for w in self.workers if w.connection is connection))
        finally:
            for worker in self.workers:
                if worker.job is not None:
                    worker.process.terminate()
                worker.connection.close()  # which ends an idle one
            for worker in self.workers:
                worker.process.join()

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self.workers if worker.job is not None]

    def _start(self, pending: list[Job]) -> None:
        """Give jobs that nothing keeps waiting to whoever is idle."""
        while len(self._busy()) < self.at_once:
            ready = (job for job in pending if all(name in self.results for name in job.after))
            job = next(ready, None)
            if job is None:
                return
            pending.remove(job)
            worker = next((w for w in self.workers if w.job is None), None) or self._hire()
            worker.job = job
            worker.connection.send((job.call, job.arguments(self.results), job.reports))
            self.observer.began(job)

    def _hire(self) -> _Worker:
        # Spawned, not forked: torch's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.prepare))
        process.start()
        theirs.close()  # else the end of the process would not end the connection
        self.workers.append(_Worker(process, ours))
        return self.workers[-1]

    def _hear(self, worker: _Worker) -> None:
        job = worker.job
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join()
            raise UserError(
                f"{job.name}: its process ended with code {worker.process.exitcode}. If the system "
                "killed it for want of memory, run fewer at a time (--jobs)."
            ) from None
        if kind == PROGRESS:
            self.observer.progress(job, *content)
            return
        worker.job = None
        if kind == FAILED:
            message, trace = content
            if message is None:
                raise RuntimeError(f"{job.name} failed:\n{trace}")
            raise UserError(f"{job.name}: {message}")
        self.results[job.name] = content
        self.observer.done(job, content, self.results)


def _work(connection: Connection, prepare: Callable[[], Any] | None) -> None:
    """Do what comes through the connection until it is closed; in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, too, and ends us
    if prepare is not None:
        prepare()
    while True:
        try:
            call, arguments, reports = connection.recv()
        except (EOFError, OSError):
            return
        if reports:
            arguments["on_epoch"] = lambda *values: connection.send((PROGRESS, values))
        try:
            answer = (DONE, call(**arguments))
        except Exception as error:
            answer = (FAILED, (explain(error), traceback.format_exc()))
        connection.send(answer)
