"""A space of small encoders, and networks of it."""

from __future__ import annotations

import torch

from mmkd_ext.flow.nas import ElasticFlowEncoder
from mmkd_ext.registry import MODELS
from tests.flow import tiny_raft

SPACE = dict(
    widths=((8, 16), (16, 24), (24,), (16, 24), (24, 32), (24, 32)),
    kernel_sizes=((3, 5),) * 6,
    depths=((1, 2), (1, 2), (1, 2), (1,), (1, 2), (1, 2)),
    expand_ratios=((1,), (1, 2), (2, 3), (1, 3), (2,), (1, 2)),
    stem_width=16,
    feature_dim=32,
    context_dim=32,
    rest_params=1000,
)
# Small, and of shortcuts with and without a convolution, and of an expansion by 1.
GENOTYPE = dict(
    width=(16, 16, 24, 16, 24, 24),
    kernel_size=(3, 5, 3, 5, 5, 3),
    depth=(1, 2, 1, 1, 2, 1),
    expand_ratio=(1, 1, 2, 3, 2, 2),
)


def encoder(norm="batch", bn_mode="frozen01", seed=0, trained=True) -> ElasticFlowEncoder:
    """With ``trained``, all its weights and stored statistics are random."""
    torch.manual_seed(seed)
    found = ElasticFlowEncoder(SPACE, norm=norm, output_dim=32, bn_mode=bn_mode)
    return randomize(found) if trained else found


def network(bn_mode="frozen01", **options):
    """A RAFT of two of them."""
    torch.manual_seed(0)
    elastic = dict(type="ElasticFlowEncoder", space=SPACE, output_dim=32)
    return MODELS.build(
        tiny_raft.config(
            feature_encoder=elastic,
            context_encoder=dict(elastic, norm="batch", bn_mode=bn_mode),
            **options,
        )
    )


def randomize(module):
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var") or ("norm" in name and name.endswith("weight")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim == 1:
            tensor.normal_(std=0.1)
        elif tensor.ndim == 4:
            tensor.normal_(std=tensor[0].numel() ** -0.5)
    return module


def images(count=2, size=(32, 48), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, *size, generator=generator)
