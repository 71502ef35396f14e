"""The detection and instance-segmentation configs, and a small run without downloads out of each."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmkd_ext.distill import Distiller
from mmkd_ext.registry import MODELS
from tests.quiet_runner import quiet_runner

from .cls_configs import ROOT, base_of, distilled, optimizer_settings, terms_of

FOLDERS = [ROOT / "configs" / "det", ROOT / "configs" / "insseg"]
CONFIGS = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))
DISTILLED = [path for path in CONFIGS if distilled(path)]

# Height and width of the made images, which the data preprocessor pads to a common size.
SIZES = [(120, 150), (100, 160)]
PADDED = (128, 160)
# Per image: x1, y1, x2, y2 in pixels, and the class.
OBJECTS = [
    [(10, 12, 60, 70, 3), (70, 20, 140, 110, 17), (30, 80, 52, 98, 0)],
    [(5, 5, 90, 95, 79), (100, 30, 150, 60, 3)],
]


def student_base(path: Path) -> str:
    """The student's own config, in mmdet or ours, behind our Distillers based on one another."""
    base = base_of(path)
    ours = (path.parent / base).resolve()
    return student_base(ours) if "::" not in base and ours in DISTILLED else base_path(path)


def base_path(path: Path) -> str:
    """What a config is based on, so that a file anywhere else can name it."""
    base = base_of(path)
    return base if "::" in base else str((path.parent / base).resolve())


def stock(base: str) -> Config:
    """A stock config, read as the base of one of ours is."""
    with tempfile.TemporaryDirectory() as folder:
        stub = Path(folder) / "stock_student.py"
        stub.write_text(f'_base_ = "{base}"\n')
        return Config.fromfile(stub)


def load(path: Path) -> Config:
    """The config, but for the teacher's checkpoint, the dry run's size and a score threshold."""
    cfg = Config.fromfile(path)
    if path in DISTILLED:
        if "teacher" in cfg.model:
            assert cfg.model.teacher.checkpoint
            cfg.model.teacher.checkpoint = None
        cfg.model.input_shape = (3, *PADDED)
        if "bbox_head" in cfg.model.student:  # an untrained one-stage head is sure of nothing
            cfg.model.student.test_cfg.score_thr = 0.0
    return cfg


def runner_of(cfg: Config, work_dir: Path) -> Runner:
    """The quiet Runner, its model initialised as training does it."""
    runner = quiet_runner(cfg, work_dir)
    model = runner.model
    teachers = model.teachers.values() if isinstance(model, Distiller) else ()
    for network in [model, *(member.model for member in teachers)]:
        # It would download ImageNet weights; so it stays as its layers are made.
        assert network.backbone.init_cfg["type"] == "Pretrained"
        network.backbone.init_cfg = None
    runner._init_model_weights()
    return runner


@functools.cache
def stock_student(base: str) -> tuple[dict[str, dict], set[str]]:
    """Of the stock config's model: its optimizer settings, and the names of its tensors."""
    cfg = stock(base)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(cfg.model)
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    return optimizer_settings(model, wrapper), set(model.state_dict())


def made_batch(masks: bool) -> dict:
    """What the data loader hands to the model: two raw images of unequal size, and samples."""
    generator = torch.Generator().manual_seed(0)
    images, samples = [], []
    for (height, width), objects in zip(SIZES, OBJECTS, strict=True):
        shape = (3, height, width)
        images.append(torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8))
        instances = InstanceData()
        instances.bboxes = HorizontalBoxes(torch.tensor([box[:4] for box in objects]).float())
        instances.labels = torch.tensor([box[4] for box in objects])
        if masks:
            bits = np.zeros((len(objects), height, width), dtype=np.uint8)
            for bit, (left, top, right, bottom, _) in zip(bits, objects, strict=True):
                bit[top:bottom, left:right] = 1
            instances.masks = BitmapMasks(bits, height, width)
        sample = DetDataSample(gt_instances=instances, ignored_instances=InstanceData())
        sample.ignored_instances.bboxes = HorizontalBoxes(torch.zeros(0, 4))
        meta = dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0))
        sample.set_metainfo(meta)
        samples.append(sample)
    return dict(inputs=images, data_samples=samples)


def network_name(model: nn.Module) -> str:
    """Such as 'RetinaNet ResNeXt-101-64x4d', with 'DCN' behind it where it has such layers.

    Of a plain ViT the number is its tokens' width.
    """
    backbone = model.backbone
    size = backbone.depth if hasattr(backbone, "depth") else backbone.embed_dims
    name = f"{type(model).__name__} {type(backbone).__name__}-{size}"
    if hasattr(backbone, "groups"):
        name += f"-{backbone.groups}x{backbone.base_width}d"
    deformable = any("DeformConv" in type(module).__name__ for module in backbone.modules())
    return name + " DCN" if deformable else name


def check_gradients(
    model: Distiller, losses: dict[str, Tensor], tapped: dict[str, tuple[Any, ...]]
) -> None:
    """Each distillation loss, and every kind of its terms, reaches the student's backbone.

    Args:
        model: After a forward, before the backward.
        losses: What that gave.
        tapped: What each distillation loss was called with.
    """
    first = next(p for p in model.backbone.parameters() if p.requires_grad)
    kinds: dict[str, float] = {}
    for name, arguments in tapped.items():
        reached = 0.0
        for key in terms_of(losses, name):
            strength = _strength(losses[key], first)
            kind = key.removeprefix(f"kd.loss_{name}")
            kinds[kind] = kinds.get(kind, 0.0) + strength
            reached += strength
        if not reached:  # a mask may hide all of the few cells that the coarsest level has
            again = [model.distill[name](*arguments) for _ in range(20)]
            reached = sum(_strength(value, first) for value in again)
        assert reached > 0, name
    assert min(kinds.values()) > 0, kinds


def _strength(loss: Tensor, parameter: nn.Parameter) -> float:
    (gradient,) = torch.autograd.grad(loss, parameter, retain_graph=True)
    assert torch.isfinite(gradient).all()
    return gradient.abs().sum().item()


def norm_after_clipping(wrapper: OptimWrapper) -> float | None:
    """Of gradients that were far too large, once the optimizer has stepped; None if as large."""
    held = [p for group in wrapper.optimizer.param_groups for p in group["params"]]
    held = [parameter for parameter in held if parameter.requires_grad]
    for parameter in held:
        parameter.grad = torch.ones_like(parameter)
    wrapper.step()
    square = sum(parameter.grad.double().square().sum().item() for parameter in held)
    return None if square == sum(parameter.numel() for parameter in held) else square**0.5
