"""Another number of epochs for a config; learning rates and loss weights are scaled with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmkd_ext.apis.errors import UserError

if TYPE_CHECKING:
    from mmengine.config import Config

# Schedulers of which begin, end and the settings below are all that counts epochs.
_KNOWN = {
    "ConstantLR": (),
    "CosineAnnealingLR": ("T_max",),
    "ExponentialLR": ("gamma",),
    "LinearLR": (),
    "MultiStepLR": ("milestones",),
    "PolyLR": (),
    "StepLR": ("step_size", "gamma"),
}


def epoch_options(cfg: Config, epochs: int) -> dict[str, Any]:
    """What to change, as ``--cfg-options`` would say it, so that training takes ``epochs`` epochs.

    Every scheduler and every schedule of a distillation loss is scaled alike. Those of the learning
    rate begin and end with whole epochs; where one began as another ended, it still does.

    Raises:
        UserError: The config, or one of its schedulers, counts iterations, or a scheduler is of a
            type that cannot be scaled.
    """
    total = (cfg.get("train_cfg") or {}).get("max_epochs")
    if not total:
        raise UserError(
            f"Config {cfg.filename} does not train by epochs (train_cfg.max_epochs), so its epochs "
            "cannot be set; change train_cfg.max_iters and its schedule with --cfg-options."
        )
    ratio = epochs / total
    options: dict[str, Any] = {"train_cfg.max_epochs": epochs}
    if cfg.train_cfg.get("val_interval", 1) > epochs:
        options["train_cfg.val_interval"] = epochs
    if cfg.train_cfg.get("val_begin", 1) > 1:
        options["train_cfg.val_begin"] = max(round(cfg.train_cfg.val_begin * ratio), 1)
    schedulers = cfg.get("param_scheduler") or []
    alone = isinstance(schedulers, Mapping)
    ends: dict[int, int] = {}  # of the schedulers so far: old end -> new end
    for i, scheduler in enumerate([schedulers] if alone else schedulers):
        key = "param_scheduler" if alone else f"param_scheduler.{i}"
        scaled = _scaled(scheduler, ratio, ends, f"Config {cfg.filename}: {key}")
        options |= {f"{key}.{name}": value for name, value in scaled.items()}
    for name, loss in (cfg.get("model", {}).get("losses") or {}).items():
        options |= _scaled_weights(loss.get("schedule"), f"model.losses.{name}.schedule", ratio)
    return options


def _scaled(scheduler: Mapping, ratio: float, ends: dict[int, int], where: str) -> dict[str, Any]:
    kind = str(scheduler["type"]).rpartition(".")[2]
    if not scheduler.get("by_epoch", True):
        raise UserError(
            f"{where} ({kind}) counts iterations, so it cannot be scaled to a number of epochs; "
            "set it with --cfg-options."
        )
    if kind not in _KNOWN:
        raise UserError(
            f"{where} ({kind}) cannot be scaled to a number of epochs; set it, and "
            "train_cfg.max_epochs, with --cfg-options."
        )
    scaled: dict[str, Any] = {}
    begin = scheduler.get("begin", 0)
    new_begin = ends.get(begin, round(begin * ratio))
    if "begin" in scheduler:
        scaled["begin"] = new_begin
    if "end" in scheduler:
        scaled["end"] = max(round(scheduler["end"] * ratio), new_begin + 1)
        ends[scheduler["end"]] = scaled["end"]
    for name in _KNOWN[kind]:
        if name in scheduler:
            scaled[name] = _setting(name, scheduler, scaled, ratio, new_begin)
    return scaled


def _setting(
    name: str, scheduler: Mapping, scaled: dict[str, Any], ratio: float, begin: int
) -> Any:
    if name == "milestones":
        return [max(round(milestone * ratio), 1) for milestone in scheduler[name]]
    if name == "step_size":
        return max(round(scheduler[name] * ratio), 1)
    if name == "T_max":
        to_the_end = scheduler[name] == scheduler.get("end", 0) - scheduler.get("begin", 0)
        return scaled["end"] - begin if to_the_end else max(round(scheduler[name] * ratio), 1)
    # gamma: as much decay in all, whatever step_size was rounded to (a rate decays every epoch)
    old_step = scheduler.get("step_size", 1)
    return scheduler[name] ** (scaled.get("step_size", 1) / (old_step * ratio))


def _scaled_weights(schedule: Any, key: str, ratio: float) -> dict[str, Any]:
    if isinstance(schedule, (list, tuple)):
        parts = [_scaled_weights(part, f"{key}.{i}", ratio) for i, part in enumerate(schedule)]
        return {name: value for part in parts for name, value in part.items()}
    if not isinstance(schedule, Mapping) or schedule.get("by", "epoch") != "epoch":
        return {}
    bounds = {name: schedule.get(name) for name in ("begin", "end")}
    return {f"{key}.{name}": value * ratio for name, value in bounds.items() if value}
