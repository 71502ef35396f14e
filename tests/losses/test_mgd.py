import pytest
import torch
import torch.nn.functional as F

from mmkd_ext.losses import MGDLoss, mgd_mask

from . import golden

CASES = [
    ("pixel", 4, 0.65, 2e-5, 2.603463756385e-04, 1.972883856407e-04),
    ("pixel", 3, 0.65, 2e-5, 2.483581011118e-04, 2.652990083403e-05),
    ("channel", 4, 0.15, 7e-5, 9.106054777813e-04, 1.403951835140e-03),
    ("channel", 3, 0.15, 7e-5, 8.629487994952e-04, 1.965697138850e-04),
]


@pytest.mark.parametrize(("mask", "channels", "ratio", "weight", "value", "gradient"), CASES)
def test_golden_values(monkeypatch, mask, channels, ratio, weight, value, gradient):
    calls = []
    monkeypatch.setattr(torch, "rand", golden.fake_rand(calls))
    loss = golden.fill(MGDLoss(channels, 4, mask_ratio=ratio, mask=mask, loss_weight=weight))
    student, teacher = golden.student((2, channels, 5, 6)), golden.teacher((2, 4, 5, 6))
    result = loss(student, teacher)
    result.backward()
    assert golden.close(result, value)
    assert golden.close(student.grad.abs().sum(), gradient)
    shape = (2, 1, 5, 6) if mask == "pixel" else (2, 4, 1, 1)
    assert calls == [(shape, {"device": student.device})]


@pytest.mark.parametrize(("mask", "masked", "cells"), [("pixel", 38, 60), ("channel", 2, 8)])
def test_golden_masks(monkeypatch, mask, masked, cells):
    monkeypatch.setattr(torch, "rand", golden.fake_rand())
    ratio = 0.65 if mask == "pixel" else 0.15
    drawn = mgd_mask(torch.zeros(2, 4, 5, 6, dtype=torch.float64), ratio, mask)
    assert drawn.dtype == torch.float64
    assert drawn.numel() == cells
    assert int((drawn == 0).sum()) == masked
    assert int((drawn == 1).sum()) == cells - masked


def test_plain_formula():
    loss = MGDLoss(3, 4, mask_ratio=0.5, loss_weight=0.1)
    student, teacher = torch.rand(2, 3, 5, 7), torch.rand(2, 4, 5, 7)
    torch.manual_seed(1)
    value = loss(student, teacher)
    torch.manual_seed(1)
    keep = ~(torch.rand(2, 1, 5, 7) > 0.5)
    x = F.conv2d(student, loss.align.weight, loss.align.bias) * keep
    x = F.relu(F.conv2d(x, loss.generation[0].weight, loss.generation[0].bias, padding=1))
    x = F.conv2d(x, loss.generation[2].weight, loss.generation[2].bias, padding=1)
    torch.testing.assert_close(value, 0.1 * (x - teacher).square().sum() / 2)


def test_gradient_only_through_unmasked_cells(monkeypatch):
    monkeypatch.setattr(torch, "rand", golden.fake_rand())
    loss = MGDLoss(4, 4)
    student = golden.student((2, 4, 5, 6)).detach().float().requires_grad_()
    loss(student, torch.zeros(2, 4, 5, 6)).backward()
    kept = mgd_mask(student, 0.65, "pixel").bool().expand_as(student)
    assert (student.grad[~kept] == 0).all()
    assert (student.grad[kept] != 0).any()


def test_mask_ratio():
    torch.manual_seed(0)
    feature = torch.zeros(2, 3, 8, 8)
    for kind in ("pixel", "channel"):
        assert mgd_mask(feature, 0.0, kind).all()
        assert not mgd_mask(feature, 1.0, kind).any()
    many = mgd_mask(torch.zeros(4, 1, 100, 100), 0.65, "pixel")
    assert float(many.mean()) == pytest.approx(0.35, abs=0.02)
    many = mgd_mask(torch.zeros(4, 10000, 1, 1), 0.15, "channel")
    assert float(many.mean()) == pytest.approx(0.85, abs=0.02)


