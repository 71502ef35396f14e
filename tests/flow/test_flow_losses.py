"""The sequence loss, upsampling and warm start, against worked figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import griddata

from mmkd_ext.flow.losses import FlowPseudoLabelLoss, SequenceLoss, sequence_loss
from mmkd_ext.flow.models import BilinearUpsampler, ConvexUpsampler
from mmkd_ext.flow.structures import FlowDataSample
from mmkd_ext.flow.warm_start import forward_project


def worked_example():
    target = torch.zeros(1, 2, 2, 2)
    target[0, :, 0, 0] = torch.tensor([3.0, 4.0])
    target[0, 0, 1, 1] = 500
    valid = torch.tensor([[[True, True], [False, True]]])
    return [torch.full((1, 2, 2, 2), float(i)) for i in (1, 2, 3)], target, valid


@pytest.mark.parametrize(("gamma", "expected"), [(0.8, 2.1350), (0.85, 2.2509)])
def test_sequence_loss(gamma, expected):
    assert sequence_loss(*worked_example(), gamma=gamma).item() == pytest.approx(expected, abs=5e-5)


def test_what_is_not_valid_has_no_gradient_even_where_it_is_infinite():
    flows, target, valid = worked_example()
    flows[0][0, :, 1, 0] = float("inf")
    flows = [flow.requires_grad_() for flow in flows]
    loss = SequenceLoss(loss_weight=2.0)(flows, target, valid)
    assert loss.item() == pytest.approx(2 * 2.1350, abs=1e-4)
    loss.backward()
    for flow in flows:
        assert (flow.grad[0, :, 1] == 0).all()  # not known, and too long
        assert (flow.grad[0, :, 0, 1] != 0).all()


def test_a_target_of_nan_shows():
    flows, target, valid = worked_example()
    target[0, 0, 0, 0] = float("nan")
    assert sequence_loss(flows, target, valid).isnan()


def test_pseudo_labels_are_the_teachers_last_flow():
    student = [torch.full((1, 2, 2, 2), float(i), requires_grad=True) for i in (1, 2)]
    teacher = [torch.full((1, 2, 2, 2), float(i)) for i in (9, 9, 5)]
    loss = FlowPseudoLabelLoss(loss_weight=0.5)(tuple(student), tuple(teacher))
    assert loss.item() == pytest.approx(0.5 * (0.8 * 4 + 3))
    loss.backward()
    assert student[0].grad.sum().item() == pytest.approx(-0.5 * 0.8)


def test_pseudo_labels_leave_the_padding_out():
    student = [torch.zeros(1, 2, 4, 6, requires_grad=True)]
    teacher = [torch.ones(1, 2, 4, 6)]
    sample = FlowDataSample(metainfo=dict(pad=(1, 2, 0, 1)))
    loss = FlowPseudoLabelLoss()(tuple(student), tuple(teacher), [sample])
    assert loss.item() == pytest.approx(3 * 3 / 24)
    loss.backward()
    assert (student[0].grad != 0)[0, 0].nonzero().tolist() == [
        [y, x] for y in range(3) for x in (1, 2, 3)
    ]
    with pytest.raises(ValueError, match="FlowPseudoLabelLoss: gamma lies above 0"):
        FlowPseudoLabelLoss(gamma=-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, t, v: (f, t[0], v), "target is"),
        (lambda f, t, v: (f, t, v[0]), "valid"),
        (lambda f, t, v: ([f[0][..., :1]], t, v), r"there is \(1, 2, 2, 1\)"),
        (lambda f, t, v: ([], t, v), "there is none"),
    ],
)
def test_wrong_shapes(change, message):
    with pytest.raises(ValueError, match=message):
        sequence_loss(*change(*worked_example()))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="gamma lies above 0"):
        SequenceLoss(gamma=0)


def test_convex_upsampling_of_equal_weights():
    upsampler = ConvexUpsampler(4, hidden_channels=8)
    for parameter in upsampler.parameters():
        torch.nn.init.zeros_(parameter)
    flow = torch.arange(12.0).view(1, 2, 2, 3)
    found = upsampler(flow, torch.randn(1, 4, 2, 3))
    assert found.shape == (1, 2, 16, 24)
    assert found.sum().item() == pytest.approx(17521.7793, abs=0.01)
    places = [found[0, 0, 0, x].item() for x in (0, 8, 16)]
    assert places == pytest.approx([7.1111, 13.3333, 10.6667], abs=1e-4)


def test_bilinear_upsampling():
    found = BilinearUpsampler(4)(torch.arange(12.0).view(1, 2, 2, 3), torch.zeros(1, 4, 2, 3))
    assert found[0, 0, 0, :5].tolist() == pytest.approx(
        [0, 0.6957, 1.3913, 2.087, 2.7826], abs=1e-4
    )
    assert found.sum().item() == pytest.approx(33792, abs=0.1)


def test_forward_projection_is_the_originals():
    """The original asks scipy's griddata for the nearest arrival, in x and y."""
    generator = np.random.RandomState(0)
    flow = generator.randn(2, 14, 19) * 3
    flow[:, :3] += 30  # these leave the image
    y, x = np.mgrid[:14, :19]
    u, v = flow
    there = x + u, y + v
    inside = (there[0] > 0) & (there[0] < 19) & (there[1] > 0) & (there[1] < 14)
    expected = [
        griddata((there[0][inside], there[1][inside]), part[inside], (x, y), method="nearest")
        for part in flow
    ]
    found = forward_project(torch.from_numpy(flow))
    np.testing.assert_array_equal(found.numpy(), np.array(expected))
    assert 100 < inside.sum() < inside.size


def test_forward_projection_of_what_moves_and_of_what_leaves():
    flow = torch.zeros(2, 6, 8)
    flow[0] = 2
    assert torch.equal(forward_project(flow), flow)
    assert torch.equal(forward_project(flow + 100), torch.zeros_like(flow))
