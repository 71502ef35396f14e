"""``python -m mmkd_ext doctor``: what is installed, and which known traps apply to it.

Each check returns findings; the table shows them with a remedy. Exit code 1 when something is
wrong enough to fail (level ``error``), 0 otherwise.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from typing import NamedTuple

from mmkd_ext import compat, version

PYTHONS = ((3, 10), (3, 12))


class Finding(NamedTuple):
    """One row: ``level`` is ``ok``, ``note``, ``warning`` or ``error``."""

    level: str
    subject: str
    found: str
    remedy: str = ""


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Print the table; returns the exit code."""
    argparse.ArgumentParser(prog=prog, description="Check the installation.").parse_args(argv)
    findings = [finding for check in CHECKS for finding in _guarded(check)]
    _print(findings)
    return int(any(finding.level == "error" for finding in findings))


def check_python() -> Iterator[Finding]:
    """Python between the oldest and the newest that the stacks support."""
    low, high = PYTHONS
    good = low <= sys.version_info[:2] <= high
    found = f"{platform.python_version()} ({sys.executable})"
    remedy = "" if good else "Use Python 3.10, 3.11 or 3.12: make env PYTHON=python3.11 VENV=..."
    yield Finding("ok" if good else "error", "Python", found, remedy)


def check_stack() -> Iterator[Finding]:
    """One family of OpenMMLab distributions, of versions that go together."""
    stack = compat.stack_info()
    listed = ", ".join(f"{d} {v}" for d, v in filter(None, stack.versions.values()))
    if stack.family == "none":
        yield Finding("error", "OpenMMLab stack", "none installed", "`make env` in the checkout.")
        return
    if stack.family == "mixed":
        yield Finding(
            "error",
            "OpenMMLab stack",
            f"two families at once: {compat.rival_distributions()}",
            "They overwrite each other's modules. Uninstall both, then install one.",
        )
    else:
        yield Finding("ok", "OpenMMLab stack", f"{stack.family}: {listed}")
    for module in ("mmengine", "mmcv", "mmpretrain", "mmdet", "mmseg", "mim"):
        if stack.versions[module] is None:
            level = "error" if module in ("mmengine", "mmcv") else "note"
            yield Finding(level, module, "not installed", "`make env`, or install it by hand.")
    for subject, found, remedy in compat.version_traps():
        yield Finding("error", subject, found, remedy)


def check_torch() -> Iterator[Finding]:
    """PyTorch, and whether it can use the GPU that is there."""
    try:
        import torch
    except ImportError as error:
        yield Finding("error", "PyTorch", f"cannot be imported: {_line(error)}", "`make env`.")
        return
    cuda = torch.version.cuda
    found = f"{torch.__version__} ({f'CUDA {cuda}' if cuda else 'CPU build'})"
    if torch.cuda.is_available():
        yield Finding("ok", "PyTorch", found)
        known = torch.cuda.get_arch_list()
        for index in range(torch.cuda.device_count()):
            arch = "sm_{}{}".format(*torch.cuda.get_device_capability(index))
            name = f"{torch.cuda.get_device_name(index)} ({arch})"
            major = arch[:-1]
            good = any(one.startswith(major) for one in known) or any("compute" in k for k in known)
            remedy = "" if good else "This PyTorch was not built for it: install another build."
            yield Finding("ok" if good else "error", f"GPU {index}", name, remedy)
    elif shutil.which("nvidia-smi") and cuda:
        remedy = (
            f"The driver is older than CUDA {cuda} needs: update it, or install a PyTorch for it."
        )
        yield Finding("warning", "PyTorch", f"{found}, but sees no GPU", remedy)
    else:
        yield Finding("ok", "PyTorch", f"{found}, no GPU: training runs on the CPU")
    if _number("numpy") >= (2,) and _number("torch") < (2, 3):
        remedy = "pip install 'numpy<2': torch before 2.3 was built against numpy 1."
        yield Finding("error", "numpy", metadata.version("numpy"), remedy)


def check_ops() -> Iterator[Finding]:
    """Whether mmcv's compiled ops are there and fit this PyTorch."""
    rebuild = compat.rebuild_ops_command()
    try:
        import mmcv
    except ImportError as error:
        yield Finding("error", "mmcv", f"cannot be imported: {_line(error)}", "`make env`.")
        return
    try:
        from mmcv.ops import get_compiling_cuda_version
    except Exception as error:
        folder = os.path.dirname(mmcv.__file__)
        built = any(name.startswith("_ext.") for name in os.listdir(folder))
        why = "built for another PyTorch" if built else "the wheel was built without them"
        yield Finding("error", "mmcv ops", f"missing, {why}: {_line(error)}", rebuild)
        return
    built_with = get_compiling_cuda_version()
    import torch

    if torch.cuda.is_available() and "not available" in built_with.lower():
        remedy = f"NMS, RoIAlign ... fail on the GPU. With the CUDA toolkit installed: {rebuild}"
        yield Finding("warning", "mmcv ops", "there, but for the CPU only", remedy)
    else:
        yield Finding("ok", "mmcv ops", f"there (compiled with CUDA: {built_with})")


