"""The student alone: slim weights, and the stock config that goes with them."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from torch import Tensor, nn

from mmkd_ext.atomic_file import atomic_save, atomic_write_bytes
from mmkd_ext.compat import own_configs, resolve_config
from mmkd_ext.text import listed
from mmkd_ext.version import __version__

from .checkpoint import CheckpointError, non_finite_keys, read_checkpoint, weights_of
from .probe import untouched_random_state
from .student_config import student_config
from .teacher import build_model
from .unwrap import unwrapped

_NOT_THE_STUDENT = ("distill.", "ema_teacher.")
# Of a checkpoint's meta, what describes the weights; the rest describes the run.
_META = (
    "epoch",
    "iter",
    "seed",
    "experiment_name",
    "time",
    "mmengine_version",
    "dataset_meta",
    "classes",
    "palette",
    "CLASSES",
    "PALETTE",
)


def student_weights(source: nn.Module | Mapping[str, Any]) -> OrderedDict[str, Tensor]:
    """The student's state dict, on the CPU, under the student's own names.

    Args:
        source: A Distiller (wrapped or not), a whole checkpoint, or a state dict.
    """
    state = unwrapped(source).state_dict() if isinstance(source, nn.Module) else weights_of(source)
    weights = OrderedDict(
        (key, value.detach().cpu() if isinstance(value, Tensor) else value)
        for key, value in state.items()
        if not key.startswith(_NOT_THE_STUDENT)
    )
    metadata = getattr(state, "_metadata", None)
    if metadata is not None:
        kept = {k: v for k, v in metadata.items() if not f"{k}.".startswith(_NOT_THE_STUDENT)}
        weights._metadata = OrderedDict(kept)
    return weights


def averaged_or_raw(checkpoint: Mapping[str, Any], ema: bool | None) -> Mapping[str, Any]:
    """Which of a checkpoint's two state dicts to take, where an ``EMAHook`` ran.

    mmengine keeps the averaged weights under ``state_dict``, so that testing uses them, and those
    that training goes on with under ``ema_state_dict``.

    Args:
        checkpoint: A whole checkpoint.
        ema: True for the averaged weights, False for the raw ones, None for what testing the
            checkpoint uses.

    Raises:
        CheckpointError: Averaged weights were asked for and there are none.
    """
    raw = checkpoint.get("ema_state_dict")
    if raw is None and ema:
        raise CheckpointError(
            "the checkpoint holds no averaged weights: no EMAHook ran when it was saved; export "
            "it without asking for them"
        )
    if raw is None or ema is not False:
        return weights_of(checkpoint)
    start = "module."
    return {key.removeprefix(start): v for key, v in raw.items() if key.startswith(start)}


def slim_checkpoint(
    weights: Mapping[str, Tensor], meta: Mapping[str, Any], config_text: str | None
) -> dict[str, Any]:
    """``dict(meta, state_dict)`` as OpenMMLab's inferencers read it.

    Args:
        weights: The student's.
        meta: A full checkpoint's ``meta``, of which the part that describes the weights is kept.
        config_text: The student's plain config.
    """
    kept = {key: meta[key] for key in _META if key in meta}
    kept["mmkd_ext_version"] = __version__
    if config_text is not None:
        kept["cfg"] = config_text
    return {"meta": kept, "state_dict": weights}


def export_student(
    checkpoint_path: str | os.PathLike,
    config_path: str | os.PathLike,
    out_path: str | os.PathLike | None = None,
    ema: bool | None = None,
    sha: bool = False,
) -> Path:
    """Write the student of a distillation run, with its stock config beside it.

    Args:
        checkpoint_path: A checkpoint of the run (``epoch_N.pth``, ``best_*.pth`` ...).
        config_path: The distillation config: a path, ``'pkg::path'``, or a config name of ours.
        out_path: The file to write, ``*.pth``; by default
            ``<config name>-student.pth`` in the checkpoint's folder. The config becomes the file
            of that name that ends in ``.py``.
        ema: See :func:`averaged_or_raw`.
        sha: Add the first 8 digits of the file's SHA-256 to both names, as OpenMMLab's published
            files have it.

    Returns:
        Where the weights are.

    Raises:
        CheckpointError: The checkpoint cannot be read, or is not of this config's student.
        ValueError: The config is no distillation config, or the name is taken by a config.
        OSError: A file cannot be written.
    """
    source = Path(resolve_config(os.fspath(config_path)))
    checkpoint_path = Path(checkpoint_path).expanduser()
    default = checkpoint_path.parent / f"{source.stem}-student.pth"
    out = Path(out_path).expanduser() if out_path is not None else default
    if out.suffix != ".pth":
        raise ValueError(f"the output {out} must be a file name that ends in .pth")
    _refuse_config_name(out, source)
    config, leftovers = student_config(Config.fromfile(source))
    checkpoint = read_checkpoint(checkpoint_path)
    weights = student_weights(averaged_or_raw(checkpoint, ema))
    _require_match(weights, config, checkpoint_path)
    text = config.pretty_text  # slow: seconds for a long config
    atomic_save(slim_checkpoint(weights, checkpoint.get("meta") or {}, text), out)
    if sha:
        digest = hashlib.sha256(out.read_bytes()).hexdigest()[:8]
        out = out.replace(out.with_name(f"{out.stem}-{digest}.pth"))
    atomic_write_bytes(text.encode(), out.with_suffix(".py"))
    if leftovers:
        print_log(
            f"{out.with_suffix('.py').name} still needs mmkd_ext installed, for "
            f"{listed(leftovers)}",
            logger="current",
            level=30,
        )
    return out


def _refuse_config_name(out: Path, source: Path) -> None:
    """OpenMMLab's ``mim`` refuses a config name that it finds twice in a checkout."""
    if out.stem == source.stem or out.stem in own_configs():
        raise ValueError(
            f"the output name {out.name} would put a config {out.stem}.py beside it, and there is "
            f"a config of that name already; take another, such as {out.stem}-student.pth"
        )


def _require_match(weights: Mapping[str, Tensor], config: Config, origin: Path) -> None:
    """Refuse weights that the stock config would not load strictly."""
    with untouched_random_state():
        own = build_model(config)[0].state_dict()
    missing = [key for key in own if key not in weights]
    unexpected = [key for key in weights if key not in own]
    differing = [k for k in own if k in weights and weights[k].shape != own[k].shape]
    faults = [
        f"{what} {listed(keys, 3)}"
        for what, keys in (("missing", missing), ("unexpected", unexpected), ("shape", differing))
        if keys
    ]
    if faults:
        raise CheckpointError(
            f"{origin} is not a checkpoint of this config's student: {'; '.join(faults)}"
        )
    bad = non_finite_keys(weights)
    if bad:
        raise CheckpointError(f"{origin} holds NaN or infinite weights: {listed(bad, 3)}")
