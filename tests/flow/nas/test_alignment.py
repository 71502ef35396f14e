"""Feature alignment: the distance against plain loops, and the loss through the Distiller."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from mmkd_ext.flow.losses import (
    FeatureAlignmentLoss,
    align_features,
    alignment_distance,
    alignment_loss,
)
from mmkd_ext.flow.nas import FLOWNAS_S, ElasticFlowEncoder
from mmkd_ext.registry import MODELS
from tests.flow import tiny_raft
from tests.flow.parity import fill, made_pair, normalized

from .test_supernet import config as supernet_config
from .test_supernet import pair_batch

STUDENT = ("stem", "stages.1", "stages.3", "stages.5", "last_conv")
TEACHER = ("convnormrelu", "layer1", "layer2", "layer3", "conv")
ENCODERS = ("feature_encoder", "context_encoder")
TAP = dict(
    student=[f"{encoder}.{name}" for encoder in ENCODERS for name in STUDENT],
    teacher=[f"{encoder}.{name}" for encoder in ENCODERS for name in TEACHER],
)


def outputs(network, names, images):
    """What the modules give, in the order of ``names``."""
    found = {}
    hooks = [
        network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: found.update({name: output})
        )
        for name in names
    ]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return [found[name] for name in names]


def by_loops(student, teacher):
    """The published distance, position by position."""
    student, teacher = student.double().numpy(), teacher.double().numpy()
    total = 0.0
    for y, x in np.ndindex(*student.shape[2:]):
        squares = [
            (max(one[:, y, x]) - max(other[:, y, x])) ** 2
            for one, other in zip(student, teacher, strict=True)
        ]
        total += math.sqrt(sum(squares))
    return total / (student.shape[2] * student.shape[3])


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_distances_of_s_on_a_made_pair(norm):
    """Of the filled networks; their stems are equal, so their distance there is 0."""
    torch.manual_seed(0)
    student = fill(ElasticFlowEncoder(norm=norm)).eval()
    student.set_genotype(FLOWNAS_S)
    teacher = fill(MODELS.build(dict(type="RAFTEncoder", norm=norm))).eval()
    images = normalized(made_pair(32, 48))[0]
    images = images if norm == "instance" else images[:1]
    ours, theirs = outputs(student, STUDENT, images), outputs(teacher, TEACHER, images)
    found = [alignment_distance(*maps).item() for maps in zip(ours, theirs, strict=True)]
    assert found[0] == 0
    assert min(found[1:]) > 0.01
    expected = [by_loops(*maps) for maps in zip(ours, theirs, strict=True)]
    assert found == pytest.approx(expected, rel=1e-5)


def test_pairs_do_not_depend_on_the_batch():
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(6, 5, 4, 3, generator=generator)
    teacher = torch.randn(6, 7, 4, 3, generator=generator)
    single = [
        alignment_distance(student[number::3], teacher[number::3]) for number in range(3)
    ]  # images n and n + 3 are a pair
    together = alignment_distance(student, teacher, pairs=3)
    torch.testing.assert_close(together, torch.stack(single).mean())
    # As published, the distance grows with the batch.
    assert alignment_distance(student, teacher) > 1.5 * together
    same = alignment_distance(student[:1].expand(4, -1, -1, -1), teacher[:1].expand(4, -1, -1, -1))
    torch.testing.assert_close(same, 2 * alignment_distance(student[:1], teacher[:1]))


def test_what_each_alignment_keeps():
    features = torch.tensor([[3.0, -1.0], [-4.0, 2.0]])[None, :, None]  # two channels, 1 x 2
    assert align_features(features).tolist() == [[[[3, 2]]]]
    assert align_features(features, "mean").tolist() == [[[[-0.5, 0.5]]]]
    scale = math.sqrt((25**2 + 5**2) / 2)
    expected = torch.tensor([[[[25 / scale, 5 / scale]]]])
    torch.testing.assert_close(align_features(features, "l2"), expected)
    torch.testing.assert_close(align_features(7 * features, "l2"), expected)
    assert not align_features(0 * features, "l2").any()
    assert align_features(features, "none") is features
    other = torch.zeros(1, 1, 1, 2)
    assert alignment_loss(features, other).item() == 2.5
    assert alignment_loss(features, other, p=2).item() == 6.5
    with pytest.raises(ValueError, match=r"\(1, 2, 1, 2\) and the teacher's \(1, 1, 1, 2\)"):
        alignment_loss(features, other, "none")
    with pytest.raises(ValueError, match="tap layers of one resolution"):
        alignment_loss(features, torch.zeros(1, 9, 1, 4))
    with pytest.raises(ValueError, match=r"maps are \(N, C, H, W\), not \(1, 2\)"):
        alignment_loss(features[:, :, 0, 0], other)
    with pytest.raises(ValueError, match="pool must be one of 'max', 'mean', 'l2', 'none'"):
        FeatureAlignmentLoss(pool="min")
    with pytest.raises(ValueError, match="p must be one of 1, 2, not 3"):
        FeatureAlignmentLoss(p=3)


def test_the_loss_is_the_sum_over_levels():
    generator = torch.Generator().manual_seed(0)
    student = [torch.randn(2, width, 3, 4, generator=generator) for width in (3, 5)]
    teacher = [torch.randn(2, 4, 3, 4, generator=generator) for _ in range(2)]
    for one, other in zip(student, teacher, strict=True):
        one.requires_grad_()
        other.requires_grad_()
    loss = FeatureAlignmentLoss(loss_weight=0.5)(student, teacher)
    expected = 0.0
    for one, other in zip(student, teacher, strict=True):
        difference = one.detach().numpy().max(1) - other.detach().numpy().max(1)
        expected += 0.5 * np.abs(difference).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    # It pulls the largest channel of each pixel, by as much everywhere.
    for one, other in zip(student, teacher, strict=True):
        assert torch.equal(one.grad != 0, one == one.amax(1, keepdim=True))
        torch.testing.assert_close(one.grad.abs().sum(1), torch.full((2, 3, 4), 0.5 / 24))
        assert other.grad is None
    with pytest.raises(ValueError, match="1 levels of the student and 2 of the teacher"):
        FeatureAlignmentLoss()(student[:1], teacher)


def test_a_super_network_is_taught():
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="mmkd_ext.Distiller",
            student=supernet_config(random_subnets=0),
            teacher=dict(config=tiny_raft.config(iters=2)),
            losses=dict(alignment=dict(type="FeatureAlignmentLoss", tap=TAP, loss_weight=2.0)),
            input_shape=(2, 3, 32, 48),
        )
    )
    batch = model.data_preprocessor(pair_batch(), training=True)
    model.student.set_genotype(model.student.space.min())
    losses = model(**batch, mode="loss")
    expected = 0.0
    for encoder in ENCODERS:
        images = batch["inputs"][:, 0]
        if encoder == "feature_encoder":
            images = torch.cat([images, batch["inputs"][:, 1]])
        ours = outputs(getattr(model.student, encoder), STUDENT, images)
        theirs = outputs(getattr(model.teacher, encoder), TEACHER, images)
        for one, other in zip(ours, theirs, strict=True):
            expected += 2 * (one.amax(1) - other.amax(1)).abs().mean().item()
    assert losses["kd.loss_alignment"].item() == pytest.approx(expected, rel=1e-5)
    losses["kd.loss_alignment"].backward()
    reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert reached == set(ENCODERS)
