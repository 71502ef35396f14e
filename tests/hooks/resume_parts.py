"""What the runs of resume_run.py are made of: each part draws random numbers where it can."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.runner import IterBasedTrainLoop
from torch import nn
from torch.utils.data import BatchSampler, Dataset, IterableDataset

from mmkd_ext.registry import DATA_SAMPLERS, DATASETS, HOOKS, LOOPS, METRICS, MODELS


@DATASETS.register_module()
class NoisyVectors(Dataset):
    """Augments with all three generators, as real pipelines do."""

    METAINFO = {"classes": ("a", "b")}

    def __init__(self, size=22, log=None):
        self.vectors = torch.randn(size, 6, generator=torch.Generator().manual_seed(7))
        self.metainfo = self.METAINFO
        self.log = log

    def __len__(self):
        return len(self.vectors)

    def get_width(self, index):
        return index % 3

    def __getitem__(self, index):
        assert type(index) is int
        vector = self.vectors[index] * random.uniform(0.5, 1.5)
        vector = vector + torch.from_numpy(np.random.normal(0, 0.1, 6)).float()
        vector = vector + 0.1 * torch.randn(6)
        if self.log is not None:
            with open(self.log, "a") as file:
                file.write(f"{index} {vector.sum().item():.9g}\n")
        return {"inputs": vector, "data_samples": index}


@DATASETS.register_module()
class VectorStream(IterableDataset):
    def __init__(self, log=None):
        self.vectors = NoisyVectors(log=log)

    def __len__(self):
        return len(self.vectors)

    def __iter__(self):
        return (self.vectors[index] for index in range(len(self.vectors)))


@DATA_SAMPLERS.register_module()
class WidthBatchSampler(BatchSampler):
    """Groups samples of equal width, in the manner of mmdet's AspectRatioBatchSampler."""

    def __init__(self, sampler, batch_size):
        super().__init__(sampler, batch_size, drop_last=False)

    def __iter__(self):
        groups = [[], [], []]
        for index in self.sampler:
            group = groups[self.sampler.dataset.get_width(index)]
            group.append(index)
            if len(group) == self.batch_size:
                yield group[:]
                group.clear()
        for group in groups:
            if group:
                yield group


@DATA_SAMPLERS.register_module()
class LonelyBatchSampler:
    """Has no sampler inside."""

    def __init__(self, sampler, batch_size):
        self.size, self.batch_size, self.epoch = len(sampler.dataset), batch_size, 0

    def __iter__(self):
        order = [(7 * i + self.epoch) % self.size for i in range(self.size)]
        for start in range(0, self.size, self.batch_size):
            yield order[start : start + self.batch_size]

    def __len__(self):
        return -(-self.size // self.batch_size)


@LOOPS.register_module()
class EagerIterLoop(IterBasedTrainLoop):
    """Makes its iterator at once, as OpenMMLab's mmengine 0.10 does, and has no fast skipping."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.dataloader_iterator._iterator = iter(self.dataloader)

        def skip(count):
            for _ in range(count):
                next(self.dataloader_iterator)

        self.dataloader_iterator.skip_iter = skip


@MODELS.register_module()
class MixingPreprocessor(BaseDataPreprocessor):
    def forward(self, data, training=False):
        data = self.cast_data(data)
        inputs = torch.stack(data["inputs"])
        if training:
            share = np.random.beta(0.8, 0.8)
            inputs = share * inputs + (1 - share) * inputs[torch.randperm(len(inputs))]
            if random.random() < 0.5:
                inputs = -inputs
        return {"inputs": inputs, "data_samples": data["data_samples"]}


@MODELS.register_module()
class MaskedNet(BaseModel):
    """Dropout, batch norm and an MGD-like random mask."""

    def __init__(self):
        super().__init__(data_preprocessor=dict(type="mmkd_ext.MixingPreprocessor"))
        self.body = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3))
        self.head = nn.Linear(12, 6)

    def forward(self, inputs, data_samples=None, mode="tensor"):
        hidden = self.body(inputs)
        if mode == "loss":
            hidden = torch.where(torch.rand(hidden.shape) > 0.65, 0.0, hidden)
            return {"loss": ((self.head(hidden) - inputs) ** 2).mean()}
        # Validation draws from every generator.
        noise = torch.rand(1).item() + random.random() + np.random.rand()
        return [{"score": self.head(hidden).mean().item() + 0 * noise} for _ in inputs]


@METRICS.register_module()
class RisingScore(BaseMetric):
    """Every validation is the best so far, so that `save_best` always writes."""

    def process(self, data_batch, data_samples):
        self.results.append(1.0)

    def compute_metrics(self, results):
        return {"score": time.monotonic() + 0 * random.random()}


@HOOKS.register_module()
class KillHook(Hook):
    """Kill this process, workers and all, before an iteration."""

    priority = "LOWEST"

    def __init__(self, at):
        self.at = at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.at:
            os.killpg(0, signal.SIGKILL)


@HOOKS.register_module()
class KillInSaveHook(Hook):
    """Die while the checkpoint of an iteration is being pickled, part of it on the disk."""

    priority = "LOWEST"

    class Bomb:
        def __reduce__(self):
            os.killpg(0, signal.SIGKILL)

    def __init__(self, at):
        self.at = at

    def before_save_checkpoint(self, runner, checkpoint):
        if runner.iter >= self.at:
            checkpoint["bomb"] = self.Bomb()


@HOOKS.register_module()
class HeavyHook(Hook):
    """Make checkpoints from some iteration on so big that writing one takes a while."""

    def __init__(self, since):
        self.since = since

    def before_save_checkpoint(self, runner, checkpoint):
        if runner.iter >= self.since:
            checkpoint["ballast"] = torch.ones(15_000_000)


@HOOKS.register_module()
class WitnessHook(Hook):
    """Note which files stand while a checkpoint is being written."""

    def before_save_checkpoint(self, runner, checkpoint):
        names = sorted(path.name for path in Path(runner.work_dir).glob("*.pth"))
        with open(Path(runner.work_dir) / "witness.jsonl", "a") as file:
            file.write(json.dumps([runner.iter, names]) + "\n")


@HOOKS.register_module()
class ClumsyHook(Hook):
    """Draws numbers wherever a hook may."""

    def before_train_epoch(self, runner):
        self._draw()

    def after_val(self, runner):
        self._draw()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._draw()

    def _draw(self):
        random.random(), np.random.rand(), torch.rand(1)
