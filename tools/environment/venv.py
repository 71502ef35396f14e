"""The virtual environment: making it, locking it, mending it, and knowing what is in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from environment.process import Commands, SetUpError, say

SUPPORTED = ((3, 10), (3, 11), (3, 12))
STAMP = "mmkd_ext_setup.json"
LOG = "mmkd_ext_setup.log"


class Stamp:
    """What is known to be finished, kept inside the environment and written atomically."""

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, STAMP)
        self.data: dict[str, Any] = {"venv": "", "running": None, "steps": {}}
        with contextlib.suppress(OSError, ValueError), open(self.path, encoding="utf-8") as file:
            self.data.update(json.load(file))

    @property
    def exists(self) -> bool:
        """Whether this environment is ours."""
        return os.path.exists(self.path)

    def write(self, **changes: Any) -> None:
        """Change fields and save."""
        self.data.update(changes)
        partial = self.path + ".partial"
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(self.data, file, indent=1)
        os.replace(partial, self.path)

    def finish(self, step: str, key: str) -> None:
        """A step succeeded."""
        self.data["steps"][step] = key
        self.write(running=None)


class Venv:
    """One virtual environment.

    Args:
        path: Its folder; need not exist.
        base_python: The interpreter to make it with; the running one by default.
    """

    def __init__(self, path: str, base_python: str | None = None) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        # When this runs inside some environment, the interpreter which that was made from.
        own = getattr(sys, "_base_executable", None) or sys.executable
        self.base_python = base_python or own
        self.python = os.path.join(self.path, "bin", "python")
        self.stamp = Stamp(self.path)
        self.commands = Commands(os.path.join(self.path, LOG), self.path)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second set-up of the same environment out.

        The lock is the kernel's: a killed set-up leaves none behind.
        """
        folder, name = os.path.split(self.path)
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, f".{name.lstrip('.')}.setup.lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                say(f"Another set-up of {self.path} is running: waiting for it to end.")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            self.commands.lock_fd = descriptor
            self.stamp = Stamp(self.path)  # the other one may have finished it
            yield
        finally:
            self.commands.lock_fd = None
            os.close(descriptor)

    def prepare(self, asked_python: str = "") -> None:
        """Create the environment, or mend one whose Python is gone or that was moved.

        Args:
            asked_python: The interpreter that the user named, if any.

        Raises:
            SetUpError: It cannot be used; the message says why.
        """
        if self.stamp.data["running"] == "venv":  # pip itself may be half there
            for name in ("bin", "lib"):
                shutil.rmtree(os.path.join(self.path, name), ignore_errors=True)
        version = version_of(self.python)
        if version is None:
            self._check_base_python()
        else:
            self._check_version(version, asked_python)
        ours = self.stamp.exists
        moved = ours and self.stamp.data["venv"] not in ("", self.path)
        if version and not moved and self._has_pip():
            if not ours:
                say(f"{self.path} was not made by this set-up: completing it.")
                self.stamp.write(venv=self.path)
            return
        is_venv = os.path.exists(os.path.join(self.path, "pyvenv.cfg"))
        if not (is_venv or ours) and os.path.isdir(self.path) and os.listdir(self.path):
            raise SetUpError(
                f"{self.path} exists and is no virtual environment. Remove it, or name another "
                "folder: make env VENV=..."
            )
        if moved:
            say(f"The environment was moved here from {self.stamp.data['venv']}: mending it.")
            self._mend_shebangs(self.stamp.data["venv"])
        elif version is None and is_venv:
            say(f"The Python of {self.path} is gone: making it anew with {self.base_python}.")
        else:
            say(f"Creating the virtual environment {self.path} with {self.base_python}.")
        self._create()

    def site_packages(self) -> list[str]:
        """Its site-packages folders: one, or several after a change of Python."""
        lib = os.path.join(self.path, "lib")
        names = os.listdir(lib) if os.path.isdir(lib) else []
        folders = [os.path.join(lib, name, "site-packages") for name in sorted(names)]
        return [folder for folder in folders if os.path.isdir(folder)]

    def drop_half_installed(self) -> None:
        """Remove the metadata of packages whose installation was cut short.

        pip writes INSTALLER after the files and RECORD last; without them it would still take
        the package for installed. ``~name`` are packages that it was about to replace.
        """
        for path in self._entries():
            name = os.path.basename(path)
            half = name.endswith(".dist-info") and not all(
                os.path.exists(os.path.join(path, part)) for part in ("INSTALLER", "RECORD")
            )
            if half or name.startswith("~"):
                say(f"      dropping the half-installed {name}")
                shutil.rmtree(path, ignore_errors=True)

    def forget(self, dist: str) -> None:
        """Make pip install a package again whose files are gone but whose metadata stayed."""
        prefix = re.sub(r"[-_.]+", "_", dist).lower() + "-"
        for path in self._entries():
            name = os.path.basename(path).lower()
            if name.startswith(prefix) and name.endswith(".dist-info"):
                shutil.rmtree(path, ignore_errors=True)

    def has(self, dist: str, version: str) -> bool:
        """Whether a distribution is installed at this version."""
        name = f"{dist.replace('-', '_')}-{version}.dist-info"
        return any(os.path.basename(path).lower() == name for path in self._entries())

    def _entries(self) -> list[str]:
        sites = self.site_packages()
        paths = [os.path.join(site, name) for site in sites for name in os.listdir(site)]
        return [path for path in paths if os.path.isdir(path)]

    def _check_base_python(self) -> None:
        version = version_of(self.base_python)
        if version is None:
            raise SetUpError(
                f"{self.base_python} does not run. Name a Python: make env PYTHON=python3.11"
            )
        if version[:2] not in SUPPORTED:
            raise SetUpError(
                f"{self.base_python} is Python {version[0]}.{version[1]}; mmkd_ext needs "
                f"{_supported()}. Name one of them: make env PYTHON=python3.11"
            )

    def _check_version(self, version: tuple[int, ...], asked_python: str) -> None:
        if version[:2] not in SUPPORTED:
            raise SetUpError(
                f"{self.path} has Python {version[0]}.{version[1]}; mmkd_ext needs {_supported()}. "
                "Remove the folder, or name another one: make env VENV=..."
            )
        if not asked_python:
            return
        asked = version_of(asked_python)
        if asked is None or asked[:2] != version[:2]:
            raise SetUpError(
                f"{self.path} was made with Python {version[0]}.{version[1]}, not with the "
                f"PYTHON={asked_python} asked for. Remove the folder, or name another: VENV=..."
            )

    def _create(self) -> None:
        os.makedirs(self.path, exist_ok=True)
        self.stamp.write(venv=self.path, running="venv")
        self._drop_dead_links()
        try:
            self.commands.call([self.base_python, "-m", "venv", self.path], "creating it")
        except SetUpError as error:
            raise SetUpError(
                f"{error}\nOn Debian and Ubuntu `python3 -m venv` needs the package python3-venv."
            ) from None
        if version_of(self.python) is None:
            raise SetUpError(f"{self.python} does not run. Remove {self.path} and try again.")
        self.stamp.write(running=None)

    def _has_pip(self) -> bool:
        """Without pip, its creation was cut short."""
        main = os.path.join("pip", "__main__.py")
        return any(os.path.exists(os.path.join(site, main)) for site in self.site_packages())

    def _drop_dead_links(self) -> None:
        """Remove links to a vanished Python: ``python -m venv`` leaves existing links alone."""
        folder = os.path.join(self.path, "bin")
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            path = os.path.join(folder, name)
            if os.path.islink(path) and not os.path.exists(path):
                os.unlink(path)

    def _mend_shebangs(self, old: str) -> None:
        """Point the scripts in bin/ at the environment's new place."""
        folder = os.path.join(self.path, "bin")
        was, now = os.path.join(old, "bin").encode(), folder.encode()
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                head, _, body = file.read().partition(b"\n")
            if head.startswith(b"#!" + was):
                with open(path, "wb") as file:
                    file.write(head.replace(was, now) + b"\n" + body)


def version_of(python: str) -> tuple[int, ...] | None:
    """(major, minor, micro) of an interpreter, or None when it does not run."""
    code = "import sys; print(*sys.version_info[:3])"
    try:
        result = subprocess.run([python, "-c", code], capture_output=True, timeout=60)
        return tuple(map(int, result.stdout.split())) if result.returncode == 0 else None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _supported() -> str:
    return ", ".join(f"{major}.{minor}" for major, minor in SUPPORTED)
