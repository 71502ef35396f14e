"""The segmentation configs and how a test gets a small, checkpoint-free run out of one."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from mmseg.datasets.transforms import PackSegInputs

from mmkd_ext import compat
from mmkd_ext.distill import Distiller
from tests.quiet_runner import quiet_runner

from .cls_configs import ROOT, distilled, is_distilled, terms_of

FOLDER = ROOT / "configs" / "seg"
CONFIGS = sorted(p for p in FOLDER.rglob("*.py") if "_base_" not in p.relative_to(FOLDER).parts)
DISTILLED = [path for path in CONFIGS if distilled(path)]

IMAGES = 2  # in a made batch: no fewer, or a batch norm of pooled features sees a single value
IGNORED = 255


def load(path: str | Path, size: tuple[int, int]) -> Config:
    """The config as it is, but for what a CPU without files and network cannot have.

    That is: checkpoints of teachers and of pre-training, norms over processes, and the size of the
    crops that the data preprocessor pads to.
    """
    cfg = Config.fromfile(path)
    if not is_distilled(cfg):
        make_small(cfg.model, size)
        return cfg
    make_small(cfg.model.student, size)
    cfg.model.input_shape = (3, *size)
    if "teacher" not in cfg.model:
        return cfg
    teacher = cfg.model.teacher
    assert teacher.checkpoint
    teacher.checkpoint = None
    whole = Config.fromfile(compat.resolve_config(teacher.config))
    make_small(whole.model, size)
    teacher.config = {key: whole[key] for key in ("model", "default_scope")}
    return cfg


def make_small(model: ConfigDict, size: tuple[int, int]) -> None:
    """Take out of a model's config what a CPU without files and network cannot have."""
    model.data_preprocessor.size = size
    model.pretrained = None
    model.backbone.init_cfg = None
    for part in _dicts(model):
        if part.get("type") == "SyncBN":
            part.type = "BN"


def _dicts(value: Any) -> Iterator[ConfigDict]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _dicts(item)


def runner_of(cfg: Config, work_dir: Path) -> Runner:
    """The quiet Runner, its model initialised as training does it."""
    runner = quiet_runner(cfg, work_dir)
    runner._init_model_weights()
    # Half-way through the training, past every warm-up of a loss weight.
    for name, value in dict(iter=50, max_iters=100, max_epochs=100).items():
        runner.message_hub.update_info(name, value)
    return runner


def made_batch(size: tuple[int, int], classes: int, narrower: int = 8) -> dict:
    """What the data loader hands to the model, through mmseg's own packing.

    Args:
        size: (H, W) of the crops.
        classes: Of the dataset; the maps hold labels from 0 to classes - 1, and 255.
        narrower: How many columns the images lack, for the data preprocessor to pad.
    """
    generator = np.random.default_rng(0)
    height, width = size[0], size[1] - narrower
    batch: dict[str, list] = dict(inputs=[], data_samples=[])
    for _ in range(IMAGES):
        image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        labels = generator.integers(0, classes, (height // 8, width // 8), dtype=np.uint8)
        labels = labels.repeat(8, axis=0).repeat(8, axis=1)
        labels[: height // 4] = IGNORED
        raw = dict(img=image, gt_seg_map=labels, seg_fields=["gt_seg_map"])
        raw |= dict(img_shape=(height, width), ori_shape=(height, width))
        for key, value in PackSegInputs()(raw).items():
            batch[key].append(value)
    return batch


def check_predictions(model: torch.nn.Module, size: tuple[int, int], classes: int) -> None:
    """A label for each pixel of the images, and logits for each class."""
    model.eval()
    samples = model.val_step(made_batch(size, classes, narrower=0))
    assert len(samples) == IMAGES
    for sample in samples:
        assert sample.pred_sem_seg.data.shape == (1, *size)
        assert sample.seg_logits.data.shape == (classes, *size)
        assert torch.isfinite(sample.seg_logits.data).all()
        assert 0 <= sample.pred_sem_seg.data.min() <= sample.pred_sem_seg.data.max() < classes


def check_gradients(model: Distiller, data: dict, losses: list[str]) -> None:
    """Each distillation loss reaches the backbone's first parameter."""
    model.train()
    log = model(**data, mode="loss")
    first = next(model.backbone.parameters())
    for name in losses:
        for key in terms_of(log, name):
            (gradient,) = torch.autograd.grad(log[key], first, retain_graph=True)
            assert torch.isfinite(gradient).all()
            assert gradient.abs().sum() > 0, key


@functools.cache
def stock_models() -> dict[str, dict]:
    """mmseg's own entries, by the name of the config: weights, figures."""
    found = {}
    for metafile in compat.package_configs("mmseg").rglob("metafile.yaml"):
        for entry in yaml.safe_load(metafile.read_text()).get("Models") or ():
            found[Path(entry["Config"]).stem] = entry
    return found


def own_models() -> dict[str, dict]:
    """Our entries, by name."""
    return {
        entry["Name"]: entry
        for metafile in sorted(FOLDER.rglob("metafile.yml"))
        for entry in yaml.safe_load(metafile.read_text())["Models"]
    }


def miou(entry: dict) -> float | None:
    """The figure of an entry of a metafile, percent."""
    results = entry.get("Results") or []
    for result in results if isinstance(results, list) else [results]:
        metrics = result["Metrics"]
        return metrics.get("mIoU", metrics.get("mIoU (published)"))
    return None
