"""From a trained super-network's run to the files of one plain network: weights and a config."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import nn

from mmkd_ext.atomic_file import atomic_save, atomic_write_text
from mmkd_ext.compat import own_configs, resolve_config
from mmkd_ext.distill.checkpoint import CheckpointError, non_finite_keys, read_checkpoint
from mmkd_ext.distill.export import averaged_or_raw, slim_checkpoint, student_weights
from mmkd_ext.distill.probe import untouched_random_state
from mmkd_ext.distill.teacher import build_model
from mmkd_ext.hooks.random_state import seed_generators
from mmkd_ext.text import listed

from .calibration import calibrating
from .export import export_config, export_network
from .genotype import FLOWNAS_K, FLOWNAS_S, Genotype
from .network import elastic_encoders, set_genotype
from .space import FlowNASSpace

NAMED = {"S": FLOWNAS_S, "K": FLOWNAS_K}
_OF_THE_SUPERNET = ("space", "bn_mode", "random_subnets", "seed")
_OF_THE_RUN = ("work_dir", "resume", "experiment_name")
_NEED_A_DISTILLER = (
    "CostReportHook",
    "FeatureMapHook",
    "StudentCheckpointHook",
    "TeacherCheckHook",
)


@dataclass(frozen=True)
class Subnet:
    """What was exported.

    Attributes:
        weights: The checkpoint.
        config: The config beside it.
        genotype: Of the network.
        params: Parameters of the whole network.
        macs: Multiply-accumulates of its encoders for a pair of images.
    """

    weights: Path
    config: Path
    genotype: Genotype
    params: int
    macs: int


def read_genotype(source: str | os.PathLike) -> Mapping[str, Sequence[int]]:
    """A genotype by name or from a file.

    Args:
        source: ``'S'`` or ``'K'``, the published ones, or a JSON file: a genotype, or an object
            that holds it under ``genotype``, such as a search's ``best_genotype.json``.

    Raises:
        ValueError: No such name or file, or there is no genotype in it.
    """
    name = os.fspath(source)
    if name in NAMED:
        return NAMED[name]
    path = Path(name).expanduser()
    if not path.is_file():
        raise ValueError(
            f"genotype {name!r}: there is no such file; give S, K or a search's best_genotype.json"
        )
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"genotype {path}: it is no JSON ({error})") from None
    genotype = content.get("genotype", content) if isinstance(content, Mapping) else content
    if not isinstance(genotype, Mapping):
        raise ValueError(f"genotype {path}: there is no genotype in it, but {content!r:.80}")
    return genotype


def subnet_config(cfg: Config, genotype: Genotype, load_from: str) -> Config:
    """The config that trains and tests one plain network on a super-network's data and schedule.

    Teacher and losses of a Distiller go, and so does what belongs to the run or to a search.

    Args:
        cfg: Of the super-network, distilled or not, or of a search in it.
        genotype: Of its space.
        load_from: The weights that training begins with.

    Raises:
        ValueError: The model is no super-network, or the genotype is none of its space.
    """
    plain = ConfigDict(copy.deepcopy(cfg._cfg_dict.to_dict()))
    model = plain.model
    if "student" in model and "losses" in model:
        if "data_preprocessor" in model:
            model.student.setdefault("data_preprocessor", model.data_preprocessor)
        model = model.student
        _drop_distilling_hooks(plain)
    plain.model = ConfigDict(export_config(_spelled_out(model), genotype))
    for key in _OF_THE_RUN:
        plain.pop(key, None)
    if _kind(plain.get("model_wrapper_cfg")) == "PassesDataParallel":
        del plain["model_wrapper_cfg"]
    if _kind(plain.get("test_cfg")) == "EvolutionSearchLoop":
        plain.test_cfg = {}
    plain.load_from = load_from
    return Config(plain, format_python_code=cfg._format_python_code)


def export_subnet(
    config: str | os.PathLike,
    checkpoint: str | os.PathLike,
    genotype: Mapping[str, Sequence[int]],
    out_dir: str | os.PathLike | None = None,
    name: str | None = None,
    calibrate: int = 0,
    ema: bool | None = None,
    input_size: tuple[int, int] = (384, 512),
) -> Subnet:
    """Write one network of a trained super-network: ``NAME.pth``, and ``NAME.py`` beside it.

    The files are written after the network that the config builds, with these weights, has given
    the super-network's flow of an image pair, bit for bit.

    Args:
        config: Of the super-network, distilled or not: a path, ``'pkg::path'``, or a name of ours.
        checkpoint: Its weights, read without running code that they may hold.
        genotype: Of its space.
        out_dir: Where to; None: beside the checkpoint.
        name: Of both files; None: ``<config's name>-subnet``.
        calibrate: Take the statistics of batch norms from so many batches of training data first,
            as ``bn_mode='calibrated'`` needs it.
        ema: See :func:`~mmkd_ext.distill.export.averaged_or_raw`.
        input_size: (H, W) in pixels, for the multiply-accumulates.

    Raises:
        CheckpointError: The checkpoint cannot be read, or is not of this super-network.
        ValueError: The genotype is none of its space, there is nothing to calibrate or something
            not calibrated, or a name that is taken.
        RuntimeError: The flows differ.
        OSError: A file cannot be written.
    """
    source = Path(resolve_config(os.fspath(config)))
    folder = Path(out_dir).expanduser() if out_dir is not None else Path(checkpoint).parent
    name = name or f"{source.stem}-subnet"
    if name in own_configs():
        raise ValueError(f"the name {name} is that of a config of ours; take another by --name")
    cfg = Config.fromfile(source)
    content = read_checkpoint(checkpoint)
    with untouched_random_state():
        network, _ = build_model(cfg)
        encoders = list(elastic_encoders(network).values())
        space = getattr(network, "space", encoders[0].space)
        genotype = space.check(genotype)
        plain = subnet_config(cfg, genotype, f"{{{{ fileDirname }}}}/{name}.pth")
        _load(network, student_weights(averaged_or_raw(content, ema)), checkpoint)
        set_genotype(network, genotype)
        network.eval()
        if calibrate:
            _calibrate(network, cfg, calibrate)
        elif any(encoder.bn_mode == "calibrated" for encoder in encoders):
            raise ValueError(
                "this super-network has bn_mode='calibrated': statistics of batch norms are taken "
                "for each network anew; say of how many batches by --calibrate, such as 50"
            )
        weights = student_weights(export_network(network))
        _compare(network, plain, weights)
    text = plain.pretty_text  # slow: seconds for a long config
    exported = slim_checkpoint(weights, content.get("meta") or {}, text)
    exported["meta"]["genotype"] = genotype
    atomic_save(exported, folder / f"{name}.pth")
    atomic_write_text(text, folder / f"{name}.py")
    params = space.params(genotype), space.macs(genotype, input_size)
    return Subnet(folder / f"{name}.pth", folder / f"{name}.py", genotype, *params)


def _load(network: nn.Module, weights: Mapping[str, Any], origin: str | os.PathLike) -> None:
    bad = non_finite_keys(weights)
    if bad:
        raise CheckpointError(f"{origin} holds NaN or infinite weights: {listed(bad, 3)}")
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        faults = [line.strip() for line in str(error).splitlines()[1:]]
        raise CheckpointError(
            f"{origin} is not a checkpoint of this config's super-network: {' '.join(faults):.300}"
        ) from None


def _calibrate(network: nn.Module, cfg: Config, batches: int) -> None:
    seed_generators(0)
    loader = copy.deepcopy(cfg.train_dataloader)
    loader.update(num_workers=0, persistent_workers=False)
    loader.pop("prefetch_factor", None)
    with torch.no_grad(), calibrating(network):
        with DefaultScope.overwrite_default_scope(cfg.get("default_scope")):
            data = Runner.build_dataloader(loader, seed=0)
        for batch in islice(data, batches):
            inputs = network.data_preprocessor(batch, False)["inputs"]
            network.estimate(inputs, iters=1, last_only=True)


@torch.no_grad()
def _compare(network: nn.Module, plain: Config, weights: Mapping[str, Any]) -> None:
    """Refuse to go on unless both networks give the same flow."""
    again, _ = build_model(plain)
    again.load_state_dict(weights)
    generator = torch.Generator().manual_seed(0)
    pair = torch.rand(1, 2, 3, 128, 160, generator=generator) * 2 - 1
    flow, wanted = (model.eval().estimate(pair, iters=2)[0][-1] for model in (again, network))
    if not torch.equal(flow, wanted):
        worst = (flow - wanted).abs().max().item()
        raise RuntimeError(
            f"the exported network's flow differs from the super-network's by up to {worst:g} "
            "pixels; nothing was written"
        )


def _spelled_out(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a FlowNASSupernet, the RAFT with elastic encoders that it is; others as they are."""
    if _kind(model) != "FlowNASSupernet":
        return model
    space = FlowNASSpace.of(model.get("space"))
    encoder = {"type": "mmkd_ext.ElasticFlowEncoder", "bn_mode": model.get("bn_mode", "frozen01")}
    if model.get("space") is not None:
        encoder["space"] = model["space"]
    return {
        **{key: value for key, value in model.items() if key not in _OF_THE_SUPERNET},
        "type": "mmkd_ext.RAFT",
        "feature_encoder": {**encoder, "norm": "instance", "output_dim": space.feature_dim},
        "context_encoder": {**encoder, "norm": "batch", "output_dim": space.context_dim},
    }


def _drop_distilling_hooks(cfg: ConfigDict) -> None:
    if cfg.get("custom_hooks"):
        kept = [hook for hook in cfg.custom_hooks if _kind(hook) not in _NEED_A_DISTILLER]
        cfg.custom_hooks = kept
    for key, hook in dict(cfg.get("default_hooks") or {}).items():
        if _kind(hook) in _NEED_A_DISTILLER:
            del cfg.default_hooks[key]


def _kind(node: Any) -> str:
    """The last part of a config's ``type``."""
    return str(node.get("type")).rpartition(".")[2] if isinstance(node, Mapping) else ""
