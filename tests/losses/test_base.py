import copy

import pytest
import torch
from torch import nn

from mmkd_ext.losses import DistillLoss, KDLoss, MGDLoss, TFNKDLoss
from mmkd_ext.losses.base import run_module


class Probe(DistillLoss):
    """Notes what reaches ``compute``."""

    def __init__(self, loss_weight=1.0):
        super().__init__(loss_weight)
        self.seen = []

    def compute(self, student, teacher, data_samples):
        self.seen.append((student, teacher, torch.mm(student, student.T)))
        total = (student * teacher).sum()
        return {"a": total, "b": 2 * total} if isinstance(self.loss_weight, dict) else total


@pytest.mark.parametrize(
    ("given", "used"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
@pytest.mark.parametrize("autocast", [False, True])
def test_precision(given, used, autocast):
    probe = Probe()
    student = torch.rand(2, 2, dtype=given, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        value = probe(student, torch.rand(2, 2, dtype=torch.bfloat16))
        assert torch.is_autocast_enabled("cpu") == autocast
    assert {t.dtype for t in (*probe.seen[0], value)} == {used}
    value.backward()
    assert student.grad.dtype == given


def test_teacher_is_a_constant():
    teacher = torch.rand(2, 2, requires_grad=True)
    Probe()(torch.rand(2, 2, requires_grad=True), teacher).backward()
    assert teacher.grad is None


def test_weights():
    student, teacher = torch.rand(2, 2), torch.rand(2, 2)
    raw = Probe()(student, teacher)
    torch.testing.assert_close(Probe(0.3)(student, teacher), 0.3 * raw)
    assert Probe(0)(student, teacher) == 0
    terms = Probe({"a": 0.5, "b": 2.0})(student, teacher)
    torch.testing.assert_close(terms, {"a": 0.5 * raw, "b": 4 * raw})


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), "1", True, None])
def test_bad_weight(weight):
    with pytest.raises(ValueError, match="Probe: loss_weight must be a finite number >= 0"):
        Probe(weight)
    with pytest.raises(ValueError, match="Probe: weight of a must be a finite number >= 0"):
        Probe({"a": weight})


def test_firings_are_summed():
    maps = [torch.randn(2, 3, 4, 5) for _ in range(3)]
    teacher = [torch.randn(2, 3, 4, 5) for _ in range(3)]
    loss = MGDLoss(3, 3, mask_ratio=0.0)
    expected = sum(loss(s, t) for s, t in zip(maps, teacher, strict=True))
    torch.testing.assert_close(loss(maps, teacher), expected)
    expected = sum(loss(s, teacher[0]) for s in maps)
    torch.testing.assert_close(loss(maps, teacher[0]), expected)
    torch.testing.assert_close(loss(maps, teacher[:1]), expected)
    with pytest.raises(ValueError, match="student tap fired 3 times and the teacher tap 2 times"):
        loss(maps, teacher[:2])


def test_firings_of_different_sizes():
    """A shared head sees every level of a pyramid."""
    levels = [torch.randn(1, 3, size, size) for size in (8, 4, 2)]
    assert MGDLoss(3, 3)(levels, [level + 1 for level in levels]).isfinite()


def test_each_firing_draws_its_own_mask(monkeypatch):
    shapes, rand = [], torch.rand

    def counting(*size, **kwargs):
        shapes.append(size)
        return rand(*size, **kwargs)

    maps = [torch.zeros(2, 3, 4, 5)] * 2
    monkeypatch.setattr(torch, "rand", counting)
    MGDLoss(3, 3)(maps, maps)
    assert shapes == [(2, 1, 4, 5)] * 2


def test_wrong_structures():
    logits = torch.rand(2, 3)
    with pytest.raises(ValueError, match="KDLoss: the student tap must give one tensor, not tuple"):
        KDLoss()((logits,), logits)
    with pytest.raises(ValueError, match="KDLoss: the teacher tap must give one tensor, not dict"):
        KDLoss()(logits, {"logits": logits})
    with pytest.raises(ValueError, match="KDLoss: the student tap must give one tensor, not list"):
        KDLoss()([], logits)
    with pytest.raises(ValueError, match="KDLoss needs a teacher tap, but got none"):
        KDLoss()(logits)


def test_self_distillation_ignores_the_teacher():
    logits, labels = torch.rand(2, 3), torch.tensor([0, 2])
    assert TFNKDLoss()(logits, None, labels) == TFNKDLoss()(logits, logits, labels)


def test_module_held_in_half_precision():
    """A whole model in bfloat16: the products run in half, the loss is float32."""
    loss = MGDLoss(3, 4).bfloat16()
    value = loss(torch.rand(2, 3, 4, 4).bfloat16(), torch.rand(2, 4, 4, 4).bfloat16())
    assert value.dtype == torch.float32
    layer = nn.Linear(3, 3).bfloat16()
    assert run_module(layer, torch.rand(2, 3)).dtype == torch.float32
    assert run_module(nn.ReLU(), torch.rand(2, 3, dtype=torch.float64)).dtype == torch.float64


def test_copy_and_pickle_of_state(tmp_path):
    loss = MGDLoss(3, 4)
    torch.save(loss.state_dict(), tmp_path / "loss.pth")
    other = copy.deepcopy(loss)
    nn.init.zeros_(other.align.weight)
    assert loss.align.weight.abs().sum() > 0
    other.load_state_dict(torch.load(tmp_path / "loss.pth", weights_only=True))
    torch.testing.assert_close(other.align.weight, loss.align.weight)
