import pytest
import torch
import torch.nn.functional as F

from mmkd_ext.losses import CWDLoss, cwd_loss

from . import golden

SHAPE = (2, 3, 4, 5)


def test_golden_value():
    student, teacher = golden.student(SHAPE, 6), golden.teacher(SHAPE, 8)
    value = cwd_loss(student, teacher, temperature=4.0, loss_weight=3.0)
    assert golden.close(value, 10.300598461568)
    assert golden.close(CWDLoss()(student, teacher), 10.300598461568)


def test_plane_by_plane_reference():
    student, teacher = golden.student(SHAPE, 6), golden.teacher(SHAPE, 8)
    expected = 0
    for s, t in zip(student.flatten(0, 1), teacher.flatten(0, 1), strict=True):
        p, q = F.softmax(t.flatten() / 2, 0), F.softmax(s.flatten() / 2, 0)
        expected = expected + (p * (p.log() - q.log())).sum() / 6
    torch.testing.assert_close(cwd_loss(student, teacher, 2.0, 1.0), 4 * expected)
    assert torch.autograd.gradcheck(lambda x: cwd_loss(x, teacher), student)
    torch.testing.assert_close(cwd_loss(teacher, teacher), torch.zeros((), dtype=torch.float64))


def test_sizes_differ():
    student, teacher = golden.student(SHAPE, 6), golden.teacher((2, 3, 8, 10), 8)
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 5\).*\(2, 3, 8, 10\).*resize='student'"):
        CWDLoss()(student, teacher)
    for side, size in (("student", (8, 10)), ("teacher", (4, 5))):
        value = CWDLoss(resize=side)(student, teacher)
        pair = [F.interpolate(x, size, mode="bilinear") if x.shape[2:] != size else x
                for x in (student, teacher)]  # fmt: skip
        torch.testing.assert_close(value, cwd_loss(*pair))


def test_channels_differ():
    with pytest.raises(ValueError, match=r"differ in channels.*MGDLoss"):
        CWDLoss()(torch.rand(2, 3, 4, 4), torch.rand(2, 5, 4, 4))


@pytest.mark.parametrize("args", [{"temperature": 0}, {"loss_weight": -1}, {"resize": "both"}])
def test_bad_arguments(args):
    with pytest.raises(ValueError, match=f"CWDLoss: {next(iter(args))} must be"):
        CWDLoss(**args)
