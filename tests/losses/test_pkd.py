import math

import pytest
import torch
import torch.nn.functional as F

from mmkd_ext.losses import PKDLoss, pkd_loss

from . import golden

SHAPE = (2, 3, 4, 5)


def values_of(feature, channel):
    """A channel's values over the batch, as plain numbers."""
    batch, _, height, width = feature.shape
    return [
        feature[n, channel, y, x].item()
        for n in range(batch)
        for y in range(height)
        for x in range(width)
    ]


def pearson(a, b):
    """Textbook correlation of two lists of numbers."""
    mean_a, mean_b = math.fsum(a) / len(a), math.fsum(b) / len(b)
    covariance = math.fsum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    square_a = math.fsum((x - mean_a) ** 2 for x in a)
    square_b = math.fsum((y - mean_b) ** 2 for y in b)
    return covariance / math.sqrt(square_a * square_b)


def maps(scale=1.0):
    """Student (leaf) and teacher, correlated differently in each channel."""
    student = golden.student(SHAPE, scale)
    mixture = torch.tensor([0.9, 0.0, -0.5], dtype=torch.float64).view(3, 1, 1)
    return student, mixture * student.detach() + golden.teacher(SHAPE, scale)


def test_one_minus_pearson():
    student, teacher = maps(scale=100)  # variances of about 800, beside which 1e-6 is nothing
    correlations = [pearson(values_of(student, c), values_of(teacher, c)) for c in range(3)]
    assert max(correlations) > 0.5
    assert min(correlations) < -0.2
    expected = sum(1 - r for r in correlations) / 3
    assert pkd_loss(student, teacher).item() == pytest.approx(expected, rel=1e-8)
    assert PKDLoss()(student, teacher).item() == pytest.approx(6 * expected, rel=1e-8)


def test_plain_loops():
    """Population variance plus 1e-6; half the mean of the squares."""
    student, teacher = maps(scale=0.01)  # variances of about 8e-6: the 1e-6 counts
    total = 0.0
    for channel in range(3):
        sides = []
        for feature in (student, teacher):
            values = values_of(feature, channel)
            mean = sum(values) / len(values)
            variance = sum((v - mean) ** 2 for v in values) / len(values)
            sides.append([(v - mean) / math.sqrt(variance + 1e-6) for v in values])
        total += sum((a - b) ** 2 for a, b in zip(*sides, strict=True))
    assert golden.close(pkd_loss(student, teacher), 0.5 * total / student.numel())


def test_scale_and_shift_of_a_channel_do_not_matter():
    student, teacher = maps(scale=100)
    scale = torch.tensor([3.0, 0.5, 20.0], dtype=torch.float64).view(3, 1, 1)
    shift = torch.tensor([-7.0, 0.0, 1000.0], dtype=torch.float64).view(3, 1, 1)
    expected = pkd_loss(student, teacher)
    close = {"rtol": 1e-7, "atol": 0}
    torch.testing.assert_close(pkd_loss(student * scale + shift, teacher), expected, **close)
    torch.testing.assert_close(pkd_loss(student, teacher * scale + shift), expected, **close)
    torch.testing.assert_close(pkd_loss(-student, teacher), 2 - expected, **close)
    assert pkd_loss(teacher * scale + shift, teacher) < 1e-9
    # but of a position, and of one image of the batch, they do
    position = torch.linspace(1, 3, 5, dtype=torch.float64)
    image = torch.tensor([1.0, 3.0], dtype=torch.float64).view(2, 1, 1, 1)
    for factor in (position, image):
        assert abs(pkd_loss(student * factor, teacher) - expected) > 1e-3


def test_gradient():
    student, teacher = maps()
    assert torch.autograd.gradcheck(lambda x: pkd_loss(x, teacher), student)
    teacher.requires_grad_()
    pkd_loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_constant_channels():
    student, teacher = (feature.detach().float() for feature in maps(scale=10))
    whole = pkd_loss(student[:, 1:], teacher[:, 1:])
    flat = student.clone()
    flat[:, 0] = 0.1
    flat.requires_grad_()
    value = pkd_loss(flat, teacher)
    # no correlation: 1/2, up to the share of 1e-6 in the teacher's variance
    torch.testing.assert_close(value, (0.5 + 2 * whole) / 3)
    value.backward()
    channel = teacher[:, 0]
    expected = -(channel - channel.mean()) / channel.std(correction=0) / 120 * 1000
    torch.testing.assert_close(flat.grad[:, 0], expected, rtol=1e-4, atol=1e-4)
    both = teacher.clone()
    both[:, 0] = -3.0
    torch.testing.assert_close(pkd_loss(flat, both), 2 * whole / 3)
    one_cell = torch.rand(1, 3, 1, 1, requires_grad=True)
    value = pkd_loss(one_cell, torch.rand(1, 3, 1, 1))
    value.backward()
    assert value == 0
    assert (one_cell.grad == 0).all()


def test_precise_beside_a_large_mean():
    """In float32, where E[x^2] - E[x]^2 would have lost the variance altogether."""
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    expected = pkd_loss(student.double(), teacher.double()).float()
    torch.testing.assert_close(pkd_loss(student + 5000, teacher), expected, rtol=1e-3, atol=0)


def test_bf16_under_autocast():
    student, teacher = (side.detach().bfloat16() for side in maps(scale=100))
    student.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = PKDLoss(loss_weight=1.0)(student, teacher)
    torch.testing.assert_close(value, pkd_loss(student.float(), teacher.float()), rtol=0, atol=0)
    value.backward()
    assert student.grad.isfinite().all()


def test_sizes_differ():
    student, teacher = golden.student(SHAPE, 6), golden.teacher((2, 3, 8, 10), 8)
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 5\).*\(2, 3, 8, 10\).*resize='student'"):
        PKDLoss()(student, teacher)
    for side, size in (("student", (8, 10)), ("teacher", (4, 5))):
        value = PKDLoss(loss_weight=1.0, resize=side)(student, teacher)
        pair = [F.interpolate(x, size, mode="bilinear") if x.shape[2:] != size else x
                for x in (student, teacher)]  # fmt: skip
        torch.testing.assert_close(value, pkd_loss(*pair))


def test_bad_maps():
    student = torch.rand(2, 3, 4, 4)
    for call in (PKDLoss(), pkd_loss):
        with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\).*\(2, 5, 4, 4\) differ in channels"):
            call(student, torch.rand(2, 5, 4, 4))
        with pytest.raises(ValueError, match="differ in batch size"):
            call(student, torch.rand(1, 3, 4, 4))
        with pytest.raises(ValueError, match=r"teacher tap must be \(N, C, H, W\), not \(2, 3\)"):
            call(student, torch.rand(2, 3))


@pytest.mark.parametrize("args", [{"loss_weight": -1}, {"resize": "both"}])
def test_bad_arguments(args):
    with pytest.raises(ValueError, match=f"PKDLoss: {next(iter(args))} must be"):
        PKDLoss(**args)
