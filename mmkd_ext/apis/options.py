"""Command-line options that training and testing share; nothing heavy is imported here."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

CONFIG_HELP = "config: a path, pkg::folder/name.py, or a bare name of ours"


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every OpenMMLab tool has, and ``--data-root``."""
    parser.add_argument("--work-dir", help="folder for logs and checkpoints")
    parser.add_argument(
        "--data-root",
        metavar="PATH",
        help="data folder; replaces the `data_root` of every dataset and every path under it, "
        "those of the evaluators included",
    )
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=options_action(),
        metavar="KEY=VALUE",
        help="override values of the config: key=value, key=a,b or key='[a,b]' for lists, "
        'key="[(a,b),(c,d)]" for nested ones; no blanks inside',
    )
    parser.add_argument(
        "--no-pin-memory", action="store_true", help="do not pin the memory of batches"
    )
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="what started the processes of this run",
    )
    # torch.distributed.launch passes one spelling or the other, by its version.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def export_local_rank(args: argparse.Namespace) -> None:
    """Hand ``--local-rank`` on the way mmengine reads it."""
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))


def options_action() -> type[argparse.Action]:
    """Mmengine's ``DictAction``, with a clear message for an item that has no ``=``."""
    from mmengine.config import DictAction

    class OptionsAction(DictAction):
        def __call__(
            self,
            parser: argparse.ArgumentParser,
            namespace: argparse.Namespace,
            values: Sequence[str],
            option_string: str | None = None,
        ) -> Any:
            for item in values:
                if "=" not in item:
                    parser.error(f"{option_string} takes KEY=VALUE, but got {item!r}")
            return super().__call__(parser, namespace, values, option_string)

    return OptionsAction
