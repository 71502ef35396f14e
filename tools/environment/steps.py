"""The steps of the set-up, and when each must be done."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable

from environment.process import SetUpError, clean_environment, elapsed, say
from environment.venv import Venv, version_of

NEEDED_BYTES = 9 * 2**30  # PyTorch with its CUDA libraries alone takes 6 GiB

BUILD_TOOLS = ["setuptools>=80,<82", "wheel", "ninja", "psutil", "packaging"]
TORCH = ["torch==2.11.0", "torchvision==0.26.0"]
# Named here and in constraints.txt only: from a requirement file pip would build it in isolation,
# where it sees no torch and leaves the ops out without an error.
MMCV = "onedl-mmcv"
MMCV_FILES = 78
REQUIREMENTS = ["onedl.txt", "optional.txt", "tests.txt"]

# What must be there, distribution -> module: looked up at every start, nothing is imported.
HEALTH_MODULES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "onedl-mmengine": "mmengine",
    "onedl-mmcv": "mmcv",
    "onedl-mmpretrain": "mmpretrain",
    "onedl-mmdetection": "mmdet",
    "onedl-mmsegmentation": "mmseg",
    "onedl-mim": "mim",
    "scikit-learn": "sklearn",
    "pytest": "pytest",
    "ruff": "ruff",
    "codespell": "codespell_lib",
    "mmkd_ext": "mmkd_ext",
}
HEALTH_SCRIPT = """
import glob, importlib.metadata as m, importlib.util as u, json, os, sys
modules, pins, root = json.loads(sys.argv[1])
missing, changed = [], []
for dist, module in modules.items():
    try:
        version = m.version(dist)
        spec = u.find_spec(module)
    except (m.PackageNotFoundError, ImportError):
        spec = None
    if spec is None or not spec.origin:
        missing.append(dist)
    elif pins.get(dist) not in (None, version.partition('+')[0]):
        changed.append('%s is %s, tested was %s' % (dist, version, pins[dist]))
    elif module == 'mmcv' and not glob.glob(os.path.join(os.path.dirname(spec.origin), '_ext*')):
        missing.append('onedl-mmcv (its compiled ops)')
    elif dist == 'mmkd_ext' and os.path.dirname(os.path.dirname(spec.origin)) != root:
        missing.append('mmkd_ext (%s was installed instead)' % os.path.dirname(spec.origin))
