"""Training runs in processes of their own, for the tests of checkpoints and resuming.

Reads file names from its standard input; each file lists runs (JSON). They are carried out one
after the other, each in a process forked from this one (importing torch costs seconds, and a
killed process must be a real one), and the exit codes go to the standard output.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

import matplotlib.pyplot  # noqa: F401  (what a Runner imports late is shared by forks)
import mmengine.runner.loops as mmengine_loops
import numpy as np
import resume_parts  # noqa: F401
import torch
import torchvision  # noqa: F401
from mmengine.runner import Runner
from mmengine.utils.dl_utils import collect_env

import mmkd_ext.hooks  # noqa: F401


def config(spec):
    by_epoch = spec.get("loop", "epoch") == "epoch"
    workers = spec.get("workers", 0)
    loader = dict(
        batch_size=spec.get("batch_size", 4),
        num_workers=workers,
        persistent_workers=bool(spec.get("persistent")) and workers > 0,
        dataset=dict(type=spec.get("dataset", "mmkd_ext.NoisyVectors"), log=spec.get("log")),
        sampler=dict(type=spec.get("sampler", "DefaultSampler"), shuffle=True),
    )
    if loader["dataset"]["type"] == "mmkd_ext.VectorStream":
        loader["sampler"] = None
    if spec.get("batch_sampler"):
        loader["batch_sampler"] = dict(type=spec["batch_sampler"])
    hooks = dict(
        checkpoint=dict(
            type=spec.get("checkpoint_hook", "mmkd_ext.CheckpointHook"),
            by_epoch=by_epoch,
            interval=1 if by_epoch else 4,
            out_dir=spec.get("out_dir"),
            max_keep_ckpts=spec.get("max_keep_ckpts", 2),
            save_best="score" if spec.get("save_best", True) else None,
            rule="greater" if spec.get("save_best", True) else None,
            published_keys=spec.get("published_keys"),
        )
    )
    hooks.update(spec.get("default_hooks", {}))
    if spec.get("exact", True):
        hooks["exact_resume"] = dict(type="mmkd_ext.ExactResumeHook")
    custom = [dict(type="EMAHook", momentum=0.1), dict(type="mmkd_ext.ClumsyHook")]
    if "kill_at" in spec:
        custom.append(dict(type="mmkd_ext.KillHook", at=spec["kill_at"]))
    if "kill_in_save_at" in spec:
        custom.append(dict(type="mmkd_ext.KillInSaveHook", at=spec["kill_in_save_at"]))
    if "heavy_since" in spec:
        custom.append(dict(type="mmkd_ext.HeavyHook", since=spec["heavy_since"]))
    if spec.get("witness"):
        custom.append(dict(type="mmkd_ext.WitnessHook"))
    epochs, iters = spec.get("epochs", 4), spec.get("iters", 15)
    adam = spec.get("optimizer", "adam") == "adam"
    train_cfg = dict(type=spec.get("loop_type", "IterBasedTrainLoop"), max_iters=iters)
    return dict(
        model=dict(type="mmkd_ext.MaskedNet"),
        work_dir=spec["work_dir"],
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=1)
        if by_epoch
        else dict(**train_cfg, val_interval=3),
        val_dataloader=dict(
            batch_size=8,
            num_workers=0,
            dataset=dict(type="mmkd_ext.NoisyVectors", size=8),
            sampler=dict(type="DefaultSampler", shuffle=True),
        ),
        val_cfg=dict(),
        val_evaluator=dict(type="mmkd_ext.RisingScore"),
        optim_wrapper=dict(
            optimizer=dict(type="AdamW", lr=0.01)
            if adam
            else dict(type="SGD", lr=0.05, momentum=0.9)
        ),
        param_scheduler=[
            dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=5),
            dict(type="CosineAnnealingLR", by_epoch=False, T_max=20),
        ],
        default_hooks=hooks,
        custom_hooks=custom,
        resume=spec.get("resume", False),
        load_from=spec.get("load_from"),
        randomness=dict(seed=spec.get("seed"), diff_rank_seed=spec.get("diff_rank_seed", False)),
        launcher="none",
        default_scope="mmengine",
        log_level=spec.get("log_level", "WARNING"),
        visualizer=dict(type="Visualizer"),
    )


def carry_out(spec):
    """Train, and store everything that must be equal in the end."""
    torch.set_num_threads(1)
    # A forked process inherits the parent's generators; a new run would not.
    random.seed(), np.random.seed(), torch.seed()
    # Two seconds at every turn of a finite sampler, against a dead-lock of many workers.
    mmengine_loops.time.sleep = lambda seconds: None
    if "rank" in spec:
        os.environ.update(RANK=str(spec["rank"]), LOCAL_RANK=str(spec["rank"]))
        address = f"file://{spec['rendezvous']}"
        torch.distributed.init_process_group(
            "gloo", init_method=address, rank=spec["rank"], world_size=spec["world_size"]
        )
    settings = config(spec)
    # mmengine formats the config at every save, which takes longer than such a training step.
    runner = Runner(**settings, cfg=dict(work_dir=spec["work_dir"]))
    if "rank" in spec:
        from mmengine.model import MMDistributedDataParallel

        runner.model = MMDistributedDataParallel(runner.model, broadcast_buffers=False)
    runner.train()
    model = getattr(runner.model, "module", runner.model)
    ema = next(hook for hook in runner.hooks if type(hook).__name__ == "EMAHook").ema_model
    result = dict(
        model=model.state_dict(),
        ema=ema.state_dict(),
        optimizer=runner.optim_wrapper.state_dict(),
        schedulers=[scheduler.state_dict() for scheduler in runner.param_schedulers],
        random=[torch.rand(3), torch.tensor(np.random.rand(3)), torch.tensor(random.random())],
        position=(runner.epoch, runner.iter),
    )
    torch.save(result, spec["out"])


def start(spec):
    child = os.fork()
    if child:
        os.setpgid(child, child)
        return child
    os.setpgid(0, 0)  # both do it: neither may be the later one
    code = 0
    with open(spec["out"] + ".log", "w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            carry_out(spec)
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        logging.shutdown()
        os._exit(code)


def wait(child, spec):
    """The exit code of a process; before that, kill it from outside if the spec says so."""
    pattern = spec.get("killed_when_there_is")
    while pattern is not None:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if any(Path(spec["work_dir"]).glob(pattern)):
            os.killpg(child, signal.SIGKILL)
            break
        time.sleep(0.0005)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main():
    collect_env()
    for line in sys.stdin:
        assert threading.active_count() == 1  # forking is safe
        codes = []
        for spec in json.loads(Path(line.strip()).read_text()):
            specs = [spec]
            if "world_size" in spec:
                specs = [
                    {**spec, "rank": rank, "out": spec["out"].replace(".result", f".{rank}.result")}
                    for rank in range(spec["world_size"])
                ]
            children = [start(one) for one in specs]
            codes.append([wait(child, spec) for child in children])
        print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    main()
