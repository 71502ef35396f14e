"""A distillation killed by SIGKILL and resumed ends bitwise where an unbroken one ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmkd_ext.distill import read_checkpoint
from tests import warm_python

ROOT = Path(__file__).parents[2]

KILLER = """
import os
import signal
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class Killer(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == int(os.environ.get('KILL_AT', 0)):
            os.killpg(0, signal.SIGKILL)
"""

# Everything that draws numbers: augmentation in worker processes, Mixup, dropout, MGD masks; and
# everything that carries state: momentum, EMA of the student, an EMA teacher beside a frozen one.
CONFIG = """
_base_ = 'mmkd_ext::demo/cls_digits_distill.py'
custom_imports = dict(imports=['mmkd_ext', 'killer'], allow_failed_imports=False)
custom_hooks = [
    dict(type='Killer'),
    dict(type='EMAHook', momentum=0.1),
]
model = dict(
    student=dict(
        train_cfg=dict(augments=dict(type='Mixup', alpha=0.8)),
        head=dict(type='StackedLinearClsHead', mid_channels=[16], dropout_rate=0.3)),
    teacher=None,
    teachers=dict(
        frozen=dict(config='mmkd_ext::demo/cls_digits_teacher.py'),
        mean=dict(type='EMATeacher', momentum=0.1)),
    losses=dict(
        _delete_=True,
        nkd=dict(type='NKDLoss', tap=dict(student='head.layers.1.fc', teacher='head.fc'),
                 teacher='frozen', schedule=dict(type='cosine')),
        mgd=dict(type='MGDLoss', tap='backbone.layer4', teacher='frozen', loss_weight=1e-3,
                 schedule=dict(type='linear')),
        mean=dict(type='KDLoss', tap='head.layers.1.fc', teacher='mean')))
train_dataloader = dict(
    batch_size=20, num_workers={workers}, persistent_workers={persistent}, {sampler}
    dataset=dict(pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='RandomCrop', crop_size=32, padding=4),
        dict(type='RandomErasing', erase_prob=0.5),
        dict(type='ColorJitter', brightness=0.3),
        dict(type='PackInputs')]))
{loop}
"""
EPOCHS = """
train_cfg = dict(max_epochs=3, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=-1))
"""
ITERS = """
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=15, val_interval=4)
param_scheduler = dict(_delete_=True, type='CosineAnnealingLR', T_max=15, by_epoch=False)
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=4, max_keep_ckpts=-1))
log_processor = dict(by_epoch=False)
"""


def train(folder, work, *options, kill_at=0, cold=False):
    environment = os.environ | {
        "PYTHONPATH": f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "OMP_NUM_THREADS": "1",
        "KILL_AT": str(kill_at),
        "MMKD_DEMO_ROOT": os.environ.get("MMKD_DEMO_ROOT", str(folder / "demo")),
    }
    command = [sys.executable, str(ROOT / "tools/train.py"), "resumed.py", "--work-dir", str(work)]
    if cold:
        return subprocess.run(
            [*command, *options],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
    # A session of its own: the killer kills its whole process group, workers included.
    return warm_python.run([*command, *options], folder, environment)


def flat(value, prefix=""):
    """All tensors and numbers of a checkpoint by path."""
    if isinstance(value, dict):
        return {
            k: v for key, item in value.items() for k, v in flat(item, f"{prefix}/{key}").items()
        }
    if isinstance(value, (list, tuple)):
        return flat(dict(enumerate(value)), prefix)
    return {prefix: value} if isinstance(value, (torch.Tensor, int, float)) else {}


@pytest.mark.parametrize(
    ("loop", "workers", "kill_at", "last"),
    [(EPOCHS, 2, 8, "epoch_3.pth"), (ITERS, 0, 10, "iter_15.pth")],
    ids=["epochs-2-persistent-workers", "iterations-in-process"],
)
def test_killed_and_resumed_ends_where_an_unbroken_run_ends(tmp_path, loop, workers, kill_at, last):
    (tmp_path / "killer.py").write_text(KILLER)
    sampler = "sampler=dict(type='InfiniteSampler')," if loop is ITERS else ""
    (tmp_path / "resumed.py").write_text(
        CONFIG.format(workers=workers, persistent=workers > 0, loop=loop, sampler=sampler)
    )
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    result = train(tmp_path, whole)
    assert result.returncode == 0, result.stderr[-3000:]
    result = train(tmp_path, broken, kill_at=kill_at)
    assert result.returncode == -signal.SIGKILL
    assert not (broken / last).exists()
    result = train(tmp_path, broken, "--resume", cold=True)  # strings hash otherwise than before
    assert result.returncode == 0, result.stderr[-3000:]
    expected, found = (read_checkpoint(folder / last) for folder in (whole, broken))
    for part in ("state_dict", "ema_state_dict", "optimizer", "param_schedulers"):
        one, other = flat(expected[part]), flat(found[part])
        assert list(one) == list(other)
        differing = [
            key
            for key in one
            if not (
                torch.equal(one[key], other[key])
                if torch.is_tensor(one[key])
                else one[key] == other[key]
            )
        ]
        assert not differing, f"{part}: {len(differing)} of {len(one)} differ: {differing[:5]}"
    keys = expected["state_dict"]
    assert any(key.startswith("distill.mgd.") for key in keys)
    assert any(key.startswith("ema_teacher.mean.") for key in keys)
