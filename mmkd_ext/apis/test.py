"""Testing: what ``tools/test.py`` and ``python -m mmkd_ext test`` call."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmkd_ext.apis.config import dump_under_another_name, load_config
from mmkd_ext.apis.errors import UserError, main_guard
from mmkd_ext.apis.launch import check_launcher
from mmkd_ext.apis.options import CONFIG_HELP, add_common_options, export_local_rank
from mmkd_ext.apis.train import (
    add_default_hooks,
    build_runner,
    report_data_root,
    set_loader_defaults,
    set_work_dir,
)

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.runner import Runner
    from torch import nn


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``test``."""
    parser = argparse.ArgumentParser(
        prog=prog, description="Test a checkpoint; a distillation config tests its student."
    )
    parser.add_argument("config", help=CONFIG_HELP)
    parser.add_argument("checkpoint", help="checkpoint: a file or an address")
    add_common_options(parser)
    parser.add_argument(
        "--out", "--dump", metavar="FILE", help="write the predictions (.pkl) or the metrics there"
    )
    parser.add_argument(
        "--out-item",
        choices=["pred", "metrics"],
        default="pred",
        help="what --out writes; metrics go to a .json, .yml or .pkl file",
    )
    parser.add_argument("--show-dir", metavar="DIR", help="draw the predictions into this folder")
    parser.add_argument(
        "--interval", type=int, default=1, help="draw one sample in so many (default: %(default)s)"
    )
    parser.add_argument("--tta", action="store_true", help="test-time augmentation")
    args = parser.parse_args(argv)
    export_local_rank(args)
    suffixes = (".pkl", ".pickle") if args.out_item == "pred" else (".json", ".yml", ".pkl")
    if args.out and not args.out.endswith(suffixes):
        parser.error(f"--out {args.out}: {args.out_item} are written to {' or '.join(suffixes)}")
    return args


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> dict[str, Any]:
    """Test from the command line; returns the metrics."""
    args = parse_args(argv, prog)
    check_launcher(args.launcher)
    cfg = load_config(args.config)
    cfg.launcher = args.launcher
    cfg.load_from = args.checkpoint
    cfg.resume = False
    set_work_dir(cfg, args.work_dir)
    if cfg.get("test_dataloader") is None:
        raise UserError(f"Config {cfg.filename} has no test_dataloader: there is nothing to test.")
    if args.data_root is not None:
        report_data_root(cfg, args.data_root)
    if args.show_dir is not None:
        _draw(cfg, args.show_dir, args.interval)
    if args.tta:
        _set_tta(cfg)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    set_loader_defaults(cfg, not args.no_pin_memory, persistent_workers=True)
    add_default_hooks(cfg)
    dump_under_another_name(cfg)
    runner = build_runner(cfg)
    check_weights_fit(runner, cfg.load_from)
    if args.out and args.out_item == "pred":
        from mmengine.evaluator import DumpResults

        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    metrics = runner.test()
    if args.out and args.out_item == "metrics" and runner.rank == 0:
        import mmengine

        mmengine.dump(metrics, args.out)
    return metrics


def check_weights_fit(runner: Runner, checkpoint: str) -> None:
    """Refuse a checkpoint of another network before an hour of testing random weights.

    mmengine loads non-strictly: what does not match is a line in the log.

    Raises:
        UserError: No weight of the checkpoint belongs to the model, or some have other shapes; or
            it lacks any of an elastic network: a search would rank random weights.
    """
    from mmengine.model import BaseTTAModel, is_model_wrapper

    from mmkd_ext.distill.checkpoint import read_checkpoint, weights_of
    from mmkd_ext.distill.export import student_weights
    from mmkd_ext.distill.unwrap import student_of

    model = runner.model
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    own = model.state_dict()
    weights = weights_of(read_checkpoint(checkpoint))
    name = type(model).__name__
    shared = [key for key in weights if key in own]
    elastic = any(hasattr(module, "set_genotype") for module in model.modules())
    if not shared and not elastic:
        raise UserError(
            f"No weight of {checkpoint} belongs to this {name}: the checkpoint begins with "
            f"{_listed(weights)}, the model with {_listed(own)}. Is it of another config?"
        )
    other = [key for key in shared if weights[key].shape != own[key].shape]
    if other:
        key = other[0]
        raise UserError(
            f"{checkpoint} is of another network: {len(other)} of {len(shared)} weights have "
            f"another shape, {key} is {tuple(weights[key].shape)} in the checkpoint and "
            f"{tuple(own[key].shape)} in the {name}. Use the config that it was trained with."
        )
    if elastic:
        _check_complete(student_of(model), student_weights(weights), checkpoint)


def _check_complete(network: nn.Module, weights: Mapping[str, Any], checkpoint: str) -> None:
    name = type(network).__name__
    try:  # networks translate other people's names when they load
        missing = set(network.load_state_dict(weights, strict=False).missing_keys)
    except RuntimeError as error:
        raise UserError(f"{checkpoint} is of another network than this {name}: {error}") from None
    missing &= {key for key, _ in network.named_parameters()}
    if missing:
        raise UserError(
            f"{checkpoint} lacks {len(missing)} weights of this {name}, such as {min(missing)}: "
            "they would be random. Is it the checkpoint of the super-network?"
        )


def _listed(keys: Any) -> str:
    return ", ".join(list(keys)[:2])


def _draw(cfg: Config, show_dir: str, interval: int) -> None:
    """Switch the task library's own visualisation hook on; each names its options otherwise."""
    hook = cfg.get("default_hooks", {}).get("visualization")
    if not isinstance(hook, dict):
        own = cfg.get("default_scope") == "mmkd_ext"
        kind = "mmkd_ext.FlowVisualizationHook" if own else "VisualizationHook"
        raise UserError(
            "--show-dir: this config has no visualization hook; add e.g. "
            f"--cfg-options default_hooks.visualization.type={kind}"
            + (" (of optical flow)." if own else ".")
        )
    hook.interval = interval
    kind = str(hook.type).rpartition(".")[2]
    if kind == "DetVisualizationHook":
        hook.draw, hook.test_out_dir = True, show_dir
    elif kind in ("SegVisualizationHook", "FlowVisualizationHook"):
        hook.draw = True
        cfg.setdefault("visualizer", dict(type="SegLocalVisualizer"))
        if kind.startswith("Flow"):
            cfg.visualizer.type = "mmkd_ext.FlowVisualizer"
        cfg.visualizer.save_dir = show_dir
        cfg.visualizer.setdefault("vis_backends", [dict(type="LocalVisBackend")])
    else:
        hook.enable, hook.out_dir = True, show_dir


def _set_tta(cfg: Config) -> None:
    dataset = cfg.test_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    if cfg.get("default_scope") == "mmpretrain":  # its tool's default: average over a flip
        cfg.setdefault("tta_model", dict(type="mmpretrain.AverageClsScoreTTA"))
        if "tta_pipeline" not in cfg:
            steps = copy.deepcopy(list(dataset.pipeline))
            flips = [dict(type="RandomFlip", prob=prob) for prob in (1.0, 0.0)]
            cfg.tta_pipeline = [
                *steps[:-1],
                dict(type="TestTimeAug", transforms=[flips, [steps[-1]]]),
            ]
    missing = [name for name in ("tta_model", "tta_pipeline") if cfg.get(name) is None]
    if missing:
        raise UserError(f"--tta: the config has no {' and no '.join(missing)}.")
    cfg.model = dict(cfg.tta_model, module=cfg.model)
    dataset.pipeline = cfg.tta_pipeline
