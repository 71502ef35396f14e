"""Made pairs and a model that answers what the files say, on mmengine's loops; also as a program.

``<root>/<number>/`` holds ``img1.png``, ``img2.png``, ``gt.flo``, ``answer.flo`` and ``occ.png``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmkd_ext.apis.launch import start_cpu_processes
from mmkd_ext.flow import read_flow, write_flow
from mmkd_ext.flow.structures import FlowDataSample
from mmkd_ext.frames.reading import read_image

SIZES = ((6, 9), (5, 7), (12, 4), (6, 6), (8, 3))


def write_pairs(root: Path, count: int = 5) -> None:
    """Pairs of several sizes; some vectors are not known, some pixels are occluded."""
    random = np.random.RandomState(0)
    for number, (height, width) in enumerate(SIZES[:count]):
        folder = root / str(number)
        folder.mkdir(parents=True)
        for name in ("img1.png", "img2.png"):
            image = random.randint(0, 256, (height, width, 3), np.uint8)
            cv2.imwrite(str(folder / name), image)
        gt = random.normal(0, 20, (height, width, 2)).astype(np.float32)
        answer = gt + random.normal(0, 3 + number, gt.shape).astype(np.float32)
        write_flow(folder / "gt.flo", gt, random.rand(height, width) > 0.3)
        write_flow(folder / "answer.flo", answer)
        occluded = np.where(random.rand(height, width) > 0.6, 255, 0)
        cv2.imwrite(str(folder / "occ.png"), occluded)


@DATASETS.register_module()
class MadePairs(Dataset):
    def __init__(self, root: str, **meta: str) -> None:
        self.folders = sorted(Path(root).iterdir())
        self.meta = meta

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, index: int) -> dict:
        folder = self.folders[index]
        gt, valid = read_flow(folder / "gt.flo")
        sample = FlowDataSample(
            metainfo={
                "img1_path": str(folder / "img1.png"),
                "img2_path": str(folder / "img2.png"),
                "sequence": f"clean/{folder.name}",
                "index": 0,
                "frame": "img1",
                "result_path": f"clean/{folder.name}/frame0001.flo",
                **self.meta,
            }
        )
        sample.gt_flow = torch.from_numpy(gt.transpose(2, 0, 1).copy())
        sample.gt_valid = torch.from_numpy(valid)
        sample.gt_occluded = torch.from_numpy(read_image(str(folder / "occ.png"))[..., 0] > 0)
        images = [read_image(str(folder / name)) for name in ("img1.png", "img2.png")]
        return {"inputs": torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), "sample": sample}


@MODELS.register_module()
class Answers(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, sample, mode):
        for one in sample:
            answer, _ = read_flow(Path(one.img1_path).with_name("answer.flo"))
            one.pred_flow = torch.from_numpy(answer.transpose(2, 0, 1).copy())
        return sample


EVALUATOR = [
    dict(type="mmkd_ext.EndPointError", prefix=average, average=average, speeds=((0, 20), (20, 99)))
    for average in ("pixel", "image", "batch")
] + [dict(type="mmkd_ext.FlowOutliers")]


def settings(root: Path, folder: Path, meta: dict | None = None, **changes) -> Config:
    config = dict(
        model=dict(type="Answers"),
        test_dataloader=dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type="DefaultSampler", shuffle=False),
            dataset=dict(type="MadePairs", root=str(root), **(meta or {})),
        ),
        test_cfg=dict(),
        test_evaluator=EVALUATOR,
        custom_hooks=[
            dict(type="mmkd_ext.FlowDumpHook", out_dir=str(folder / "flow"), zip_name="all.zip")
        ],
        work_dir=str(folder / "work"),
        experiment_name=f"answers_{folder.name}",
        log_level="WARNING",
        default_scope="mmengine",
    )
    return Config({**config, **changes}, format_python_code=False)  # it takes seconds


def main() -> None:
    root, folder = Path(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    config = settings(root, folder, launcher="pytorch")
    start_cpu_processes(config)
    metrics = Runner.from_cfg(config).test()
    (folder / f"rank_{os.environ['RANK']}.json").write_text(json.dumps(metrics))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
