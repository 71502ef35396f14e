"""The matrix against numbers worked out in float64, and its properties after training."""

from __future__ import annotations

import copy

import pytest
import torch

from mmkd_ext.flow import LearnableCostVolume

RAW_P = [[1, 0.5, -0.25, 0.75], [9, 1, 0.1, -0.4], [9, 9, 1, 0.6], [9, 9, 9, 1]]  # 9: not read
RAW_D = [0, 1, -1, 2]
W = [
    [3.411438, -1.013844, 1.113313, -1.732651],
    [-1.013844, 2.536533, 0.095617, -0.205077],
    [1.113313, 0.095617, 1.36222, -1.591888],
    [-1.732651, -0.205077, -1.591888, 2.798962],
]


def original(dtype=torch.float64):
    """With the original's square parameters."""
    module = LearnableCostVolume(4).to(dtype)
    state = {"raw_P": torch.tensor(RAW_P, dtype=dtype), "raw_D": torch.tensor(RAW_D, dtype=dtype)}
    module.load_state_dict(state)
    return module


def test_the_original_parameters_give_the_original_matrix():
    module = original()
    rotation, matrix = module.rotation(), module.matrix()
    expected = torch.tensor([1, 3, 1 / 3, 5.77581981], dtype=torch.float64)
    torch.testing.assert_close(module.eigenvalues(), expected, rtol=0, atol=1e-8)
    row = torch.tensor([0.670383, 0.518999, -0.311584, 0.429119], dtype=torch.float64)
    torch.testing.assert_close(rotation[0], row, rtol=0, atol=1e-6)
    assert (rotation.T @ rotation - torch.eye(4)).abs().max() < 1e-14
    assert torch.linalg.det(rotation).item() == pytest.approx(1)
    torch.testing.assert_close(matrix, torch.tensor(W, dtype=torch.float64), rtol=0, atol=1e-6)
    found = torch.linalg.eigvalsh(matrix)
    torch.testing.assert_close(found, expected.sort().values, rtol=0, atol=1e-6)
    # The textbook form, with an inverse.
    upper = torch.tensor(RAW_P, dtype=torch.float64).triu()
    skew = (upper - upper.T) / 2
    cayley = (torch.eye(4) + skew) @ torch.linalg.inv(torch.eye(4) - skew)
    torch.testing.assert_close(rotation, cayley, rtol=0, atol=1e-12)


def test_it_begins_as_the_plain_inner_product():
    module = LearnableCostVolume(8)
    assert torch.equal(module.matrix(), torch.eye(8))
    features = torch.randn(2, 8, 3, 5)
    assert torch.equal(module(features), features)
    (module(features) * torch.randn(2, 8, 3, 5)).sum().backward()
    assert module.upper.grad.abs().max() < 1e-5  # P is free as long as all eigenvalues agree
    assert module.raw_d.grad.abs().min() > 1e-3


def test_the_elliptical_product():
    module = original(torch.float32)
    one, other = torch.randn(2, 1, 4, 2, 3).unbind(0)
    found = (module(one) * other).sum(dim=1)
    expected = torch.einsum("nchw,cd,ndhw->nhw", one, torch.tensor(W), other)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rate", [0.1, 10.0])
def test_it_stays_positive_definite_in_training(rate):
    torch.manual_seed(0)
    module = LearnableCostVolume(16)
    before = copy.deepcopy(module.state_dict())
    optimizer = torch.optim.SGD(module.parameters(), lr=rate)
    for _ in range(50):
        optimizer.zero_grad()
        one, other = torch.randn(2, 1, 16, 4, 4).unbind(0)
        ((module(one) * other).sum(dim=1) - 1).square().mean().backward()
        optimizer.step()
    assert all(not torch.equal(before[key], value) for key, value in module.state_dict().items())
    rotation, matrix = module.rotation(), module.matrix()
    assert (rotation.T @ rotation - torch.eye(16)).abs().max() < 1e-9
    torch.testing.assert_close(matrix, matrix.T, rtol=1e-5, atol=1e-6)
    assert module.eigenvalues().min() > 0
    assert torch.linalg.eigvalsh(matrix.double()).min() > 0


def test_half_precision_features():
    module = original(torch.float32)
    features = torch.randn(1, 4, 2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = module(features.bfloat16())
    assert found.dtype == torch.bfloat16
    expected = module(features.bfloat16().float())
    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=1e-2)
    with torch.no_grad():  # and with the parameters in half precision, too
        assert module.bfloat16().matrix().dtype == torch.float32


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="dim is an integer >= 1, not 0"):
        LearnableCostVolume(0)
    with pytest.raises(ValueError, match=r"takes features \(N, 8, H, W\), not \(1, 4, 2, 2\)"):
        LearnableCostVolume(8)(torch.zeros(1, 4, 2, 2))
