"""Another number of epochs for a config, its learning-rate schedule scaled with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmkd_ext.apis.errors import UserError

if TYPE_CHECKING:
    from mmengine.config import Config


def epoch_options(cfg: Config, epochs: int) -> dict[str, Any]:
    """What to change, as ``--cfg-options`` would say it, so that training takes ``epochs`` epochs.

    Begin, end, period and milestones of every scheduler are scaled alike and rounded.

    Raises:
        UserError: The config, or one of its schedulers, counts iterations.
    """
    total = (cfg.get("train_cfg") or {}).get("max_epochs")
    if not total:
        raise UserError(
            f"Config {cfg.filename} does not train by epochs (train_cfg.max_epochs), so its epochs "
            "cannot be set; change train_cfg.max_iters and its schedule with --cfg-options."
        )
    options: dict[str, Any] = {"train_cfg.max_epochs": epochs}
    if cfg.train_cfg.get("val_interval", 1) > epochs:
        options["train_cfg.val_interval"] = epochs
    schedulers = cfg.get("param_scheduler") or []
    alone = isinstance(schedulers, dict)
    for i, scheduler in enumerate([schedulers] if alone else schedulers):
        key = "param_scheduler" if alone else f"param_scheduler.{i}"
        if not scheduler.get("by_epoch", True):
            raise UserError(
                f"Config {cfg.filename}: {key} ({scheduler['type']}) counts iterations, so it "
                "cannot be scaled to a number of epochs; set it with --cfg-options."
            )
        scaled = _scaled(scheduler, epochs / total)
        options |= {f"{key}.{name}": value for name, value in scaled.items()}
    return options


def _scaled(scheduler: dict, ratio: float) -> dict[str, Any]:
    scaled: dict[str, Any] = {}
    if "begin" in scheduler:
        scaled["begin"] = round(scheduler["begin"] * ratio)
    begin = scaled.get("begin", 0)
    if "end" in scheduler:
        scaled["end"] = max(round(scheduler["end"] * ratio), begin + 1)
    if "T_max" in scheduler:
        to_the_end = scheduler["T_max"] == scheduler.get("end", 0) - scheduler.get("begin", 0)
        scaled["T_max"] = (
            scaled["end"] - begin if to_the_end else max(round(scheduler["T_max"] * ratio), 1)
        )
    if "milestones" in scheduler:
        scaled["milestones"] = [max(round(m * ratio), 1) for m in scheduler["milestones"]]
    return scaled
