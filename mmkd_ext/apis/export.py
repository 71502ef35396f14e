"""Write the student of a distillation run: slim weights, and its stock config beside them.

The stock library (mmpretrain, mmdet, mmseg) tests, fine-tunes and serves the result without
mmkd_ext.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mmkd_ext.apis.errors import main_guard


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``export``."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("config", help="the distillation config: a path, pkg::path, or its name")
    parser.add_argument("checkpoint", help="a checkpoint of the run, such as epoch_100.pth")
    parser.add_argument(
        "--out",
        metavar="PATH.pth",
        help="default: <config name>-student.pth in the checkpoint's folder; the config is "
        "written beside it, as .py",
    )
    parser.add_argument(
        "--ema",
        action=argparse.BooleanOptionalAction,
        help="the averaged weights of an EMAHook, or (--no-ema) the raw ones; default: what "
        "testing the checkpoint uses",
    )
    parser.add_argument(
        "--sha",
        action="store_true",
        help="add the first 8 digits of the file's SHA-256 to the names",
    )
    return parser.parse_args(argv)


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Export, and say where."""
    args = parse_args(argv, prog)
    # After the arguments, so that -h and a misspelt option answer at once.
    from mmkd_ext.distill.export import export_student

    path = export_student(args.checkpoint, args.config, args.out, args.ema, args.sha)
    print(f"weights: {path}")
    print(f"config:  {path.with_suffix('.py')}")
