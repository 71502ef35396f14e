"""Follow objects through a video: masks of the frames where they appear in, masks of all out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmkd_ext.apis.errors import main_guard
from mmkd_ext.apis.options import CONFIG_HELP


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``vos-infer``."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("config", help=f"{CONFIG_HELP}; of a distillation, the student is used")
    parser.add_argument("checkpoint", help="of that config")
    parser.add_argument("frames", help="a folder of images, or a video file")
    parser.add_argument(
        "masks",
        help="a folder of indexed PNGs, as DAVIS has them: one called as the frame for each frame "
        "where objects appear, the first included; of a video file called by number (00000.png)",
    )
    parser.add_argument(
        "--out-dir", metavar="DIR", help="default: vos_results/<name of the folder or file>"
    )
    parser.add_argument("--device", help="such as cuda:1 or cpu (default: the GPU if there is one)")
    parser.add_argument(
        "--size",
        type=int,
        nargs="+",
        metavar="N",
        help="how large the network sees the frames: the short side, or height and width; results "
        "have the frames' size (default: the config's)",
    )
    parser.add_argument(
        "--mem-every", type=int, metavar="N", help="memorise every N frames (default: the config's)"
    )
    parser.add_argument(
        "--scales",
        type=float,
        nargs="+",
        metavar="F",
        help="see the frames at several factors of that size, and take the mean (default: the "
        "config's, else 1)",
    )
    parser.add_argument(
        "--flip", action="store_true", default=None, help="see them mirrored, too: twice the time"
    )
    parser.add_argument("--amp", action="store_true", help="compute in bfloat16 where that is safe")
    parser.add_argument(
        "--seed", type=int, help="of the memory (default: as in testing, from the video's name)"
    )
    parser.add_argument(
        "--fps", type=float, help="of the overlay video (default: as the video file, or 24)"
    )
    parser.add_argument("--no-overlay", action="store_true", help="write masks only")
    args = parser.parse_args(argv)
    if args.size is not None and len(args.size) > 2:
        parser.error("--size takes the short side, or height and width")
    if args.fps is not None and args.fps <= 0:
        parser.error("--fps takes a number above 0")
    return args


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Follow the objects, write the results, and say where."""
    args = parse_args(argv, prog)
    # After the arguments, so that -h and a misspelt option answer at once.
    from mmkd_ext.apis.config import load_config
    from mmkd_ext.vos import VOSInferencer

    size = args.size or "config"
    if args.size is not None and len(args.size) == 1:
        size = args.size[0]
    inferencer = VOSInferencer(
        load_config(args.config),
        args.checkpoint,
        args.device,
        size=size,
        mem_every=args.mem_every,
        scales=args.scales,
        flip=args.flip,
        amp=args.amp,
        seed=args.seed,
    )
    out_dir = Path(args.out_dir or Path("vos_results") / Path(args.frames).resolve().stem)
    options = dict(overlays=not args.no_overlay, fps=args.fps, progress=True)
    for _ in inferencer(args.frames, args.masks, out_dir, **options):
        pass
    print(f"masks:    {out_dir / 'masks'}")
    if not args.no_overlay:
        print(f"overlays: {out_dir / 'overlay'}, {out_dir / 'overlay.mp4'}")
