"""The weakest model there is, run on mmengine's test loop; in two processes as a program."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS, MODELS
from mmengine.runner import Runner

from mmkd_ext.apis.launch import start_cpu_processes

from .video_files import TEST_PIPELINE


@MODELS.register_module()
class CopyFirstMask(BaseModel):
    """Answers with the masks that were given."""

    def __init__(self, data_preprocessor: dict) -> None:
        super().__init__(data_preprocessor)
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.mask = None

    def forward(self, inputs, data_samples, mode):
        [sample] = data_samples
        assert mode == "predict"
        assert inputs.shape == (1, 3, *sample.ori_shape)
        if sample.is_first:
            self.mask = torch.zeros(sample.ori_shape, dtype=torch.uint8)
        if "given_mask" in sample:
            self.mask = torch.where(sample.given_mask > 0, sample.given_mask, self.mask)
        sample.pred_mask = self.mask.clone()
        return data_samples


@HOOKS.register_module()
class SeenFrames(Hook):
    """Notes the video of each frame."""

    def __init__(self) -> None:
        self.videos: list[str] = []

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.videos += [sample.video for sample in outputs]


def settings(root: Path, folder: Path, **changes) -> Config:
    config = dict(
        model=dict(
            type="CopyFirstMask", data_preprocessor=dict(type="mmkd_ext.VOSDataPreprocessor")
        ),
        test_dataloader=dict(
            batch_size=1,
            num_workers=0,
            sampler=dict(type="mmkd_ext.VideoFrameSampler"),
            dataset=dict(
                type="mmkd_ext.DAVISDataset",
                data_root=str(root),
                split="val",
                given="new",
                test_mode=True,
                pipeline=TEST_PIPELINE,
            ),
        ),
        test_cfg=dict(),
        test_evaluator=dict(type="mmkd_ext.DAVISMetric"),
        custom_hooks=[
            dict(type="mmkd_ext.VOSSpeedHook", warmup=0),
            dict(type="mmkd_ext.VOSDumpHook", out_dir=str(folder / "masks")),
            dict(type="SeenFrames"),
        ],
        work_dir=str(folder / "work"),
        experiment_name=f"copy_{folder.name}",
        log_level="WARNING",
        default_scope="mmengine",
    )
    return Config({**config, **changes}, format_python_code=False)  # it takes seconds


def run_test(root: Path, folder: Path, **changes) -> dict[str, float]:
    """The figures of one process."""
    return Runner.from_cfg(settings(root, folder, **changes)).test()


def main() -> None:
    root, folder = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    config = settings(root, folder, launcher="pytorch")
    start_cpu_processes(config)
    runner = Runner.from_cfg(config)
    metrics = runner.test()
    [seen] = [hook for hook in runner.hooks if isinstance(hook, SeenFrames)]
    content = json.dumps({"metrics": metrics, "frames": seen.videos})
    (folder / f"rank_{os.environ['RANK']}.json").write_text(content)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