print(json.dumps([missing, changed]))
"""
VERIFY_SCRIPT = "import mmengine, mmpretrain, mmdet, mmseg, mim, sklearn, mmkd_ext"


class SetUp:
    """The whole set-up of one environment.

    Args:
        root: The checkout.
        venv: Folder of the environment.
    """

    def __init__(self, root: str, venv: str) -> None:
        self.root = root
        self.venv = Venv(venv)

    def run(self, asked_python: str = "") -> list[str]:
        """Do what is missing; returns the names of the steps that were done."""
        with self.venv.lock():
            stamp = self.venv.stamp
            if stamp.data["running"]:
                say(f"The last set-up was cut short in step `{stamp.data['running']}`: resuming.")
                self.venv.drop_half_installed()
            self.venv.prepare(asked_python)
            self._check_health()
            steps = self.steps()
            done: list[str] = []
            for number, (name, title, action, key) in enumerate(steps, 1):
                if stamp.data["steps"].get(name) == key:
                    continue
                if not done:
                    self._check_disk()
                say(f"[{number}/{len(steps)}] {title}")
                start = time.time()
                stamp.write(running=name)
                action()
                stamp.finish(name, key)
                say(f"      done in {elapsed(start)}")
                done.append(name)
            return done

    def steps(self) -> list[tuple[str, str, Callable[[], None], str]]:
        """(name, title, action, key); a key hashes the step's inputs and the keys before it."""
        version = ".".join(map(str, version_of(self.venv.python) or ()))
        constraints = self._read("requirements", "constraints.txt")
        files = [self._read("requirements", name) for name in REQUIREMENTS]
        own = [self._read("setup.py"), self._read("mmkd_ext", "version.py"), self.root]
        plan = [
            ("tools", "build tools", self._tools, [version, constraints, *BUILD_TOOLS]),
            ("torch", "PyTorch and torchvision: up to 3 GB to fetch", self._torch, TORCH),
            ("mmcv", "mmcv with its ops", self._mmcv, [MMCV]),
            ("libraries", "OpenMMLab libraries, test and lint tools", self._libraries, files),
            ("package", "mmkd_ext itself, in editable mode", self._package, own),
            ("verify", "checking that everything can be imported", self._verify, []),
        ]
        key, steps = "", []
        for name, title, action, inputs in plan:
            key = hashlib.sha256("\0".join([key, name, *inputs]).encode()).hexdigest()[:16]
            steps.append((name, title, action, key))
        return steps

    def pins(self) -> dict[str, str]:
        """The exact versions of constraints.txt by distribution."""
        text = self._read("requirements", "constraints.txt")
        return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))

    def _read(self, *path: str) -> str:
        with open(os.path.join(self.root, *path), encoding="utf-8") as file:
            return file.read()

    def _check_health(self) -> None:
        """Look quickly whether what was installed is still there; if not, forget the steps."""
        stamp = self.venv.stamp
        if "verify" not in stamp.data["steps"]:
            return
        argument = json.dumps([HEALTH_MODULES, self.pins(), self.root])
        result = subprocess.run(
            [self.venv.python, "-c", HEALTH_SCRIPT, argument],
            capture_output=True,
            text=True,
            env=clean_environment(),
            cwd=self.venv.path,
        )
        if result.returncode != 0:
            raise SetUpError(
                f"{self.venv.python} fails: {result.stderr[-400:]}\nRemove {self.venv.path} and "
                "start again."
            )
        missing, changed = json.loads(result.stdout)
        if missing:
            say(f"Missing from {self.venv.path}: {', '.join(missing)}. Installing again.")
            for name in missing:
                self.venv.forget(name.split()[0])
            stamp.write(steps={})
        if changed:
            say("Note: " + "; ".join(changed) + ".")

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self.venv.path).free
        if free < NEEDED_BYTES and "torch" not in self.venv.stamp.data["steps"]:
            place = self.venv.path
            say(f"Note: {free / 2**30:.1f} GiB are free at {place}; a full set-up takes up to 9.")

    def _pip(self, what: str, *arguments: str, **options: object) -> None:
        """Call pip install with the tested pins."""
        constraints = os.path.join(self.root, "requirements", "constraints.txt")
        command = [self.venv.python, "-m", "pip", "install", "-c", constraints, *arguments]
        self.venv.commands.call(command, what, **options)

    def _tools(self) -> None:
        self._pip("build tools", "--upgrade", "pip", *BUILD_TOOLS)

    def _torch(self) -> None:
        self._pip("PyTorch", *TORCH)  # the build (CUDA, CPU) is what PIP_* settings lead to

    def _mmcv(self, force: bool = False) -> None:
        """Build mmcv against the torch that is here.

        ``MMCV_WITH_OPS`` asks for the ops, ``--no-build-isolation`` lets the build see torch,
        and ``-g0`` halves time and size of the objects.
        """
        extra = dict(MMCV_WITH_OPS="1", CFLAGS=(os.environ.get("CFLAGS", "") + " -g0").strip())
        minutes = "about 5 to 15 minutes on 2 cores"
        built = self._has_ops() and self.venv.has(MMCV, self.pins()[MMCV])
        has_gpu = shutil.which("nvidia-smi") is not None
        if _nvcc() is None:
            extra["CUDA_VISIBLE_DEVICES"] = ""  # with a GPU in sight mmcv would want nvcc, and fail
            if has_gpu and not built:
                say("      no CUDA compiler (nvcc) here: building the ops for the CPU only")
        elif has_gpu:
            minutes = "with CUDA kernels, half an hour or more"
        if force or not built:
            say(f"      building mmcv ops: {MMCV_FILES} files, {minutes}")
            if not force:
                say("      (seconds where pip has kept the wheel of an earlier build)")
        arguments = ["-v", "--no-build-isolation", "--no-deps", MMCV]
        anew = ["--no-cache-dir", "--force-reinstall", *arguments]
        if self._mmcv_folder() is not None and not self._has_ops():
            arguments = ["--force-reinstall", *arguments]
        self._build_mmcv(anew if force else arguments, extra)
        if not self._has_ops():
            say("      pip's cache held a wheel without ops: building anew")
            self._build_mmcv(anew, extra)
        if not self._has_ops():
            raise SetUpError(f"mmcv was built without its ops; see {self.venv.commands.log}")

    def _build_mmcv(self, arguments: list[str], extra: dict[str, str]) -> None:
        try:
            self._pip("mmcv", *arguments, extra=extra, progress=True)
        except SetUpError as error:
            hints = "".join(f"\nHint: {hint}." for hint in self._build_hints())
            raise SetUpError(f"{error}{hints}") from None

    def _build_hints(self) -> list[str]:
        """What a failed build probably lacked."""
        hints = []
        compilers = (os.environ.get("CXX") or "c++", "g++", "clang++")
        if not any(map(shutil.which, compilers)):
            hints.append("no C++ compiler was found (Debian, Ubuntu: build-essential)")
        code = "import sysconfig; print(sysconfig.get_paths()['include'])"
        result = subprocess.run([self.venv.python, "-c", code], capture_output=True, text=True)
        if not os.path.exists(os.path.join(result.stdout.strip(), "Python.h")):
            hints.append("Python's headers are missing (Debian, Ubuntu: python3-dev)")
        if _nvcc():
            hints.append(
                "where nvcc does not fit PyTorch's CUDA, build for the CPU: CUDA_VISIBLE_DEVICES="
                " make env"
            )
        return hints

    def _libraries(self) -> None:
        files = [os.path.join(self.root, "requirements", name) for name in REQUIREMENTS]
        self._pip("libraries", *(part for file in files for part in ("-r", file)))

    def _package(self) -> None:
        self._pip("mmkd_ext", "--no-build-isolation", "--no-deps", "--editable", self.root)

    def _verify(self) -> None:
        """Import everything once; rebuild mmcv where its ops do not fit this torch."""
        call = self.venv.commands.call
        check_ops = [self.venv.python, "-c", "import mmcv.ops"]
        try:
            call(check_ops, "import mmcv.ops")
        except SetUpError:
            say("      `import mmcv.ops` fails: built for another PyTorch, or not at all")
            self._mmcv(force=True)
            call(check_ops, "import mmcv.ops")
        call([self.venv.python, "-c", VERIFY_SCRIPT], "importing the libraries")

    def _mmcv_folder(self) -> str | None:
        folders = [os.path.join(site, "mmcv") for site in self.venv.site_packages()]
        return next((folder for folder in folders if os.path.isdir(folder)), None)

    def _has_ops(self) -> bool:
        folder = self._mmcv_folder()
        return folder is not None and any(n.startswith("_ext.") for n in os.listdir(folder))


def _nvcc() -> str | None:
    """The CUDA compiler, where PyTorch's build helper looks for it."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    if home:
        return shutil.which("nvcc", path=os.path.join(home, "bin"))
    return shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
