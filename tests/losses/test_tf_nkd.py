import pytest
import torch
import torch.nn.functional as F

from mmkd_ext.losses import TFNKDLoss, tf_nkd_loss

from . import golden


def test_golden_values():
    student, _ = golden.logits()
    assert golden.close(tf_nkd_loss(student, golden.HARD), 4.374613835857)
    assert golden.close(tf_nkd_loss(student, golden.soft()), 2.914484023923 + 1.088819278589)
    assert golden.close(TFNKDLoss()(student, None, golden.HARD), 4.374613835857)


def test_soft_label_terms():
    student, _ = golden.logits()
    values, labels = golden.soft().topk(2, dim=1)
    terms = []
    for k in range(2):
        y = F.softmax(student, 1)[torch.arange(4), labels[:, k]]
        terms.append(-((y + values[:, k] - y.mean()).detach() * y.log()).mean())
    assert golden.close(terms[0], 2.914484023923)
    assert golden.close(terms[1], 1.088819278589)
    torch.testing.assert_close(tf_nkd_loss(student, golden.soft()), sum(terms))


def test_one_hot_labels_are_hard_labels():
    student, _ = golden.logits()
    one_hot = F.one_hot(golden.HARD, golden.CLASSES)
    hard = tf_nkd_loss(student, golden.HARD)
    torch.testing.assert_close(tf_nkd_loss(student, one_hot), hard)
    torch.testing.assert_close(tf_nkd_loss(student, golden.soft(), "argmax"), hard)


def test_weight_is_a_constant_for_the_gradient():
    student, _ = golden.logits()
    tf_nkd_loss(student, golden.HARD).backward()
    prob = F.softmax(student.detach(), 1)
    target = prob[torch.arange(4), golden.HARD]
    weight = target + 1 - target.mean()
    expected = weight[:, None] * (prob - F.one_hot(golden.HARD, golden.CLASSES)) / 4
    torch.testing.assert_close(student.grad, expected)


def test_underflowing_probability_stays_finite():
    student = torch.tensor([[-300.0, 0.0], [0.0, 0.0]], requires_grad=True)
    value = tf_nkd_loss(student, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


def test_bad_arguments():
    with pytest.raises(ValueError, match="soft_labels must be one of 'top2', 'argmax', not 'mix'"):
        TFNKDLoss(soft_labels="mix")