def test_parameters_in_order():
    names = [
        "align.weight", "align.bias", "generation.0.weight", "generation.0.bias",
        "generation.2.weight", "generation.2.bias",
    ]  # fmt: skip
    assert list(MGDLoss(3, 4).state_dict()) == names
    assert [name for name, _ in MGDLoss(3, 4).named_parameters()] == names
    assert list(MGDLoss(4, 4).state_dict()) == names[2:]
    assert sum(p.numel() for p in MGDLoss(512, 512).parameters()) == 4_719_616
    narrow = MGDLoss(4, 8, generator_channels=2)
    assert narrow.generation[0].weight.shape == (2, 8, 3, 3)
    assert narrow.generation[2].weight.shape == (8, 2, 3, 3)


def test_resize():
    student, teacher = torch.rand(2, 3, 4, 5), torch.rand(2, 4, 8, 10)
    with pytest.raises(ValueError, match=r"MGDLoss: .*\(2, 3, 4, 5\).*\(2, 4, 8, 10\).*stride"):
        MGDLoss(3, 4)(student, teacher)
    small = F.interpolate(teacher, (4, 5), mode="bilinear")
    loss = MGDLoss(3, 4, mask_ratio=0.0, resize="teacher")
    torch.testing.assert_close(loss(student, teacher), loss(student, small))
    loss = MGDLoss(3, 4, mask_ratio=0.0, resize="student", loss_weight=1.0)
    large = F.interpolate(loss.align(student), (8, 10), mode="bilinear")
    expected = (loss.generation(large) - teacher).square().sum() / 2
    torch.testing.assert_close(loss(student, teacher), expected)


def test_infer_args():
    student, teacher = torch.rand(1, 3, 4, 4), torch.rand(1, 6, 4, 4)
    expected = {"student_channels": 3, "teacher_channels": 6}
    assert MGDLoss.infer_args(student, teacher, {}) == expected
    assert MGDLoss.infer_args([student, student], teacher, {}) == expected
    with pytest.raises(ValueError, match=r"student tap must be \(N, C, H, W\), not \(2, 3\)"):
        MGDLoss.infer_args(torch.rand(2, 3), teacher, {})


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "needs student_channels and teacher_channels: give them"),
        ({"student_channels": 3}, "needs teacher_channels: give"),
        ({"student_channels": 0, "teacher_channels": 4}, "student_channels must be an integer"),
        ({"mask_ratio": 1.5}, r"mask_ratio must be in \[0, 1\], not 1.5"),
        ({"mask_ratio": float("nan")}, "mask_ratio must be"),
        ({"mask": "token"}, "mask must be one of 'pixel', 'channel', not 'token'"),
        ({"loss_weight": -1.0}, "loss_weight must be a finite number >= 0"),
        ({"loss_weight": float("inf")}, "loss_weight must be a finite number >= 0"),
        ({"resize": "yes"}, "resize must be one of None, 'student', 'teacher'"),
        ({"generator_channels": -1}, "generator_channels must be an integer >= 1"),
    ],
)
def test_bad_arguments(args, message):
    if args and "student_channels" not in args:
        args = {"student_channels": 4, "teacher_channels": 4, **args}
    with pytest.raises(ValueError, match=f"MGDLoss:? {message}"):
        MGDLoss(**args)


def test_wrong_channels():
    loss = MGDLoss(3, 4)
    with pytest.raises(ValueError, match=r"built for 3 student channels.*\(2, 5, 4, 4\)"):
        loss(torch.rand(2, 5, 4, 4), torch.rand(2, 4, 4, 4))
    with pytest.raises(ValueError, match=r"built for 4 teacher channels.*\(2, 5, 4, 4\)"):
        loss(torch.rand(2, 3, 4, 4), torch.rand(2, 5, 4, 4))
