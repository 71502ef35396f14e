import pytest
import torch
import torch.nn.functional as F

from mmkd_ext.losses import WSLDLoss, wsld_loss

from . import golden


def reference(student, teacher, ce_target, temperature, alpha):
    student_ce = F.cross_entropy(student.detach(), ce_target, reduction="none")
    teacher_ce = F.cross_entropy(teacher, ce_target, reduction="none")
    weight = 1 - torch.exp(-student_ce / (teacher_ce + 1e-7))
    soft = F.cross_entropy(
        student / temperature, F.softmax(teacher / temperature, 1), reduction="none"
    )
    return alpha * temperature**2 * (weight * soft).mean()


def test_golden_value():
    student, teacher = golden.logits()
    value = wsld_loss(student, teacher, golden.HARD, temperature=2.0, alpha=2.5)
    assert golden.close(value, 16.340744734041)
    assert golden.close(WSLDLoss()(student, teacher, golden.HARD), 16.340744734041)


@pytest.mark.parametrize("policy", ["argmax", "mix"])
def test_soft_labels(policy):
    student, teacher = golden.logits()
    target = golden.soft() if policy == "mix" else golden.HARD
    expected = reference(student, teacher, target, 4.0, 2.25)
    value = wsld_loss(student, teacher, golden.soft(), 4.0, 2.25, policy)
    torch.testing.assert_close(value, expected)
    (ours,) = torch.autograd.grad(value, student)
    (theirs,) = torch.autograd.grad(expected, student)  # the weight is a constant
    torch.testing.assert_close(ours, theirs)
    one_hot = F.one_hot(golden.HARD, golden.CLASSES)
    hard = wsld_loss(student, teacher, golden.HARD)
    torch.testing.assert_close(wsld_loss(student, teacher, one_hot, soft_labels=policy), hard)


@pytest.mark.parametrize(
    "args", [{"temperature": 0}, {"alpha": -1}, {"soft_labels": "top2"}, {"loss_weight": "a"}]
)
def test_bad_arguments(args):
    with pytest.raises(ValueError, match=f"WSLDLoss: {next(iter(args))} must be"):
        WSLDLoss(**args)
