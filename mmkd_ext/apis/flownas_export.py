"""Write one network of a trained FlowNAS super-network: its weights, and a config beside them.

The config tests the network, and trains it further on the super-network's data and schedule.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mmkd_ext.apis.errors import main_guard
from mmkd_ext.apis.options import CONFIG_HELP


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``flownas-export``."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("config", help=f"{CONFIG_HELP}: that of the super-network")
    parser.add_argument("checkpoint", help="of that config, or one that the authors published")
    parser.add_argument(
        "--genotype",
        required=True,
        metavar="FILE",
        help="a search's best_genotype.json; or S or K, the published architectures",
    )
    parser.add_argument(
        "--calibrate",
        type=int,
        default=0,
        metavar="N",
        help="take the statistics of batch norms from N batches of training data; needed, and "
        "possible, where the super-network has bn_mode='calibrated'",
    )
    parser.add_argument("--out-dir", metavar="DIR", help="default: the checkpoint's folder")
    parser.add_argument("--name", help="of both files (default: <config name>-subnet)")
    parser.add_argument(
        "--ema",
        action=argparse.BooleanOptionalAction,
        help="the averaged weights of an EMAHook, or (--no-ema) the raw ones; default: what "
        "testing the checkpoint uses",
    )
    parser.add_argument(
        "--input-size",
        type=int,
        nargs=2,
        default=(384, 512),
        metavar=("H", "W"),
        help="image size of the multiply-accumulates that are printed (default: 384 512)",
    )
    args = parser.parse_args(argv)
    if args.calibrate < 0:
        parser.error(f"--calibrate {args.calibrate}: it is a number of batches")
    return args


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Export, and say where and how large it is."""
    args = parse_args(argv, prog)
    # After the arguments, so that -h and a misspelt option answer at once.
    from mmkd_ext.flow.nas.subnet import export_subnet, read_genotype

    subnet = export_subnet(
        args.config,
        args.checkpoint,
        read_genotype(args.genotype),
        args.out_dir,
        args.name,
        args.calibrate,
        args.ema,
        tuple(args.input_size),
    )
    height, width = args.input_size
    print(f"weights: {subnet.weights}")
    print(f"config:  {subnet.config}")
    print(f"{subnet.params:,} parameters")
    print(f"{subnet.macs:,} MACs of the encoders, for a pair of {height} x {width} pixels")
    print("Its flow of a pair equals the super-network's, bit for bit.")
