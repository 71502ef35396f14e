"""``python -m mmkd_ext <command>``: one door to everything.

There is no console script on purpose: onedl-mim takes the first path that an installed wheel
records for the package itself, and a script's would come first.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

# command -> (module that has main(argv, prog); one line of help)
COMMANDS = {
    "demo": ("mmkd_ext.apis.demo", "learn real digits with and without a teacher, and report"),
    "train": ("mmkd_ext.apis.train", "train a model, distilled or not"),
    "test": ("mmkd_ext.apis.test", "test a checkpoint"),
    "taps": ("mmkd_ext.apis.taps", "list what can be tapped in a network, with output shapes"),
    "compare": ("mmkd_ext.apis.compare", "train several configs over several seeds, and tabulate"),
    "export": ("mmkd_ext.apis.export", "write the student as a slim checkpoint with its config"),
    "vos-infer": ("mmkd_ext.apis.vos_infer", "follow objects through a video, given their masks"),
    "vos-benchmark": ("mmkd_ext.apis.vos_benchmark", "frames per second and memory of following"),
    "flow-infer": ("mmkd_ext.apis.flow_infer", "optical flow of images and videos"),
    "flow-benchmark": ("mmkd_ext.apis.flow_benchmark", "time and memory of RAFT by image size"),
    "flownas-export": ("mmkd_ext.apis.flownas_export", "write one network of a super-network"),
    "flownas-rank": ("mmkd_ext.apis.flownas_rank", "what a search is worth: scores, trainings"),
    "doctor": ("mmkd_ext.doctor", "check the installation, with remedies"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Delegate to a command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from mmkd_ext.version import __version__

        print(f"mmkd_ext {__version__}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        known = ", ".join(COMMANDS)
        print(f"error: no command {name!r}.{hint} There is {known}.", file=sys.stderr)
        return 2
    target, prog = COMMANDS[name][0], f"python -m mmkd_ext {name}"
    result = importlib.import_module(target).main(arguments[1:], prog=prog)
    return result if isinstance(result, int) else 0


def _help() -> str:
    lines = ["usage: python -m mmkd_ext COMMAND [options]", "", "commands (each takes -h):"]
    lines += [f"  {name:14} {line}" for name, (_, line) in COMMANDS.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
