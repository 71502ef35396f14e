"""Where configs lie: by path, by ``package::folder/name.py``, or by the bare name of one of ours.

A package is meant by its import name, and looked for where its module lies, so nothing here
depends on which distribution provides it.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

WITH_CONFIGS = ("mmkd_ext", "mmpretrain", "mmdet", "mmseg")


class ConfigNotFoundError(FileNotFoundError):
    """No such config; the message says where it was looked for."""


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
        return resolve_in_package(text)
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
    folder = module_folder(module)
    if folder is None:
        known = ", ".join(m for m in WITH_CONFIGS if module_folder(m))
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


def resolve_in_package(text: str) -> str:
    """The absolute path of ``package::folder/name.py``; see :func:`resolve_config`."""
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
    close = difflib.get_close_matches(stem, names, n=3)
    return f" Close: {', '.join(f'{name}.py' for name in close)}." if close else ""


def module_folder(module: str) -> Path | None:
    """Where a top-level module lies, without importing it; None where it is not installed."""
    try:
        spec = importlib.util.find_spec(module)  # a top-level name: imports nothing
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin:
        return None
    return Path(spec.origin).parent
