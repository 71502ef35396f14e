import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmkd_ext.losses import SRRLLoss, srrl_loss


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    return nn.Linear(6, 5).requires_grad_(False)


def bound(classifier, **args):
    loss = SRRLLoss(3, 6, **args)
    loss.bind_teacher("classifier", classifier)
    return loss


def test_plain_formula(classifier):
    loss = bound(classifier, alpha=2.0, beta=5.0)
    student, teacher = torch.randn(4, 3, 5, 6), torch.randn(4, 6, 5, 6)
    terms = loss(student, teacher)
    x = F.conv2d(student, loss.connector[0].weight)
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    pooled = F.relu((x - mean) / (var + 1e-5).sqrt()).mean((2, 3))
    target = teacher.mean((2, 3))
    torch.testing.assert_close(terms["feature"], 2 * (pooled - target).square().mean())
    logits = (classifier(pooled) - classifier(target)).square().mean()
    torch.testing.assert_close(terms["logits"], 5 * logits)
    assert set(terms) == {"feature", "logits"}


def test_recomputed_logits_are_the_teachers_own(classifier):
    """A head of global average pooling and a linear layer gives the same logits."""
    teacher = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier)
    feature = torch.randn(2, 6, 4, 4)
    student = torch.randn(2, 6, 4, 4)
    _, logits = srrl_loss(student, feature, classifier)
    torch.testing.assert_close(logits, F.mse_loss(teacher(student), teacher(feature)))


def test_gradient_passes_the_frozen_classifier(classifier):
    loss = bound(classifier, alpha=0.0)
    student = torch.randn(4, 3, 5, 6, requires_grad=True)
    sum(loss(student, torch.randn(4, 6, 5, 6)).values()).backward()
    assert student.grad.abs().sum() > 0
    assert loss.connector[0].weight.grad.abs().sum() > 0
    assert classifier.weight.grad is None


def test_classifier_is_no_part_of_the_loss(classifier):
    loss = bound(classifier)
    names = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert list(loss.state_dict()) == [
        "connector.0.weight",
        *(f"connector.1.{name}" for name in names),
    ]
    assert all(module is not classifier for module in loss.modules())
    assert copy.deepcopy(loss).borrowed("classifier") is classifier


def test_classifier_in_half_precision(classifier):
    loss = bound(classifier.bfloat16())
    terms = loss(torch.randn(4, 3, 5, 6), torch.randn(4, 6, 5, 6))
    assert {term.dtype for term in terms.values()} == {torch.float32}


def test_errors(classifier):
    with pytest.raises(ValueError, match="SRRLLoss needs student_channels and teacher_channels"):
        SRRLLoss()
    loss = SRRLLoss(3, 6, classifier="head.layers.head")
    maps = torch.randn(2, 3, 4, 4), torch.randn(2, 6, 4, 4)
    with pytest.raises(ValueError, match=r"'head.layers.head' \(classifier\): build"):
        loss(*maps)
    with pytest.raises(ValueError, match="borrows no module of the teacher through 'head'"):
        loss.bind_teacher("head", classifier)
    loss.bind_teacher("classifier", classifier)
    with pytest.raises(ValueError, match="built for 6 teacher channels"):
        loss(maps[0], maps[0])
    with pytest.raises(ValueError, match="differ in batch size"):
        loss(maps[0][:1], maps[1])
    expected = {"student_channels": 3, "teacher_channels": 6}
    assert SRRLLoss.infer_args(*maps, {}) == expected
