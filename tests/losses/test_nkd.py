import pytest
import torch
import torch.nn.functional as F

from mmkd_ext.losses import NKDLoss, nkd_loss

from . import golden


@pytest.mark.parametrize("target", [golden.HARD, golden.soft()], ids=["hard", "soft"])
@pytest.mark.parametrize(
    ("temperature", "gamma", "expected"),
    [
        (1.0, 1.5, 5.175032130921),
        (3.0, 3.5, 73.429320123944),
        (1.0, 1.0, 3.472492018607),
        (1.0, 0.0, 0.067411793979),
    ],
)
def test_golden_values(temperature, gamma, expected, target):
    student, teacher = golden.logits()
    assert golden.close(nkd_loss(student, teacher, target, temperature, gamma), expected)
    assert golden.close(NKDLoss(temperature, gamma)(student, teacher, target), expected)


def test_golden_gradient():
    student, teacher = golden.logits()
    nkd_loss(student, teacher, golden.HARD, temperature=1.0, gamma=1.5).backward()
    assert golden.close(student.grad.abs().sum(), 2.2295985934)


def test_target_column_is_removed():
    """For three months the released mask removed nothing and gave this value."""
    student, teacher = golden.logits()
    unmasked = F.cross_entropy(student, F.softmax(teacher, 1))
    target_part = nkd_loss(student, teacher, golden.HARD, gamma=0.0)
    assert golden.close(target_part + 1.5 * unmasked, 5.211092570705)
    value = nkd_loss(student, teacher, golden.HARD)
    assert not golden.close(value, 5.211092570705)
    assert value.item() != pytest.approx(5.211092570705, rel=1e-3)


def test_sample_by_sample_reference():
    student, teacher = golden.logits()
    expected = 0
    for z_s, z_t, label in zip(student, teacher, golden.HARD.tolist(), strict=True):
        rest = [i for i in range(golden.CLASSES) if i != label]
        p, q = F.softmax(z_t[rest] / 2, 0), F.softmax(z_s[rest] / 2, 0)
        expected = expected - F.softmax(z_t, 0)[label] * F.softmax(z_s, 0)[label].log() / 4
        expected = expected - 0.8 * 4 * (p * q.log()).sum() / 4
    torch.testing.assert_close(nkd_loss(student, teacher, golden.HARD, 2.0, 0.8), expected)


def test_mixed_labels():
    student, teacher = golden.logits()
    target = golden.soft()
    both = [
        [nkd_loss(student[row, None], teacher[row, None], label[None])
         for label in weights.topk(2).indices]
        for row, weights in enumerate(target)
    ]  # fmt: skip
    expected = sum(
        weight * value
        for weights, values in zip(target, both, strict=True)
        for weight, value in zip(weights.topk(2).values, values, strict=True)
    )
    value = nkd_loss(student, teacher, target, soft_labels="mix")
    torch.testing.assert_close(value, expected / 4)
    one_hot = F.one_hot(golden.HARD, golden.CLASSES).double()
    hard = nkd_loss(student, teacher, golden.HARD)
    torch.testing.assert_close(nkd_loss(student, teacher, one_hot, soft_labels="mix"), hard)
    torch.testing.assert_close(nkd_loss(student, teacher, one_hot), hard)


def test_gradient():
    student, teacher = golden.logits()
    teacher.requires_grad_()
    nkd_loss(student, teacher, golden.HARD).backward()
    assert teacher.grad is None
    for policy in ("argmax", "mix"):
        assert torch.autograd.gradcheck(
            lambda x, policy=policy: nkd_loss(x, teacher, golden.soft(), soft_labels=policy),
            student,
        )


@pytest.mark.parametrize(
    "args", [{"temperature": 0}, {"gamma": -1}, {"soft_labels": "top2"}, {"loss_weight": -1}]
)
def test_bad_arguments(args):
    with pytest.raises(ValueError, match=f"NKDLoss: {next(iter(args))} must be"):
        NKDLoss(**args)


def test_unknown_policy_of_the_function():
    student, teacher = golden.logits()
    with pytest.raises(ValueError, match=r"soft_labels must be one of 'argmax', 'mix', not 'max'"):
        nkd_loss(student, teacher, golden.HARD, soft_labels="max")
