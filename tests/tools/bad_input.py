"""A room for each bad input: a real command run in it, and what its folder held before and after."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tests import warm_python

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = 2  # processes
TIME_LIMIT = 240  # seconds; a run that hangs on bad input is a failure

# What a Runner writes before it has trained anything.
NOTHING = re.compile(r"(?!)")
LOG = re.compile(
    r"work(/\d{8}_\d{6}(/\d{8}_\d{6}\.log|/vis_data(/.*\.(py|json))?)?|/\w+_resolved\.py)?"
)

_DISTILL = """
_base_ = 'mmkd_ext::demo/cls_digits_distill.py'
model = dict(teacher=dict(checkpoint={teacher!r}))
train_cfg = dict(max_epochs=1)
train_dataloader = dict(batch_size=10, dataset=dict(ann_file=''))
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=1))
"""
_BASELINE = """
_base_ = 'mmkd_ext::demo/cls_digits_baseline.py'
train_cfg = dict(max_epochs=1)
train_dataloader = dict(batch_size=10, dataset=dict(ann_file=''))
"""


@dataclass(frozen=True)
class Shared:
    """What all rooms use and none may change.

    Attributes:
        folder: Holds everything below.
        teacher: A good teacher checkpoint.
        data: A small data set: ``{train,val,test}/<class>/<index>.png``.
        run: A finished run of ``distill.py``: ``epoch_1.pth`` and ``last_checkpoint``.
    """

    folder: Path

    @property
    def teacher(self) -> Path:
        return self.folder / "teacher.pth"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def checkpoint(self) -> Path:
        return self.run / "epoch_1.pth"

    def environment(self) -> dict[str, str]:
        own = {
            "MMKD_DEMO_ROOT": str(self.folder / "demo"),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": str(ROOT),
        }
        unwanted = ("MMKD_", "TORCH_FORCE", "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_", "SLURM_")
        return {k: v for k, v in os.environ.items() if not k.startswith(unwanted)} | own


@dataclass
class Room:
    """One case's folder, the working directory of its command, and helpers to furnish it."""

    path: Path
    shared: Shared
    environment: dict[str, str] = field(default_factory=dict)

    def config(self, text: str = "", base: str = "distill.py") -> str:
        """A config of the room's own on top of the shared one; the option that names it."""
        (self.path / "run.py").write_text(f"_base_ = {str(self.shared.folder / base)!r}\n{text}\n")
        return "run.py"

    def train(self, *options: str, config: str | None = None) -> list[str]:
        config = config or str(self.shared.folder / "distill.py")
        return [
            sys.executable,
            str(ROOT / "tools/train.py"),
            config,
            "--work-dir",
            "work",
            *options,
        ]

    def set(self, *values: str, config: str | None = None) -> list[str]:
        return self.train("--cfg-options", *values, config=config)

    def test(self, checkpoint: str, *options: str) -> list[str]:
        config, tool = str(self.shared.folder / "baseline.py"), str(ROOT / "tools/test.py")
        return [sys.executable, tool, config, checkpoint, "--work-dir", "work", *options]

    def export(self, config: str, checkpoint: str, *options: str) -> list[str]:
        return [sys.executable, str(ROOT / "tools/export_student.py"), config, checkpoint, *options]

    def earlier_run(self) -> Path:
        """A finished run in the work folder, which no failure may harm."""
        shutil.copytree(self.shared.run, self.path / "work")
        (self.path / "work/last_checkpoint").write_text("work/epoch_1.pth")
        return self.path / "work/epoch_1.pth"

    def save(self, name: str, content: object) -> str:
        torch.save(content, self.path / name)
        return name

    def teacher_weights(self, **changed: float) -> dict[str, torch.Tensor]:
        """The good teacher's weights, but for tensors filled with a value (``head_fc_bias=nan``)."""
        weights = torch.load(self.shared.teacher, weights_only=True)["state_dict"]
        for name, value in changed.items():
            weights[name.replace("__", ".")].fill_(value)
        return weights

    def data(self) -> Path:
        """A copy of the small data set that may be spoiled."""
        return Path(shutil.copytree(self.shared.data, self.path / "data"))

    def listing(self) -> dict[str, str]:
        return listing(self.path)


