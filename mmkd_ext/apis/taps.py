"""What can be tapped: the modules of a config's network, and what they put out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from mmkd_ext.apis.errors import UserError, main_guard
from mmkd_ext.apis.options import CONFIG_HELP, options_action

if TYPE_CHECKING:
    from torch import nn

_BESIDE_NAMES = 60  # columns of the other columns: shapes fold into what is left of it


@dataclass
class TapRow:
    """One module that ran.

    Attributes:
        name: Its dotted name, which is the tap.
        kind: Its class.
        output: What it put out when it first ran, as shapes.
        firings: How often it ran in one forward.
        parameters: Of it and all below it.
    """

    name: str
    kind: str
    output: str
    firings: int
    parameters: int


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``taps``."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description="List the modules of a network in the order they run, with what they put out "
        "for one blank image: any of these names is a tap. Weights are not read.",
    )
    parser.add_argument("config", help=f"{CONFIG_HELP}; of a distillation, its student is listed")
    parser.add_argument(
        "--teacher",
        nargs="?",
        const="",
        metavar="NAME",
        help="list the distillation's teacher, or the one of that name, instead",
    )
    parser.add_argument(
        "--match", default="*", metavar="GLOB", help="only these, such as 'neck.*' or '*conv'"
    )
    parser.add_argument(
        "--depth", type=int, metavar="N", help="only names of at most N parts (backbone.layer4: 2)"
    )
    parser.add_argument(
        "--shape",
        type=int,
        nargs=3,
        default=(3, 224, 224),
        metavar=("C", "H", "W"),
        help="of the blank image (default: 3 224 224)",
    )
    parser.add_argument("--cfg-options", nargs="+", action=options_action(), metavar="KEY=VALUE")
    args = parser.parse_args(argv)
    if min(args.shape) < 1 or (args.depth is not None and args.depth < 1):
        parser.error("--shape and --depth take numbers of at least 1")
    return args


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """List the taps from the command line."""
    args = parse_args(argv, prog)
    from mmkd_ext.apis.config import load_config
    from mmkd_ext.distill.teacher import build_model

    cfg = load_config(args.config, args.cfg_options)
    model, _ = build_model(cfg if args.teacher is None else teacher_of(cfg, args.teacher))
    rows, remark = list_taps(model, args.shape)
    shown = [
        row
        for row in rows
        if fnmatch(row.name, args.match) and (args.depth or 99) > row.name.count(".")
    ]
    if not shown:
        raise UserError(f"Of {len(rows)} modules that ran, none matches {args.match!r}. {remark}")
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in ("tap", "module", "puts out", "runs", "parameters"):
        table.add_column(heading, no_wrap=heading != "puts out")
    for row in shown:
        times = "" if row.firings == 1 else f"{row.firings} x"
        table.add_row(row.name, row.kind, row.output, times, f"{row.parameters:,}")
    # Names are to be copied: a narrow terminal must not cut them.
    names = max(len(row.name) for row in shown) + max(len(row.kind) for row in shown)
    console = Console(width=max(Console().width, names + _BESIDE_NAMES))
    console.print(table)
    if remark:
        console.print(remark, highlight=False)


def teacher_of(cfg: Any, name: str) -> Any:
    """The config of a distillation's teacher, as ``build_model`` takes it.

    Raises:
        UserError: There is none, or none of that name, or it has no config.
    """
    from mmkd_ext.distill.teacher_args import teacher_args

    model = cfg.get("model") or {}
    teachers = dict(model.get("teachers") or {})
    if model.get("teacher") is not None:
        teachers.setdefault("teacher", model["teacher"])
    name = name or next(iter(teachers), "")
    if name not in teachers:
        known = ", ".join(teachers) or "none"
        raise UserError(f"--teacher {name}: the teachers of {cfg.filename} are: {known}.")
    kind, args = teacher_args(teachers[name], name)
    if kind == "EMATeacher":
        return cfg  # its network is the student's
    if "config" not in args:
        raise UserError(f"--teacher {name}: {teachers[name]} has no config.")
    network = args["config"]
    if isinstance(network, str) or "model" in network:
        return network
    return {"model": network, "default_scope": cfg.get("default_scope")}


def list_taps(model: nn.Module, shape: Sequence[int]) -> tuple[list[TapRow], str]:
    """Run a network once on a blank image, and note what each module puts out.

    Args:
        model: With mmengine's ``forward(inputs, data_samples, mode)``.
        shape: ``(C, H, W)`` of the image.

    Returns:
        The modules in the order in which they ended, and a remark where the forward failed on the
        way.
    """
    import torch
    from mmengine.structures import BaseDataElement

    from mmkd_ext.distill.probe import untouched_random_state
    from mmkd_ext.distill.taps import describe

    rows: dict[str, TapRow] = {}

    def note(name: str, module: nn.Module, output: Any) -> None:
        if name in rows:
            rows[name].firings += 1
            return
        count = sum(p.numel() for p in module.parameters())
        rows[name] = TapRow(name, type(module).__name__, describe(output), 1, count)

    handles = [
        module.register_forward_hook(lambda m, _, output, name=name: note(name, m, output))
        for name, module in model.named_modules()
        if name
    ]
    size = tuple(shape[1:])
    sizes = dict.fromkeys(("img_shape", "ori_shape", "pad_shape", "batch_input_shape"), size)
    # Two-stage detectors read their proposals' image size.
    sample = BaseDataElement(metainfo={**sizes, "scale_factor": (1.0, 1.0)})
    remark = ""
    model.eval()
    try:
        with untouched_random_state(), torch.no_grad():
            model(torch.zeros(1, *shape), [sample], mode="tensor")
    except Exception as error:
        remark = (
            f"The forward ended early on a blank image of {tuple(shape)} ({type(error).__name__}: "
            f"{error}); modules after that are missing here. Another --shape may do."
        )
    finally:
        for handle in handles:
            handle.remove()
    return list(rows.values()), remark
