"""Make the environment that `make demo`, `make test` and all else here run in.

    python3 tools/setup_env.py [--venv .venv]

A virtual environment, PyTorch, mmcv with its compiled ops, the OpenMMLab libraries, and this
package in editable mode: each is a step. A step that succeeded is written down in the
environment itself with a hash of what it was made from, so that a run with nothing to do costs
half a second, and an interrupted or failed one goes on where it stopped. Standard library only.
"""

import argparse
import os
import signal
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main(argv: "list[str] | None" = None) -> int:
    """Read the options, do the set-up, and end with one message whatever happens."""
    if sys.version_info < (3, 8):  # noqa: UP036  (this runs before any Python was chosen)
        print(
            "set-up: %s is Python %d.%d; mmkd_ext needs 3.10, 3.11 or 3.12. "  # noqa: UP031
            "Name one of them: make env PYTHON=python3.11"
            % (sys.executable, sys.version_info[0], sys.version_info[1]),
            file=sys.stderr,
        )
        return 1
    from environment.process import SetUpError, elapsed
    from environment.steps import SetUp

    parser = argparse.ArgumentParser(description="Make or complete the environment of mmkd_ext.")
    parser.add_argument("--venv", default=os.path.join(ROOT, ".venv"), help="its folder")
    parser.add_argument("--asked-python", default="", help="the PYTHON= that the user named")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    start = time.time()
    try:
        set_up = SetUp(ROOT, args.venv)
        done = set_up.run(args.asked_python)
    except (SetUpError, OSError) as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nset-up: interrupted. The same command goes on from here.", file=sys.stderr)
        return 130
    if done:
        print(f"The environment {set_up.venv.path} is ready ({elapsed(start)}).")
    return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
