"""The classification configs and how a test gets a small, checkpoint-free run out of one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mmkd_ext import compat
from mmkd_ext.distill import Distiller
from tests.quiet_runner import quiet_runner

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "configs" / "cls"
CONFIGS = sorted(p for p in FOLDER.rglob("*.py") if "_base_" not in p.relative_to(FOLDER).parts)


def stock_configs() -> list[Path]:
    """Every config that the installed OpenMMLab libraries carry, building blocks left out."""
    folders = [compat.package_configs(name) for name in ("mmpretrain", "mmdet", "mmseg")]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    return [path for path in files if "_base_" not in path.parts]


def code_lines(path: Path) -> list[str]:
    """Lines that are neither blank nor comment."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def load(path: Path, size: int) -> Config:
    """The config as it is, but for the teachers' checkpoints and the dry run's image size."""
    cfg = Config.fromfile(path)
    if "teacher" in cfg.model:
        assert cfg.model.teacher.checkpoint
        cfg.model.teacher.checkpoint = None
    if is_distilled(cfg):
        cfg.model.input_shape = (3, size, size)
    return cfg


def is_distilled(cfg: Config) -> bool:
    """Whether it is a distillation, and not a network trained alone."""
    return cfg.model.type == "mmkd_ext.Distiller"


def base_of(path: Path) -> str:
    """The config named by `_base_`, which is one line in every distillation config."""
    [base] = re.findall(r'^_base_ = "(.*)"$', path.read_text(), flags=re.MULTILINE)
    return base


def distilled(path: Path) -> bool:
    """Whether the file, or one of ours that it is based on, defines a Distiller."""
    text = path.read_text()
    base = re.findall(r'^_base_ = "(\./.*)"$', text, flags=re.MULTILINE)
    return "mmkd_ext.Distiller" in text or any(distilled(path.parent / name) for name in base)


def runner_of(cfg: Config, work_dir: Path) -> Runner:
    """The quiet Runner, its model initialised as training does it."""
    runner = quiet_runner(cfg, work_dir)
    runner._init_model_weights()
    # Half-way through the training, past every warm-up of a loss weight.
    for name, value in dict(iter=50, max_iters=100, max_epochs=cfg.train_cfg.max_epochs).items():
        runner.message_hub.update_info(name, value)
    return runner


def optimizer_settings(model: nn.Module, wrapper: OptimWrapper) -> dict[str, dict]:
    """For each parameter that is trained, by name, what the optimizer does with it."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    options = ("lr", "weight_decay", "momentum", "nesterov", "dampening", "betas", "eps")
    return {
        names[parameter]: {key: group[key] for key in options if key in group}
        for group in wrapper.optimizer.param_groups
        for parameter in group["params"]
    }


def made_batch(size: int, classes: int, count: int = 4) -> dict:
    """What the data loader hands to the model: raw images and samples, each label another."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, 3, size, size)
    images = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    samples = [DataSample().set_gt_label((7 * i + 1) % classes) for i in range(count)]
    for sample in samples:
        sample.set_field((size, size), "img_shape", field_type="metainfo")
    return dict(inputs=list(images), data_samples=samples)


DISTILLED = [path for path in CONFIGS if distilled(path)]


def shapes(value: Any) -> Any:
    """The shapes of tensors in the structure that they are in."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, dict):
        return {key: shapes(item) for key, item in value.items()}
    return None if value is None else [shapes(item) for item in value]


def copies(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def record_inputs(module: nn.Module, seen: list) -> RemovableHandle:
    return module.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((args, kwargs)), with_kwargs=True
    )


def check_predictions(model: BaseModel, size: int, classes: int) -> None:
    model.eval()
    for sample in model.val_step(made_batch(size, classes)):
        assert sample.pred_score.shape == (classes,)
        assert sample.pred_score.sum().item() == pytest.approx(1, abs=1e-4)


def check_gradients(model: Distiller, size: int, classes: int, losses: Iterable[str]) -> None:
    """Each distillation loss reaches the student's first parameter; nothing is left behind."""
    heads = [head for head in (model.head, getattr(model.teacher, "head", None)) if head]
    saved = [copies(head) for head in heads]
    state = copies(model)
    for head in heads:  # a ViT's starts at zero, and passes no gradient on
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
    data = model.data_preprocessor(made_batch(size, classes, count=2), training=True)
    model.train()
    log = model(**data, mode="loss")
    first = next(model.backbone.parameters())
    for name in losses:
        for key in terms_of(log, name):
            (gradient,) = torch.autograd.grad(log[key], first, retain_graph=True)
            assert torch.isfinite(gradient).all()
            assert gradient.abs().sum() > 0, key
    model.load_state_dict(state)
    for head, weights in zip(heads, saved, strict=True):
        head.load_state_dict(weights)


def terms_of(log: dict, name: str) -> list[str]:
    """What the loss `name` has logged: itself, or each of its terms."""
    keys = [key for key in log if key == f"kd.loss_{name}" or key.startswith(f"kd.loss_{name}_")]
    assert keys, (name, list(log))
    return keys
