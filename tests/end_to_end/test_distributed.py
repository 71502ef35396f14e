"""Two real processes over gloo, started by tools/dist_train.sh."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from mmkd_ext.distill import read_checkpoint

ROOT = Path(__file__).parents[2]

# Writes what one rank has and what its DDP wrapper synchronises.
WITNESS = """
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class Witness(Hook):
    def before_train(self, runner):
        self.masks = []
        self.images = []
        model = runner.model.module
        model.student.backbone.register_forward_pre_hook(self.look)

    def look(self, module, args):
        if module.training:
            self.images.append(args[0].detach().clone())

    def after_train(self, runner):
        ddp = runner.model
        model = ddp.module
        buckets = {id(p) for p in ddp._module_parameters}
        names = {id(p): name for name, p in model.named_parameters()}
        torch.save(
            dict(
                state=model.state_dict(),
                wrapper=type(ddp).__name__,
                synchronised=sorted(names.get(i, 'NOT OURS') for i in buckets),
                teacher_in_bucket=any(id(p) in buckets for p in model.teacher.parameters()),
                teacher=model.teacher.state_dict(),
                images=self.images,
                optimizer=sum(len(g['params']) for g in runner.optim_wrapper.param_groups),
            ),
            f'{runner.work_dir}/rank{get_rank()}.pth',
        )
"""

CONFIG = """
_base_ = 'mmkd_ext::demo/cls_digits_distill.py'
custom_imports = dict(imports=['mmkd_ext', 'witness'], allow_failed_imports=False)
custom_hooks = [dict(type='Witness')]
model = dict(teacher=dict(checkpoint=None))
train_cfg = dict(max_epochs=1, val_interval=1)
train_dataloader = dict(batch_size=5)
"""


def test_two_ranks_end_with_the_same_parameters(tmp_path):
    (tmp_path / "witness.py").write_text(WITNESS)
    (tmp_path / "two_ranks.py").write_text(CONFIG)
    work = tmp_path / "out"
    environment = os.environ | {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "PYTHON": sys.executable,
        "OMP_NUM_THREADS": "1",
        "MMKD_DEMO_ROOT": os.environ.get("MMKD_DEMO_ROOT", str(tmp_path / "demo")),
    }
    result = subprocess.run(
        ["bash", str(ROOT / "tools/dist_train.sh"), "two_ranks.py", "2", "--work-dir", str(work)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    first, second = (torch.load(work / f"rank{rank}.pth") for rank in (0, 1))
    assert first["wrapper"] == "MMDistributedDataParallel"
    for rank in (first, second):
        assert not rank["teacher_in_bucket"]
        assert "NOT OURS" not in rank["synchronised"]
        assert any(name.startswith("distill.mgd.") for name in rank["synchronised"])
        assert rank["optimizer"] == len(rank["synchronised"])
        assert not any(key.startswith("teacher") for key in rank["state"])
    for key, value in first["state"].items():
        if "running_" in key or "num_batches" in key:
            continue  # batch statistics are each rank's own
        assert torch.equal(value, second["state"][key]), key
    for key, value in first["teacher"].items():
        assert torch.equal(value, second["teacher"][key]), key
    # Each rank saw its own half of the data, so equal parameters were synchronised, not replayed.
    assert len(first["images"]) == len(second["images"]) == 5
    assert not torch.equal(torch.stack(first["images"]), torch.stack(second["images"]))
    saved = read_checkpoint(work / "epoch_1.pth")["state_dict"]
    assert all(torch.equal(value, first["state"][key]) for key, value in saved.items())
