"""One process of a two-process run with all observing hooks; see ``test_teacher_check.py``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch

from mmkd_ext.apis.launch import start_cpu_processes
from tests.hooks.tiny_run import config, loader, run

HOOKS = [
    dict(type=f"mmkd_ext.{name}Hook", **args)
    for name, args in (
        ("TeacherCheck", {}),
        ("StudentCheckpoint", {}),
        ("FeatureMap", {}),
        ("CostReport", dict(iterations=1, warmup=1)),
    )
]


def settings(folder: Path, checkpoint: str, hooks: list) -> dict:
    from tests.hooks.tiny_run import TEACHER

    return config(
        folder,
        hooks,
        teacher=dict(config=TEACHER, checkpoint=checkpoint),
        val_dataloader=loader(batch_size=4, size=17, seed=1),  # odd: one rank gets a repeat
        visualizer=dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")]),
    )


def main() -> None:
    folder, checkpoint = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    cfg = settings(folder / "work", checkpoint, HOOKS)
    cfg.launcher = "pytorch"
    start_cpu_processes(cfg)
    runner = run(cfg)
    check = next(hook for hook in runner.hooks if type(hook).__name__ == "TeacherCheckHook")
    weights = [p.detach().double().sum().item() for p in runner.model.parameters()]
    result = {"scores": check.scores, "weights": weights}
    (folder / f"rank_{os.environ['RANK']}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
