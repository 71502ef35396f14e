"""Loading a config, and the changes to it that options of the tools ask for."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmkd_ext import compat
from mmkd_ext.apis.errors import UserError

if TYPE_CHECKING:
    from mmengine.config import Config

# Below these a path is no data: weights, output folders, drawing.
_NO_DATA = ("model", "tta_model", "work_dir", "load_from", "visualizer", "vis_backends")


class Replacement(NamedTuple):
    """One value that :func:`set_data_root` changed; ``key`` is dotted."""

    key: str
    old: str
    new: str


def load_config(name: str | os.PathLike, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config by path, ``pkg::folder/name.py`` or bare name, and merge options into it.

    Raises:
        FileNotFoundError: No such config, or a base of it is missing.
        UserError: The file is no valid config.
    """
    compat.apply()
    from mmengine.config import Config

    path = compat.resolve_config(name)
    try:
        cfg = Config.fromfile(path)
    except (SyntaxError, NameError) as error:
        line = getattr(error, "lineno", None)
        place = f", line {line}" if line else ""
        raise UserError(f"Config {path}{place} cannot be read: {error}") from error
    if options:
        cfg.merge_from_dict(dict(options))
    return cfg


def has_parent(cfg: Config, key: str) -> bool:
    """Whether the config has what the dotted ``key`` would be put into."""
    *parents, _ = key.split(".")
    here: Any = cfg
    for name in parents:
        if isinstance(here, (list, tuple)) and name.isdigit() and int(name) < len(here):
            here = here[int(name)]
        elif isinstance(here, Mapping) or here is cfg:
            here = here.get(name)
        else:
            return False
    return here is not None


def fitting(cfg: Config, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Those of ``--cfg-options`` that the config has a place for."""
    return {key: value for key, value in (options or {}).items() if has_parent(cfg, key)}


def check_placed(options: Mapping[str, Any] | None, configs: Sequence[Config]) -> None:
    """Refuse one of ``--cfg-options`` that goes to several configs, yet none has a place for it.

    Raises:
        UserError: There is such a one.
    """
    for key in options or {}:
        if not any(has_parent(cfg, key) for cfg in configs):
            raise UserError(
                f"--cfg-options {key}: none of the configs has {key.rpartition('.')[0]}."
            )


def dump_under_another_name(cfg: Config) -> None:
    """Have the Runner write ``<config>_resolved.py``, not ``<config>.py``, to its work folder.

    mim looks a bare config name up in the whole checkout, ``work_dirs`` included, and refuses a
    name that it finds twice.
    """
    if not cfg.filename:
        return
    stem = Path(cfg.filename).stem.removesuffix("_resolved")
    if cfg.get("experiment_name") is None:
        cfg.experiment_name = stem  # the Runner would take it from the file name
    renamed = str(Path(cfg.filename).with_name(f"{stem}_resolved.py"))
    object.__setattr__(cfg, "_filename", renamed)  # `filename` is a read-only property


def set_data_root(cfg: Config, root: str | os.PathLike) -> list[Replacement]:
    """Point every dataset and evaluator of a built config at another data folder.

    Each ``data_root``, and each string that lies under an old ``data_root`` (the evaluators'
    ``ann_file`` ...), is replaced, however deep in wrappers it stands. Where a config has
    several roots, their common parent is what ``root`` replaces, so ``data/coco`` and
    ``data/lvis`` become ``ROOT/coco`` and ``ROOT/lvis``.

    Args:
        cfg: Changed in place. ``model`` is left alone, and so are output folders.
        root: An existing folder; made absolute.

    Returns:
        What was replaced.

    Raises:
        UserError: There is no such folder, or the config has no ``data_root``.
    """
    folder = Path(root).expanduser().absolute()
    if not folder.is_dir():
        kind = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"--data-root {root} {kind} (looked for {folder}).")
    data = {key: value for key, value in cfg.items() if key not in _NO_DATA}
    roots = {_normal(value) for value in _values_of("data_root", data) if value}
    if not roots:
        raise UserError(
            f"--data-root {root}: nothing to replace, no dataset of {cfg.filename or 'the config'} "
            "has a `data_root`. Name the paths by --cfg-options instead."
        )
    parent = _common_parent(roots)
    done: list[Replacement] = []

    def move(key: str, value: str) -> str:
        path = _normal(value)
        if not value or all(_below(path, one) is None for one in roots):
            return value
        below = _below(path, parent)
        new = str(folder / below) if below else str(folder)
        new += "/" if value.endswith("/") else ""
        done.append(Replacement(key, value, new))
        return new

    for key, value in data.items():
        moved = _map_strings(value, key, move)
        if moved is not value:
            cfg[key] = moved
    return done


def _values_of(name: str, node: Any) -> Iterator[str]:
    """The strings under the key ``name``, however deep."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == name and isinstance(value, str):
                yield value
            else:
                yield from _values_of(name, value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _values_of(name, value)


def _map_strings(node: Any, key: str, change: Callable[[str, str], str]) -> Any:
    """Apply ``change(dotted key, string)`` everywhere: dicts and lists in place, tuples anew."""
    if isinstance(node, str):
        return change(key, node)
    if isinstance(node, dict):
        for name, value in list(node.items()):
            new = _map_strings(value, f"{key}.{name}", change)
            if new is not value:
                node[name] = new
        return node
    if isinstance(node, (list, tuple)):
        items = [_map_strings(value, f"{key}.{i}", change) for i, value in enumerate(node)]
        if all(new is old for new, old in zip(items, node, strict=True)):
            return node
        return items if isinstance(node, list) else tuple(items)
    return node


def _normal(path: str) -> str:
    if "://" in path:
        return path.rstrip("/")
    return posixpath.normpath(path) if path else path


def _below(path: str, root: str) -> str | None:
    """``path`` relative to ``root``; None where it lies elsewhere."""
    if path == root:
        return ""
    if root == ".":  # the common parent of relative roots
        return None if path.startswith("/") or "://" in path else path
    prefix = root if root.endswith("/") else root + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def _common_parent(roots: set[str]) -> str:
    if len(roots) == 1:
        return next(iter(roots))
    try:
        parent = posixpath.commonpath(sorted(roots)) or "."
    except ValueError:  # absolute beside relative
        parent = "/"
    if parent == "/" or any("://" in root for root in roots):
        raise UserError(
            f"--data-root: the datasets have no common folder ({', '.join(sorted(roots))}). "
            "Set each `data_root` by --cfg-options."
        )
    return parent
