import pytest
import torch
import torch.nn.functional as F

from mmkd_ext.losses import DKDLoss, dkd_loss

from . import golden


def test_golden_value():
    student, teacher = golden.logits()
    value = dkd_loss(student, teacher, golden.HARD, alpha=1.0, beta=0.5, temperature=1.0)
    assert golden.close(value, 1.114287032194)
    assert golden.close(DKDLoss()(student, teacher, golden.HARD), 1.114287032194)


def test_weights_that_give_plain_kl_divergence():
    """With beta = 1 - p_t per sample, TCKD + beta NCKD is the KL divergence: one sample each."""
    student, teacher = golden.logits()
    for row, label in enumerate(golden.HARD):
        s, t = student[row : row + 1], teacher[row : row + 1]
        beta = float(1 - F.softmax(t / 3, 1)[0, label])
        value = dkd_loss(s, t, label[None], 1.0, beta, 3.0)
        expected = 9 * F.kl_div(F.log_softmax(s / 3, 1), F.softmax(t / 3, 1), reduction="sum")
        torch.testing.assert_close(value, expected)


def test_against_a_mask_of_minus_1000():
    student, teacher = golden.logits()
    keep = F.one_hot(golden.HARD, golden.CLASSES)
    s, t = student / 4, teacher / 4
    pairs = [torch.stack([(p * keep).sum(1), (p * (1 - keep)).sum(1)], 1)
             for p in (s.softmax(1), t.softmax(1))]  # fmt: skip
    tckd = F.kl_div(pairs[0].log(), pairs[1], reduction="sum")
    nckd = F.kl_div(
        F.log_softmax(s - 1000 * keep, 1), F.softmax(t - 1000 * keep, 1), reduction="sum"
    )
    expected = (1.5 * tckd + 8 * nckd) * 16 / 4
    value = dkd_loss(student, teacher, golden.HARD, alpha=1.5, beta=8.0, temperature=4.0)
    torch.testing.assert_close(value, expected)


def test_soft_labels():
    student, teacher = golden.logits()
    hard = dkd_loss(student, teacher, golden.HARD)
    torch.testing.assert_close(dkd_loss(student, teacher, golden.soft()), hard)
    one_hot = F.one_hot(golden.HARD, golden.CLASSES)
    torch.testing.assert_close(dkd_loss(student, teacher, one_hot, soft_labels="mix"), hard)
    expected = 0
    for row, weights in enumerate(golden.soft()):
        for label in weights.nonzero()[:, 0]:
            one = dkd_loss(student[row, None], teacher[row, None], label[None])
            expected = expected + weights[label] * one / 4
    mixed = dkd_loss(student, teacher, golden.soft(), soft_labels="mix")
    torch.testing.assert_close(mixed, expected)


def test_confident_logits_stay_finite():
    student = torch.tensor([[200.0, 0.0, -10.0]], requires_grad=True)
    value = dkd_loss(student, -student.detach(), torch.tensor([0]))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


def test_gradient():
    student, teacher = golden.logits()
    assert torch.autograd.gradcheck(lambda x: dkd_loss(x, teacher, golden.HARD), student)
    assert torch.autograd.gradcheck(
        lambda x: dkd_loss(x, teacher, golden.soft(), soft_labels="mix"), student
    )


@pytest.mark.parametrize("args", [{"alpha": -1}, {"beta": -1}, {"temperature": -1}])
def test_bad_arguments(args):
    with pytest.raises(ValueError, match=f"DKDLoss: {next(iter(args))} must be"):
        DKDLoss(**args)