def listing(folder: Path) -> dict[str, str]:
    """Every path below a folder, with the hash of its content."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        )
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }


@dataclass(frozen=True)
class Case:
    """One kind of bad input.

    Attributes:
        furnish: Prepares the room and returns the command.
        says: Parts of the one message; ``{room}`` is the room's path.
        leaves: Which new paths the command may leave behind: NOTHING, or LOG where it fails after
            the Runner has begun to write its log.
        code: The exit code: 2 for what the user can mend, 1 for a bug.
        slow: Much like another case, so left out of the default suite.
    """

    furnish: Callable[[Room], list[str]]
    says: tuple[str, ...]
    leaves: re.Pattern[str] = NOTHING
    code: int = 2
    slow: bool = False

    @property
    def name(self) -> str:
        return self.furnish.__name__


@dataclass(frozen=True)
class Result:
    """What a command did."""

    room: Path
    code: int
    stdout: str
    stderr: str
    before: dict[str, str]
    after: dict[str, str]

    @property
    def shown(self) -> str:
        """For the report of a failed test."""
        return f"{self.stdout[-1500:]}\n--- stderr:\n{self.stderr}"


CASES: dict[str, Case] = {}


def case(
    *says: str, leaves: re.Pattern[str] = NOTHING, code: int = 2, slow: bool = False
) -> Callable[[Callable[[Room], list[str]]], Case]:
    """Register the decorated function as a case."""

    def register(furnish: Callable[[Room], list[str]]) -> Case:
        CASES[furnish.__name__] = Case(furnish, says, leaves, code, slow)
        return CASES[furnish.__name__]

    return register


def make_shared(folder: Path) -> Shared:
    """Data, a teacher checkpoint, configs and one finished run."""
    from PIL import Image

    shared = Shared(folder)
    for index in range(20):
        for split in ("train", "val", "test"):
            file = shared.data / split / str(index % 10) / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (32, 32), 10 * index).save(file)
    (folder / "distill.py").write_text(_DISTILL.format(teacher=str(shared.teacher)))
    (folder / "baseline.py").write_text(_BASELINE)
    code = (
        "import sys, torch; from mmpretrain import get_model; from mmkd_ext.apis.config import *;"
        "model = get_model(load_config('mmkd_ext::demo/cls_digits_teacher.py'));"
        "model.init_weights(); torch.save({'state_dict': model.state_dict()}, sys.argv[1])"
    )
    _must_succeed(shared, [sys.executable, "-c", code, str(shared.teacher)])
    room = Room(folder, shared)
    _must_succeed(shared, room.train("--data-root", "data"))
    (folder / "work").rename(shared.run)
    for entry in shared.run.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name.endswith("_resolved.py"):  # the next run writes its own in its place
            entry.unlink()
    return shared


def _must_succeed(shared: Shared, command: list[str]) -> None:
    done = _run(command, shared.folder, shared.environment())
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def run_cases(cases: Iterable[Case], shared: Shared, folder: Path) -> dict[str, Future[Result]]:
    """Start all cases, two at a time."""
    pool = ThreadPoolExecutor(AT_ONCE)
    futures = {case.name: pool.submit(run_case, case, shared, folder) for case in cases}
    pool.shutdown(wait=False)
    return futures


def run_case(case: Case, shared: Shared, folder: Path) -> Result:
    room = Room(folder / case.name, shared)
    room.path.mkdir(parents=True)
    command = case.furnish(room)
    before = room.listing()
    done = _run(command, room.path, shared.environment() | room.environment)
    return Result(room.path, done.returncode, done.stdout, done.stderr, before, room.listing())


def _run(
    command: list[str], folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return warm_python.run(command, folder, environment, TIME_LIMIT)
