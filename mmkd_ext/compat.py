"""All that depends on which OpenMMLab distribution is installed.

Two families ship the same modules (``mmengine``, ``mmcv``, ``mmdet`` ...): the original packages
and the maintained ``onedl-*`` forks. Names of distributions appear here and nowhere else;
everything else imports modules.

:func:`apply`, which ``import mmkd_ext`` calls, mends mmengine's ``pkg::folder/name.py`` configs.
mmengine maps the module to a hard-coded distribution name (``mmseg`` to ``mmsegmentation``), and
so refuses ``mmseg::`` beside the forks and ``mmkd_ext::`` everywhere. Ours looks where the module
itself lies, which needs no names. It also skips mmengine's walk over every metafile, which costs
time for every base and finds nothing (it compares a name without its extension to names with one).

Importing mmengine takes a while, so it is left to whoever needs it: when it is not loaded yet, an
import hook mends it as it loads.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NamedTuple

from mmkd_ext.config_paths import (
    ConfigNotFoundError,
    module_folder,
    own_configs,
    package_configs,
    resolve_config,
    resolve_in_package,
)

__all__ = [
    "FAMILIES",
    "ConfigNotFoundError",
    "StackInfo",
    "apply",
    "configs_found_twice",
    "force_weights_only",
    "mim_name",
    "mim_traps",
    "own_configs",
    "package_configs",
    "rebuild_ops_command",
    "resolve_config",
    "rival_distributions",
    "stack_info",
    "switched_on",
    "version_of",
    "version_traps",
]

# module -> its distribution, per family. A stack is whole when all of one column are there.
FAMILIES: dict[str, dict[str, tuple[str, ...]]] = {
    "onedl": {
        "mmengine": ("onedl-mmengine",),
        "mmcv": ("onedl-mmcv",),
        "mmpretrain": ("onedl-mmpretrain",),
        "mmdet": ("onedl-mmdetection",),
        "mmseg": ("onedl-mmsegmentation",),
        "mim": ("onedl-mim",),
    },
    "openmmlab": {
        "mmengine": ("mmengine", "mmengine-lite"),
        "mmcv": ("mmcv", "mmcv-lite"),
        "mmpretrain": ("mmpretrain",),
        "mmdet": ("mmdet",),
        "mmseg": ("mmsegmentation",),
        "mim": ("openmim",),
    },
}

_CONFIG_MODULE = "mmengine.config.config"


class StackInfo(NamedTuple):
    """Which OpenMMLab packages are installed.

    Attributes:
        family: ``'onedl'``, ``'openmmlab'``, ``'mixed'`` (two distributions fight for the same
            module names) or ``'none'``.
        versions: Module name to (distribution, version), or None where it is absent.
    """

    family: str
    versions: dict[str, tuple[str, str] | None]


def apply() -> None:
    """Make ``pkg::`` configs resolve by module; cheap, and harmless when called twice."""
    loaded = sys.modules.get(_CONFIG_MODULE)
    if loaded is not None and hasattr(loaded, "Config"):
        _mend(loaded)
    elif not any(isinstance(finder, _MendOnImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, _MendOnImport())


def stack_info() -> StackInfo:
    """Read the installed distributions; imports none of them."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for family, modules in FAMILIES.items():
        for module, dists in modules.items():
            for dist in dists:
                version = version_of(dist)
                if version is not None:
                    found.setdefault(family, {})[module] = (dist, version)
                    break
    family = "none" if not found else next(iter(found)) if len(found) == 1 else "mixed"
    versions: dict[str, tuple[str, str] | None] = {}
    for module in FAMILIES["onedl"]:
        hits = [modules[module] for modules in found.values() if module in modules]
        versions[module] = hits[0] if hits else None
    return StackInfo(family, versions)


def mim_name(module: str) -> str:
    """The name this stack's ``mim`` wants for a module.

    ``mmdet`` on the forks is ``onedl-mmdetection``: their mim refuses ``mmdet``.
    """
    hit = stack_info().versions.get(module)
    return hit[0] if hit else module


def rival_distributions() -> str:
    """The distributions that provide the same modules, for a message."""
    rows = []
    for module in FAMILIES["onedl"]:
        dists = [dist for modules in FAMILIES.values() for dist in modules[module]]
        there = [dist for dist in dists if version_of(dist)]
        if len(there) > 1:
            rows.append(" and ".join(there))
    return ", ".join(rows) or "each provides a part of the modules"


def version_traps() -> list[tuple[str, str, str]]:
    """Known bad combinations of versions that are installed: (subject, found, remedy)."""
    found = []
    family, versions = stack_info()
    if family == "mixed":
        return []  # which of two versions is in force cannot be told
    number = {module: _number(hit[1]) for module, hit in versions.items() if hit}
    torch = _number(version_of("torch") or "0")
    if family == "onedl":
        if number.get("mmengine", (9,)) < (0, 10, 12):
            remedy = "pip install 'onedl-mmengine>=0.10.12'"
            found.append(
                ("onedl-mmengine", "older than 0.10.12 (0.10.11 lacks mmengine.dist)", remedy)
            )
        return found
    stay = "or move to the onedl stack (`make env`)"
    if "mmengine" in number and number["mmengine"] < (0, 11):
        if torch >= (2, 6):
            what = "mmengine 0.10 dies on torch 2.6 and later when it reads its own checkpoint"
            found.append(("resume", what, f"pip install 'torch<2.6', {stay}"))
        if _number(version_of("setuptools") or "0") >= (82,):
            what = "setuptools 82 and later have no pkg_resources, which mmengine and mim import"
            found.append(("setuptools", what, "pip install 'setuptools<82'"))
        if _number(version_of("numpy") or "0") >= (2,):
            found.append(("numpy", "numpy 2 with the original stack", "pip install 'numpy<2'"))
    if number.get("mmcv", (0,)) >= (2, 2):
        for module in ("mmdet", "mmseg"):
            if module in number:
                what = f"{module} {versions[module][1]} refuses mmcv 2.2 and later"
                found.append((module, what, f"mim install 'mmcv==2.1.0', {stay}"))
    if versions["mmcv"] and versions["mmcv"][0] == "mmcv-lite":
        found.append(
            ("mmcv-lite", "mmcv without ops: mmdet and mmseg fail", "mim install mmcv==2.1.0")
        )
    return found


