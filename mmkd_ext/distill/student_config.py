"""From a distillation config to the student's plain one, which needs nothing of this package."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import HOOKS as STOCK_HOOKS

from mmkd_ext import registry

_PACKAGE = "mmkd_ext"
# They belong to the distillation run, not to the student.
_OF_THE_RUN = ("work_dir", "resume")


def student_config(cfg: Config) -> tuple[Config, list[str]]:
    """The stock config of the student: model, data, schedule and evaluation as distilled.

    The model is the student; hooks of this package go, or are replaced by mmengine's hook of the
    same name; so do the import of this package and scopes that are the default anyway.

    Args:
        cfg: A config whose model is a ``Distiller``.

    Returns:
        The config, and where it still names something of this package (a dataset or a network
        that the stock libraries lack), in which case the package's import is kept.

    Raises:
        ValueError: The model is no Distiller.
    """
    model = cfg.get("model")
    if not isinstance(model, Mapping) or "student" not in model or "losses" not in model:
        kind = model.get("type") if isinstance(model, Mapping) else type(model).__name__
        raise ValueError(
            f"config {cfg.filename or ''}: its model is {kind}, not a Distiller with a student; "
            "such a config is a stock one already"
        )
    plain = ConfigDict(copy.deepcopy(cfg._cfg_dict.to_dict()))
    student = plain.model.student
    if "data_preprocessor" in plain.model:
        student.setdefault("data_preprocessor", plain.model.data_preprocessor)
    plain.model = student
    for key in _OF_THE_RUN:
        plain.pop(key, None)
    _clean_hooks(plain)
    leftovers = [place for place, node in _walk(plain) if _is_ours(node)]
    if not leftovers:
        _clean_imports(plain)
    _drop_scopes(plain, {_PACKAGE, plain.get("default_scope")})
    return Config(plain, format_python_code=cfg._format_python_code), leftovers


def _clean_hooks(cfg: ConfigDict) -> None:
    if "custom_hooks" in cfg:
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks or [] if not _is_ours(hook)]
        if not cfg.custom_hooks:
            del cfg["custom_hooks"]
    for key, hook in dict(cfg.get("default_hooks") or {}).items():
        if not _is_ours(hook):
            continue
        stock = STOCK_HOOKS.module_dict.get(_type_name(hook).rpartition(".")[2])
        if stock is None:
            del cfg.default_hooks[key]
        else:
            known = inspect.signature(stock).parameters
            kept = {arg: value for arg, value in hook.items() if arg in known}
            cfg.default_hooks[key] = ConfigDict(type=stock.__name__, **kept)


def _clean_imports(cfg: ConfigDict) -> None:
    imports = (cfg.get("custom_imports") or {}).get("imports")
    if imports is None:
        return
    names = [imports] if isinstance(imports, str) else list(imports)
    names = [name for name in names if name.partition(".")[0] != _PACKAGE]
    if names:
        cfg.custom_imports.imports = names
    else:
        del cfg["custom_imports"]


def _drop_scopes(node: Any, scopes: set[str | None]) -> None:
    if isinstance(node, dict):
        if "_scope_" in node and node["_scope_"] in scopes and not _is_ours(node):
            del node["_scope_"]
        node = node.values()
    elif not isinstance(node, (list, tuple)):
        return
    for item in node:
        _drop_scopes(item, scopes)


def _walk(node: Any, place: str = "") -> Iterator[tuple[str, dict]]:
    """All dicts of a config with their dotted places."""
    if isinstance(node, dict):
        yield place, node
        items = node.items()
    elif isinstance(node, (list, tuple)):
        items = enumerate(node)
    else:
        return
    for key, value in items:
        yield from _walk(value, f"{place}.{key}" if place else str(key))


def _type_name(node: Any) -> str:
    kind = node.get("type") if isinstance(node, Mapping) else None
    if kind is None or isinstance(kind, str):
        return kind or ""
    # A class, or the lazy stand-in for one whose str() is its path.
    return f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else str(kind)


def _is_ours(node: Any) -> bool:
    name = _type_name(node)
    if name.partition(".")[0] == _PACKAGE:
        return True
    return bool(name) and node.get("_scope_") == _PACKAGE and name in _our_names()


@cache
def _our_names() -> frozenset[str]:
    """Everything registered in this package."""
    names: set[str] = set()
    for key in registry.__all__:
        ours = getattr(registry, key)
        if hasattr(ours, "import_from_location"):
            ours.import_from_location()
            names.update(ours.module_dict)
    return frozenset(names)
