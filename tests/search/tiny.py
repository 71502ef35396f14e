"""A network of elastic width, data and measures for searches through a real Runner."""

from __future__ import annotations

from itertools import product

import torch
from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.structures import BaseDataElement
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset


@MODELS.register_module()
class TinyWidths:
    """Two widths of 1 to ``most`` channels."""

    def __init__(self, most=6):
        self.most = most

    @property
    def size(self):
        return self.most**2

    def sample(self, rng):
        return {"width": (rng.randint(1, self.most), rng.randint(1, self.most))}

    def mutate(self, genotype, rng, prob):
        new = self.sample(rng)["width"]
        kept = zip(genotype["width"], new, strict=True)
        return {"width": tuple(b if rng.random() < prob else a for a, b in kept)}

    def crossover(self, a, b, rng):
        return {"width": (a["width"][0], b["width"][1]) if rng.random() < 0.5 else b["width"]}

    def check(self, genotype):
        if len(genotype["width"]) != 2:
            raise ValueError("two widths")

    def key(self, genotype):
        return genotype["width"]

    def params(self, genotype):
        first, second = genotype["width"]
        return (3 + 1 + 2) * first + (first + 1) * second + second + 1

    def to_dict(self):
        return {"most": self.most}

    def everything(self):
        return [{"width": pair} for pair in product(range(1, self.most + 1), repeat=2)]


class ElasticBody(nn.Module):
    """1x1 convolutions of which the first channels are used, with a batch norm between."""

    def __init__(self, most):
        super().__init__()
        self.space = TinyWidths(most)
        self.first = nn.Conv2d(3, most, 1)
        self.norm = nn.BatchNorm2d(most)
        self.second = nn.Conv2d(most, most, 1)
        self.last = nn.Conv2d(most, 1, 1)
        self.width = (most, most)

    def set_genotype(self, genotype):
        self.width = genotype["width"]

    def forward(self, x):
        a, b = self.width
        norm = self.norm
        x = F.conv2d(x, self.first.weight[:a], self.first.bias[:a])
        momentum = norm.momentum
        if norm.training:
            norm.num_batches_tracked += 1
            momentum = momentum or 1 / float(norm.num_batches_tracked)
        statistics = (norm.running_mean[:a], norm.running_var[:a])
        scale = (norm.weight[:a], norm.bias[:a])
        x = F.batch_norm(x, *statistics, *scale, norm.training, momentum or 0.0)
        x = F.conv2d(x.relu(), self.second.weight[:b, :a], self.second.bias[:b])
        return F.conv2d(x.relu(), self.last.weight[:, :b], self.last.bias)


@MODELS.register_module()
class TinyElastic(BaseModel):
    """Predicts a number for an image (N, 3, H, W)."""

    def __init__(self, most=6, data_preprocessor=None):
        super().__init__(data_preprocessor)
        self.body = ElasticBody(most)

    def forward(self, inputs, data_samples=None, mode="tensor"):
        images = inputs if isinstance(inputs, torch.Tensor) else torch.stack(inputs)
        values = self.body(images).mean((1, 2, 3))
        if mode == "tensor":
            return values
        return [
            BaseDataElement(value=value, target=sample.target)
            for value, sample in zip(values, data_samples, strict=True)
        ]


@DATASETS.register_module()
class TinyImages(Dataset):
    """Images of noise, and a number for each."""

    metainfo = dict(classes=("number",))

    def __init__(self, size=7, noise=0):
        self.noise = noise  # of an augmentation
        generator = torch.Generator().manual_seed(5)
        self.images = torch.rand(size, 3, 8, 8, generator=generator)
        self.targets = 2 * self.images.mean((1, 2, 3)) - self.images.amax((1, 2, 3))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        sample = BaseDataElement(target=self.targets[index], index=index)
        image = self.images[index]
        return dict(inputs=image + self.noise * torch.rand_like(image), data_samples=sample)


@METRICS.register_module()
class SquaredError(BaseMetric):
    """Of which mmengine gathers the results."""

    default_prefix = "tiny"

    def process(self, data_batch, data_samples):
        self.results += [float((s["value"] - s["target"]) ** 2) for s in data_samples]

    def compute_metrics(self, results):
        return dict(error=sum(results) / len(results), count=len(results))


@METRICS.register_module()
class GatheredError(SquaredError):
    """Which gathers the results in its own way."""

    default_prefix = "gathered"

    def evaluate(self, size):
        parts = all_gather_object(self.results)
        self.results = []
        metrics = self.compute_metrics([one for part in parts for one in part])
        return {f"{self.prefix}/{name}": value for name, value in metrics.items()}


@MODELS.register_module()
class TeacherDistance:
    """Mean absolute difference of the outputs to the least value of each image."""

    def __init__(self, teacher=None):
        self.teacher_forwards = 0

    def prepare(self, model, dataloader):
        self.kept, self.outputs = [], []
        for batch in dataloader:
            self.teacher_forwards += 1
            self.kept.append(torch.stack(batch["inputs"]).amin((1, 2, 3)))
        model.body.register_forward_hook(
            lambda module, args, output: self.outputs.append(output.mean((1, 2, 3)))
        )

    def finish(self):
        self.finished = True

    def __call__(self, model, batch_index, data_batch):
        output = self.outputs[-1]
        self.outputs.clear()
        return (output - self.kept[batch_index]).abs().mean()


def settings(work_dir, load_from=None, **search):
    """The whole config of a search."""
    chosen = dict(metric="tiny/error", population=6, mutation=3, crossover=3, top_k=3, max_epochs=2)
    return dict(
        model=dict(type="TinyElastic"),
        work_dir=str(work_dir),
        test_dataloader=dict(
            batch_size=3,
            num_workers=0,
            dataset=dict(type="TinyImages"),
            sampler=dict(type="DefaultSampler", shuffle=False),
        ),
        test_evaluator=[dict(type="SquaredError"), dict(type="GatheredError")],
        test_cfg=dict(type="mmkd_ext.EvolutionSearchLoop", **{**chosen, **search}),
        load_from=load_from,
        default_scope="mmkd_ext",
        custom_imports=dict(imports=["tests.search.tiny"], allow_failed_imports=False),
    )


def weights(path, seed=0):
    """A checkpoint of the network."""
    torch.manual_seed(seed)
    model = TinyElastic()
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.1, 1)  # all channels are alive, whatever the width
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return str(path)