def check_opencv() -> Iterator[Finding]:
    """Several OpenCV distributions share the folder ``cv2``; the last one installed wins."""
    names = ("opencv-python", "opencv-python-headless", "opencv-contrib-python")
    names += ("opencv-contrib-python-headless",)
    there = {name: found for name in names if (found := compat.version_of(name))}
    listed = ", ".join(f"{name} {found}" for name, found in there.items())
    if not there:
        yield Finding("error", "OpenCV", "not installed", "`make env`.")
    elif len(set(there.values())) > 1:
        remedy = "They overwrite each other in cv2/: install them at one version, or keep one."
        yield Finding("warning", "OpenCV", listed, remedy)
    else:
        yield Finding("ok", "OpenCV", listed)


def check_mim() -> Iterator[Finding]:
    """How mim finds this package, and the libraries' names on this stack."""
    if compat.version_of("mmkd_ext") is None:
        remedy = "mim finds installed packages only: `make env`, or pip install in the checkout."
        yield Finding("error", "mmkd_ext", f"{version.__version__}, but not installed", remedy)
    else:
        yield Finding("ok", "mmkd_ext", f"{version.__version__} in {_own_folder()}")
    yield from _mim_names()
    for subject, found, remedy in compat.mim_traps():
        yield Finding("error", subject, found, remedy)
    twice = compat.configs_found_twice()
    if twice:
        listed = "; ".join(f"{name}: {', '.join(places)}" for name, places in twice.items())
        remedy = "mim refuses a bare config name that it finds twice: remove or rename the copies."
        yield Finding("warning", "config names", listed, remedy)
    cache = os.path.join(os.path.expanduser("~"), ".cache")
    writable = cache if os.path.isdir(cache) else os.path.dirname(cache)
    if not os.access(writable, os.W_OK):
        yield Finding("error", "home folder", f"{writable} is not writable", "mim needs ~/.cache.")


def check_configs() -> Iterator[Finding]:
    """Whether ``pkg::`` configs can be found."""
    for module in ("mmkd_ext", "mmpretrain", "mmdet", "mmseg"):
        try:
            yield Finding("ok", f"{module}:: configs", str(compat.package_configs(module)))
        except compat.ConfigNotFoundError as error:
            yield Finding("warning", f"{module}:: configs", "not found", str(error))


def check_checkpoint_reading() -> Iterator[Finding]:
    """Whether checkpoints are read without running code."""
    force, refuse = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    trust = "MMKD_TRUST_CHECKPOINTS"
    if compat.switched_on(force) and compat.switched_on(refuse):
        yield Finding("error", "checkpoints", f"{force} and {refuse} are both set", "Unset one.")
    elif compat.switched_on(refuse) or compat.switched_on(trust):
        name = trust if compat.switched_on(trust) else refuse
        remedy = "Code in a checkpoint would run. Unset it but for files that you trust."
        yield Finding("warning", "checkpoints", f"{name} is set", remedy)
    else:
        yield Finding("ok", "checkpoints", "read as weights only")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_stack,
    check_torch,
    check_ops,
    check_opencv,
    check_mim,
    check_configs,
    check_checkpoint_reading,
)


def _mim_names() -> Iterator[Finding]:
    if compat.stack_info().versions["mim"] is None:
        return
    name = compat.mim_name("mmdet")  # the forks' mim knows mmpretrain and mmseg by module name
    if name != "mmdet":
        remedy = f"`mim train {name} ...`: this mim refuses `mim train mmdet ...`."
        yield Finding("note", "names for mim", f"mmdet is {name}", remedy)


def _guarded(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """A check that fails is a finding, too: the doctor must not need a doctor."""
    try:
        return list(check())
    except Exception as error:
        subject = check.__name__.removeprefix("check_")
        return [
            Finding("error", subject, f"cannot be checked: {_line(error)}", "Please report it.")
        ]


def _print(findings: Sequence[Finding]) -> None:
    marks = {"ok": "ok", "note": "note", "warning": "WARNING", "error": "ERROR"}
    try:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table
    except ImportError:  # comes with mmengine, which may be what is missing
        for level, subject, found, remedy in findings:
            print(f"{marks[level]:8}{subject}: {found}" + (f" -> {remedy}" if remedy else ""))
        return
    colours = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "bold red"}
    table = Table(title=f"mmkd_ext {version.__version__}", title_justify="left")
    for column in ("", "what", "found", "remedy"):
        table.add_column(column, overflow="fold")
    for level, subject, found, remedy in findings:
        mark = f"[{colours[level]}]{marks[level]}[/]"
        table.add_row(mark, escape(subject), escape(found), escape(remedy))
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a pipe has no width; 80 columns would fold every path
    console.print(table)


def _own_folder() -> str:
    return os.path.dirname(os.path.abspath(__file__))


def _number(dist: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", compat.version_of(dist) or "0")[:2])


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"
