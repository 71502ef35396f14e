"""All that depends on which OpenMMLab distribution is installed.

Two families ship the same modules (``mmengine``, ``mmcv``, ``mmdet`` ...): the original packages
and the maintained ``onedl-*`` forks. Names of distributions appear here and nowhere else;
everything else imports modules.

:func:`apply`, which ``import mmkd_ext`` calls, mends mmengine's ``pkg::folder/name.py`` configs.
mmengine maps the module to a hard-coded distribution name (``mmseg`` to ``mmsegmentation``), and
so refuses ``mmseg::`` beside the forks and ``mmkd_ext::`` everywhere. Ours looks where the module
itself lies, which needs no names. It also skips mmengine's walk over every metafile, which costs
0.25 s a base and finds nothing (it compares a name without its extension to names with one).

Importing mmengine takes 0.2 s, so it is left to whoever needs it: when it is not loaded yet, an
import hook mends it as it loads.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import metadata
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

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

_WITH_CONFIGS = ("mmkd_ext", "mmpretrain", "mmdet", "mmseg")
_CONFIG_MODULE = "mmengine.config.config"


class ConfigNotFoundError(FileNotFoundError):
    """No such config; the message says where it was looked for."""


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
                version = _version(dist)
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


def resolve_config(name: str | os.PathLike, search: bool = True) -> str:
    """The absolute path of a config.

    Args:
        name: A path (``~`` is expanded), ``'pkg::folder/name.py'``, or a bare ``name`` or
            ``name.py`` of one of this package's own configs.
        search: Whether to look for a bare name among our configs when no such file exists.

    Raises:
        ConfigNotFoundError: There is no such file, or more than one of that bare name.
    """
    text = os.fspath(name)
    if "::" in text:
        return _resolve_in_package(text)
    path = Path(text).expanduser()
    if path.is_file():
        return str(path.absolute())
    if path.is_dir():
        raise ConfigNotFoundError(f"Config {text} is a directory; name a file in it.")
    if search and path.name == text:
        found = own_configs().get(text.removesuffix(".py"), ())
        if len(found) == 1:
            return str(found[0])
        if found:
            listed = ", ".join(map(str, found))
            raise ConfigNotFoundError(f"Config {text!r} is ambiguous: {listed}. Give a path.")
    place = "" if path.is_absolute() else f" in {Path.cwd()}"
    hint = _close_names(path.name.removesuffix(".py"))
    raise ConfigNotFoundError(f"Config {text} does not exist{place}.{hint}")


def package_configs(module: str) -> Path:
    """The folder that ``module::`` configs are relative to.

    That is ``<module>/.mim/configs`` where an installed package carries it, else ``configs``
    beside the module's folder (a checkout installed in editable mode).

    Raises:
        ConfigNotFoundError: The module is not installed, or has no configs.
    """
    folder = _module_folder(module)
    if folder is None:
        known = ", ".join(m for m in _WITH_CONFIGS if _module_folder(m))
        raise ConfigNotFoundError(
            f"Configs of {module!r} were asked for, but no such module is installed (installed "
            f"are {known}). Names before `::` are import names: mmpretrain, mmdet, mmseg."
        )
    candidates = (folder / ".mim" / "configs", folder.parent / "configs")
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    raise ConfigNotFoundError(
        f"{module} at {folder} carries no configs (looked for {candidates[0]} and "
        f"{candidates[1]}). Install it from a wheel or as an editable checkout."
    )


@lru_cache(maxsize=1)
def own_configs() -> dict[str, tuple[Path, ...]]:
    """Our configs by bare name (no extension); building blocks in ``_base_`` are left out."""
    found: dict[str, tuple[Path, ...]] = {}
    try:
        root = package_configs("mmkd_ext")
    except ConfigNotFoundError:
        return found
    for path in sorted(root.rglob("*.py")):
        if "_base_" not in path.relative_to(root).parts:
            found[path.stem] = (*found.get(path.stem, ()), path)
    return found


def force_weights_only() -> None:
    """Make every ``torch.load`` of this process refuse pickled code.

    mmengine's loader otherwise falls back to full unpickling with a mere warning. Left alone
    where the user asked for unpickling (``MMKD_TRUST_CHECKPOINTS=1``, or torch's own
    ``TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD``).
    """
    asked = ("MMKD_TRUST_CHECKPOINTS", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    yes = ("1", "y", "yes", "true", "on")
    if not any(os.environ.get(name, "").strip().lower() in yes for name in asked):
        os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"


def _resolve_in_package(text: str) -> str:
    module, _, relative = text.partition("::")
    if not re.fullmatch(r"\w+", module) or not relative or "::" in relative:
        raise ConfigNotFoundError(
            f"Config {text!r} is not of the form package::folder/name.py "
            "(the package by its import name, such as mmpretrain)."
        )
    root = package_configs(module)
    path = root / relative
    if path.is_file():
        return str(path)
    if path.suffix != ".py" and path.with_name(path.name + ".py").is_file():
        return str(path.with_name(path.name + ".py"))
    same_name = sorted(root.rglob(path.name)) if path.name else []
    if same_name:
        hint = f" Did you mean {module}::{same_name[0].relative_to(root)}?"
    else:
        siblings = path.parent.glob("*.py") if path.parent.is_dir() else []
        hint = _close_to(path.stem, [p.stem for p in siblings]) or f" It was looked for in {root}."
    raise ConfigNotFoundError(f"Config {text} does not exist.{hint}")


def _close_names(stem: str) -> str:
    return _close_to(stem, list(own_configs()))


def _close_to(stem: str, names: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(stem, names, n=3)
    return f" Close: {', '.join(f'{name}.py' for name in close)}." if close else ""


def _version(dist: str) -> str | None:
    try:
        return metadata.version(dist)
    except metadata.PackageNotFoundError:
        return None


def _module_folder(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)  # a top-level name: imports nothing
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin:
        return None
    return Path(spec.origin).parent


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
            return _resolve_in_package(cfg_path), scope
        except ConfigNotFoundError as error:
            raise ConfigNotFoundError(f"In the bases of config {filename}: {error}") from None

    _get_cfg_path.mends_packages = True
    config_class._get_cfg_path = staticmethod(_get_cfg_path)
    # mmengine.hub and the inferencers look distributions up in this table, and the hub
    # pip-installs what it does not find there: on the forks that is the original package, on
    # top of the fork. A module's own name serves them as well.
    table = sys.modules["mmengine.config.utils"].MODULE2PACKAGE
    for module in FAMILIES["onedl"]:
        if module in table and _version(table[module]) is None and _module_folder(module):
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
