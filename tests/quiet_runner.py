"""The real Runner, without the seconds that its log takes."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner


def quiet_runner(cfg: Config, work_dir: Path, seed: int = 0) -> Runner:
    """The Runner of a config; it logs errors only, and leaves the config's text unformatted.

    Args:
        cfg: Changed as said here.
        work_dir: Of the run.
        seed: Of the run.
    """
    # mmengine formats it for the log and for the file; no argument of Config.fromfile prevents it.
    object.__setattr__(cfg, "_format_python_code", False)
    cfg.update(work_dir=str(work_dir), log_level="ERROR", randomness=dict(seed=seed))
    return Runner.from_cfg(cfg)
