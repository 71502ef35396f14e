"""RAFT as a model of mmengine: batches of any sizes, losses, frozen norms, precision, warm start."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mmkd_ext.flow import build_raft
from mmkd_ext.flow.structures import FlowDataSample
from mmkd_ext.flow.truth import stack_truth
from mmkd_ext.flow.warm_start import forward_project
from mmkd_ext.registry import MODELS
from tests.flow import tiny_raft


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MODELS.build(tiny_raft.config()).eval()


def predict(model, pairs, samples):
    return model.test_step(dict(inputs=pairs, data_samples=samples))


def test_every_sample_of_a_mixed_batch_gets_its_flow(model):
    sizes = [(40, 56), (37, 50), (9, 64), (1, 1)]
    pairs = tiny_raft.image_pairs(*sizes)
    samples = [tiny_raft.sample(*size) for size in sizes]
    found = predict(model, pairs, samples)
    assert [tuple(one.pred_flow.shape[1:]) for one in found] == sizes
    assert all(one.pred_flow.isfinite().all() for one in found)
    assert [one.pad for one in found] == [
        (4, 4, 0, 0),
        (7, 7, 1, 2),
        (0, 0, 15, 16),
        (31, 32, 19, 20),
    ]
    # One that needs no other padding alone gets the same flow in company.
    (alone,) = predict(model, tiny_raft.image_pairs((40, 64)), [tiny_raft.sample(40, 64)])
    company = [*tiny_raft.image_pairs((40, 64)), *tiny_raft.image_pairs((33, 41), seed=5)]
    first, second = predict(model, company, [tiny_raft.sample(40, 64), tiny_raft.sample(33, 41)])
    torch.testing.assert_close(first.pred_flow, alone.pred_flow, rtol=0, atol=1e-5)
    assert not torch.equal(second.pred_flow[:, :30, :40], first.pred_flow[:, :30, :40])


@pytest.mark.parametrize("side", [8, 16, 40, 96, 120])
def test_the_published_networks_take_small_images(side):
    """Below 128 pixels the original gives NaN, and torchvision refuses."""
    torch.manual_seed(0)
    for size in ("large", "small"):
        small = build_raft(size, test_cfg=dict(iters=2))
        (found,) = predict(
            small, tiny_raft.image_pairs((side, side)), [tiny_raft.sample(side, side)]
        )
        assert found.pred_flow.shape == (2, side, side)
        assert found.pred_flow.isfinite().all()


def test_modes(model):
    pairs, samples = tiny_raft.image_pairs((24, 32), (24, 32)), [tiny_raft.sample(24, 32)] * 2
    data = model.data_preprocessor(dict(inputs=pairs, data_samples=samples))
    assert data["inputs"].abs().max() <= 1
    flows = model(**data, mode="tensor")
    assert [tuple(flow.shape) for flow in flows] == [(2, 2, 24, 32)] * 3
    losses = model(**data, mode="loss")
    target, valid = stack_truth(samples, flows[-1])
    expected = model.loss(flows, target, valid)
    torch.testing.assert_close(losses["loss_flow"], expected)
    epe = (flows[-1] - target).norm(dim=1)[valid].mean()
    torch.testing.assert_close(losses["epe"], epe)
    one, _ = model(**data, mode="predict")
    torch.testing.assert_close(one.pred_flow, flows[-1][0])
    assert one.pred_flow_low.shape == (2, 3, 4)
    with pytest.raises(ValueError, match="'predict', not 'features'"):
        model(**data, mode="features")


def test_test_iterations_are_their_own():
    model = MODELS.build(tiny_raft.config(iters=2, test_cfg=dict(iters=5)))
    inputs = torch.randn(1, 2, 3, 24, 32)
    assert len(model.train()(inputs)) == 2
    assert len(model.eval()(inputs)) == 5


def test_a_step_moves_all_parameters(model):
    model.train()
    pairs, samples = tiny_raft.image_pairs((24, 32), (40, 32)), [
        tiny_raft.sample(24, 32), tiny_raft.sample(40, 32)
    ]  # fmt: skip
    data = model.data_preprocessor(dict(inputs=pairs, data_samples=samples), training=True)
    total, log = model.parse_losses(model(**data, mode="loss"))
    total.backward()
    assert set(log) == {"loss", "loss_flow", "epe"}
    grads = {name: p.grad for name, p in model.named_parameters()}
    assert all(grad is not None and grad.isfinite().all() for grad in grads.values())
    silent = {name for name, grad in grads.items() if not grad.any()}
    # Biases before an instance norm are taken out again by it.
    assert all(name.startswith("feature_encoder") and name.endswith("bias") for name in silent)


def test_frozen_batch_norms_stay_frozen_through_train():
    model = MODELS.build(tiny_raft.config(freeze_bn=True))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 15
    model.train()
    model.train(True)
    assert model.training
    assert not any(norm.training for norm in norms)
    before = copy.deepcopy([norm.state_dict() for norm in norms])
    model(torch.randn(2, 2, 3, 24, 32))[-1].sum().backward()
    for norm, state in zip(norms, before, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in norm.state_dict().items())
        assert norm.weight.grad is not None
    holder = nn.Sequential(model)
    holder.train()  # as a Distiller does it
    assert not any(norm.training for norm in norms)
    assert all(m.training for m in MODELS.build(tiny_raft.config()).train().modules())


def test_bfloat16_keeps_flow_in_float32(model):
    data = model.data_preprocessor(dict(inputs=tiny_raft.image_pairs((40, 56)), data_samples=None))
    exact = model(data["inputs"])[-1]
    with torch.autocast("cpu", torch.bfloat16):
        flows = model(data["inputs"])
        losses = model.losses(flows, [tiny_raft.sample(40, 56)])
        losses["loss_flow"].backward()
    assert flows[-1].dtype is torch.float32
    assert losses["loss_flow"].dtype is torch.float32
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert 0 < (flows[-1] - exact).abs().max() < 0.1 * exact.abs().max()


def test_learnable_cost_volume_begins_as_raft_and_stays_positive_definite():
    torch.manual_seed(0)
    plain = build_raft("small", iters=2)
    learnt = build_raft("small", "learnable", iters=2)
    missing, unexpected = learnt.load_state_dict(plain.state_dict(), strict=False)
    assert set(missing) == {"correlation.metric.upper", "correlation.metric.raw_d"}
    assert not unexpected
    inputs = torch.rand(1, 2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        for ours, theirs in zip(learnt(inputs), plain(inputs), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    optimizer = torch.optim.AdamW(learnt.correlation.parameters(), lr=0.05)
    metric = learnt.correlation.metric
    learnt.train()
    for _ in range(4):
        optimizer.zero_grad()
        learnt(inputs)[-1].square().mean().backward()
        optimizer.step()
    assert metric.upper.abs().max() > 1e-3  # the rotation has moved, too
    matrix, rotation = metric.matrix(), metric.rotation()
    assert torch.equal(matrix, matrix.T) or (matrix - matrix.T).abs().max() < 1e-5
    assert torch.linalg.eigvalsh(matrix.double()).min() > 0
    assert (rotation.T @ rotation - torch.eye(128)).abs().max() < 1e-5


def test_warm_start_begins_with_the_flow_before():
    torch.manual_seed(0)
    config = tiny_raft.config(test_cfg=dict(warm_start=True))
    warm, cold = MODELS.build(config).eval(), MODELS.build(tiny_raft.config()).eval()
    cold.load_state_dict(warm.state_dict())
    pairs = tiny_raft.image_pairs(*[(40, 56)] * 5)
    places = [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 3)]
    previous, expected, found = None, [], []
    for pair, (sequence, index) in zip(pairs, places, strict=True):
        sample = tiny_raft.sample(40, 56, sequence=sequence, index=index)
        (result,) = predict(warm, [pair], [sample])
        found.append(result.pred_flow)
        start = forward_project(previous)[None] if index == 1 else None
        data = cold.data_preprocessor(dict(inputs=[pair]))
        with torch.no_grad():
            flows, low = cold.estimate(data["inputs"], 3, start)
        expected.append(flows[-1][0])
        previous = low[0]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    twin = copy.deepcopy(warm)  # of an EMA hook, say: begins anew
    sample = tiny_raft.sample(40, 56, sequence="b", index=4)
    cold_flow = predict(cold, pairs[:1], [sample.clone()])[0].pred_flow
    assert torch.equal(predict(twin, pairs[:1], [sample.clone()])[0].pred_flow, cold_flow)
    assert not torch.equal(predict(warm, pairs[:1], [sample.clone()])[0].pred_flow, cold_flow)
    with pytest.raises(ValueError, match="batch_size=1"):
        predict(warm, pairs[:2], [sample.clone(), sample.clone()])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(iters=0), "iters is an integer >= 1, not 0"),
        (dict(test_cfg=dict(iters=2.5)), "test_cfg.iters is an integer"),
        (
            dict(test_cfg=dict(iterations=3)),
            r"test_cfg has iters and warm_start, not \['iterations'\]",
        ),
        (dict(hidden_channels=32), "none is left for the context"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(tiny_raft.config() | options)


def test_wrong_inputs(model):
    with pytest.raises(ValueError, match="multiples of 8"):
        model(torch.zeros(1, 2, 3, 20, 24))
    with pytest.raises(ValueError, match=r"\(2, 3, H, W\) uint8"):
        model.data_preprocessor(dict(inputs=[torch.zeros(2, 3, 16, 16)]))
    with pytest.raises(ValueError, match="item 1 of the batch has no ground truth"):
        model.losses([torch.zeros(2, 2, 8, 8)], [tiny_raft.sample(8, 8), FlowDataSample()])
    with pytest.raises(ValueError, match=r"ground truth of \(8, 9\)"):
        model.losses([torch.zeros(1, 2, 8, 8)], [tiny_raft.sample(8, 9)])