def rebuild_ops_command() -> str:
    """How to get mmcv with its ops on this stack."""
    if stack_info().family == "openmmlab":
        return "mim install mmcv==2.1.0 (a compiled wheel for your torch and CUDA)"
    return (
        "MMCV_WITH_OPS=1 pip install --no-build-isolation --no-cache-dir --force-reinstall "
        "--no-deps onedl-mmcv==2.3.6"
    )


def mim_traps() -> list[tuple[str, str, str]]:
    """What keeps this stack's mim from finding our configs: (subject, found, remedy)."""
    family, versions = stack_info()
    folder = module_folder("mmkd_ext")
    if versions["mim"] is None or folder is None or not _is_editable():
        return []
    if family == "openmmlab":
        return [("openmim", "cannot find an editable install", "Install a wheel: pip install .")]
    if (folder / ".mim").exists():
        what = f"{folder / '.mim'} in an editable install makes mim find every config twice"
        return [("onedl-mim", what, "Remove that folder.")]
    return []


def configs_found_twice() -> dict[str, list[str]]:
    """Our configs whose file name exists more than once where mim looks.

    onedl-mim walks the whole checkout of an editable install: environment, results and all.
    """
    if not _is_editable():
        return {}
    wanted = {f"{name}.py" for name in own_configs()}
    places: dict[str, list[str]] = {}
    for folder, _, files in os.walk(package_configs("mmkd_ext").parent, followlinks=True):
        for name in wanted.intersection(files):
            places.setdefault(name, []).append(os.path.join(folder, name))
    return {name: found for name, found in sorted(places.items()) if len(found) > 1}


def force_weights_only() -> None:
    """Make every ``torch.load`` of this process refuse pickled code.

    mmengine's loader otherwise falls back to full unpickling with a mere warning. Left alone
    where the user asked for unpickling (``MMKD_TRUST_CHECKPOINTS=1``, or torch's own
    ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD``).
    """
    asked = ("MMKD_TRUST_CHECKPOINTS", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    if not any(map(switched_on, asked)):
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"


def switched_on(variable: str) -> bool:
    """Whether an environment variable says yes; unset, ``0`` and anything else mean no."""
    return os.environ.get(variable, "").strip().lower() in ("1", "y", "yes", "true", "on")


def version_of(dist: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return metadata.version(dist)
    except metadata.PackageNotFoundError:
        return None


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _is_editable() -> bool:
    try:
        text = metadata.distribution("mmkd_ext").read_text("direct_url.json") or "{}"
    except metadata.PackageNotFoundError:
        return False
    return bool(json.loads(text).get("dir_info", {}).get("editable"))


def _mend(config_module: ModuleType) -> None:
    config_class = config_module.Config
    if getattr(config_class._get_cfg_path, "mends_packages", False):
        return
    stock = config_class._get_cfg_path

    def _get_cfg_path(cfg_path: str, filename: str) -> tuple[str, str | None]:
        if "::" not in cfg_path:
            path, scope = stock(cfg_path, filename)
            if not os.path.isfile(path):
                raise ConfigNotFoundError(
                    f"Config {filename} names the base {cfg_path!r}, but there is no file {path}."
                )
            return path, scope
        module = cfg_path.partition("::")[0]
        # Our configs speak in the scope of the task library that they build on: marked with ours,
        # their `type='CustomDataset'` would be looked for among our own datasets.
        scope = None if module == "mmkd_ext" else module
        try:
            return resolve_in_package(cfg_path), scope
        except ConfigNotFoundError as error:
            raise ConfigNotFoundError(f"In the bases of config {filename}: {error}") from None

    _get_cfg_path.mends_packages = True
    config_class._get_cfg_path = staticmethod(_get_cfg_path)
    # mmengine.hub and the inferencers look distributions up in this table, and the hub
    # pip-installs what it does not find there: on the forks that is the original package, on
    # top of the fork. A module's own name serves them as well.
    table = sys.modules["mmengine.config.utils"].MODULE2PACKAGE
    for module in FAMILIES["onedl"]:
        if module in table and version_of(table[module]) is None and module_folder(module):
            table[module] = module


def _then_mend(execute: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def exec_module(module: ModuleType) -> None:
        execute(module)
        _mend(module)

    return exec_module


class _MendOnImport(MetaPathFinder):
    """Mends mmengine's config module right after it was imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Hand on what the other finders find, with one thing more to do."""
        if name != _CONFIG_MODULE:
            return None
        for finder in sys.meta_path:
            if isinstance(finder, _MendOnImport) or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader.exec_module = _then_mend(spec.loader.exec_module)
                return spec
        return None
