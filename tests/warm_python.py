"""Real Python processes that need not import torch and OpenMMLab anew.

A server has imported the libraries, though nothing of ours, and forks for each command. The forked
process has its own working directory, environment, arguments, output and exit code, as any other;
it only begins four seconds later in its life. Tests of the import itself go through ``subprocess``.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "mmcv.ops", "mmengine.runner", "matplotlib.pyplot")
LIBRARIES += ("mmpretrain.models", "mmdet.models", "mmseg.models")
_starting = threading.Lock()


def run(
    command: Sequence[str | os.PathLike],
    cwd: str | os.PathLike,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
    merge: bool = False,
) -> subprocess.CompletedProcess[str]:
    """As ``subprocess.run(..., capture_output=True, text=True)``.

    Args:
        command: The interpreter of the tests, then a script, ``-m module`` or ``-c code``, and
            arguments.
        cwd: Working directory.
        env: The whole environment; None: this process's.
        timeout: In seconds; a process that takes longer is killed.
        merge: Put stderr into stdout, in order.

    Raises:
        subprocess.TimeoutExpired: It took longer.
    """
    command = [os.fspath(part) for part in command]
    if command[0] != sys.executable:
        raise ValueError(f"only {sys.executable} runs warm, not {command[0]}")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        err = out if merge else Path(folder, "err")
        request = dict(
            command=command[1:],
            cwd=os.fspath(cwd),
            env=dict(os.environ if env is None else env),
            out=str(out),
            err=str(err),
            timeout=timeout,
        )
        with socket.socket(socket.AF_UNIX) as connection:
            with _starting:
                address = _server()
            connection.connect(address)
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer = connection.makefile().readline()
        if not answer:
            raise RuntimeError(f"the warm interpreter died while it ran {command}")
        if (code := json.loads(answer)) is None:
            raise subprocess.TimeoutExpired(command, timeout, out.read_text())
        return subprocess.CompletedProcess(
            command, code, out.read_text(), None if merge else err.read_text()
        )


@functools.cache
def _server() -> str:
    """Start the server, once for this process; the address it listens at."""
    folder = tempfile.TemporaryDirectory()
    address = os.path.join(folder.name, "warm")
    process = subprocess.Popen(
        [sys.executable, __file__, address],
        env=os.environ | dict(OMP_NUM_THREADS="1"),  # the size of OpenMP's pool is fixed at import
        stdin=subprocess.PIPE,  # it ends with us
    )
    atexit.register(folder.cleanup)
    atexit.register(process.kill)
    while not os.path.exists(address):
        if process.poll() is not None:
            raise RuntimeError("the warm interpreter did not start")
        time.sleep(0.05)
    return address


def _serve(address: str) -> None:
    import importlib

    with contextlib.redirect_stdout(sys.stderr):
        for library in LIBRARIES:
            importlib.import_module(library)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address + ".new")
    listener.listen()
    os.rename(address + ".new", address)  # whoever finds it is heard
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _handle(connection)
            os._exit(0)
        connection.close()


def _handle(connection: socket.socket) -> None:
    """Run one command in a child of its own, and answer with its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request = json.loads(connection.makefile().readline())
    child = os.fork()
    if child == 0:
        connection.close()
        os._exit(_become(request))
    end = time.monotonic() + request["timeout"]
    code = None
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            break
        time.sleep(0.02)
    else:
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
    connection.sendall(json.dumps(code).encode() + b"\n")


def _become(request: dict) -> int:
    """Be the process that was asked for, until it ends; its exit code."""
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, path in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
        os.dup2(os.open(path, os.O_RDONLY if number == 0 else flags, 0o600), number)
    import numpy as np

    np.random.seed()  # every interpreter begins with a state of its own
    sys.argv = list(request["command"])
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    try:
        if sys.argv[0] == "-m":
            module = sys.argv[1]
            sys.argv = sys.argv[1:]
            sys.path[:1] = [os.getcwd(), *paths]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        elif sys.argv[0] == "-c":
            code = sys.argv.pop(1)
            sys.path[:1] = [os.getcwd(), *paths]
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.path[:1] = [os.path.dirname(os.path.abspath(sys.argv[0])), *paths]
            runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as error:
        code = error.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
        code = code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose packages have common names
    _serve(sys.argv[1])
