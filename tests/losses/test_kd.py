import pytest
import torch
import torch.nn.functional as F

from mmkd_ext.losses import KDLoss, kd_loss

from . import golden


def test_golden_value():
    student, teacher = golden.logits()
    assert golden.close(F.cross_entropy(student, golden.HARD), 4.379019077000)  # the inputs
    assert golden.close(kd_loss(student, teacher, temperature=3.0, alpha=0.5), 10.885195500192)
    assert golden.close(KDLoss(temperature=3.0, alpha=0.5)(student, teacher), 10.885195500192)


def test_equals_kl_divergence_plus_the_teachers_entropy():
    student, teacher = golden.logits()
    p, log_q = F.softmax(teacher / 2, 1), F.log_softmax(student / 2, 1)
    entropy = -(p * p.log()).sum(1).mean()
    expected = 0.7 * 4 * (F.kl_div(log_q, p, reduction="batchmean") + entropy)
    torch.testing.assert_close(kd_loss(student, teacher, 2.0, 0.7), expected)


def test_gradient():
    student, teacher = golden.logits()
    assert torch.autograd.gradcheck(lambda x: kd_loss(x, teacher, 3.0), student)
    teacher.requires_grad_()
    kd_loss(student, teacher).backward()
    assert teacher.grad is None
    expected = 0.5 * (student.softmax(1) - teacher.softmax(1)) / 4
    torch.testing.assert_close(student.grad, expected.detach())


@pytest.mark.parametrize("args", [{"temperature": 0}, {"alpha": -1}, {"loss_weight": -0.1}])
def test_bad_arguments(args):
    with pytest.raises(ValueError, match=f"KDLoss: {next(iter(args))} must be"):
        KDLoss(**args)


def test_misspelt_argument():
    with pytest.raises(TypeError, match="temprature"):
        KDLoss(temprature=1.0)
