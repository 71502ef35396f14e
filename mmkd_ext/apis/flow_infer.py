"""Optical flow of two images, of a folder of frames, or of a video."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmkd_ext.apis.errors import main_guard
from mmkd_ext.apis.options import CONFIG_HELP


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``flow-infer``."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("config", help=f"{CONFIG_HELP}; of a distillation, the student is used")
    parser.add_argument(
        "checkpoint", help="of that config; for RAFT also torchvision's or the original's"
    )
    parser.add_argument(
        "images",
        nargs="+",
        help="two images; or a folder of images, or a video file: from each frame to the next",
    )
    parser.add_argument(
        "--out-dir",
        metavar="DIR",
        help="default: flow_results/<name of the folder, the video or the first image>",
    )
    parser.add_argument(
        "--format",
        choices=("flo", "png", "pfm"),
        default="flo",
        help="of the flow: Middlebury's .flo, KITTI's 16-bit PNG, PFM (default: %(default)s)",
    )
    parser.add_argument("--no-color", action="store_true", help="write no colour pictures")
    parser.add_argument(
        "--warped",
        action="store_true",
        help="write the second images warped back by the flow as well, and by how much that "
        "brings them nearer to the first",
    )
    parser.add_argument(
        "--max-radius",
        type=float,
        metavar="PIXELS",
        help="motion that gets the full colour (default: the largest there is)",
    )
    parser.add_argument("--iters", type=int, metavar="N", help="iterations (default: the config's)")
    parser.add_argument(
        "--warm-start",
        action=argparse.BooleanOptionalAction,
        help="begin each pair of a video with the flow of the pair before (default: the config's)",
    )
    parser.add_argument("--device", help="such as cuda:1 or cpu (default: the GPU if there is one)")
    parser.add_argument("--amp", action="store_true", help="compute in bfloat16 where that is safe")
    args = parser.parse_args(argv)
    if len(args.images) > 2:
        parser.error("give two images, or one folder or video")
    return args


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Estimate the flow, write it, and say where."""
    args = parse_args(argv, prog)
    # After the arguments, so that -h and a misspelt option answer at once.
    from mmkd_ext.apis.config import load_config
    from mmkd_ext.flow import FlowInferencer

    inferencer = FlowInferencer(
        load_config(args.config),
        args.checkpoint,
        args.device,
        iters=args.iters,
        warm_start=args.warm_start,
        amp=args.amp,
    )
    frames = args.images if len(args.images) == 2 else args.images[0]
    out_dir = Path(args.out_dir or Path("flow_results") / Path(args.images[0]).resolve().stem)
    writing = dict(
        suffix=f".{args.format}",
        colors=not args.no_color,
        warped=args.warped,
        max_radius=args.max_radius,
    )
    for _ in inferencer.video(frames, out_dir, progress=True, **writing):
        pass
    print(f"flow:   {out_dir / 'flow'}")
    if not args.no_color:
        print(f"color:  {out_dir / 'color'}")
    if args.warped:
        print(f"warped: {out_dir / 'warped'}")
