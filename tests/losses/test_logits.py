"""Pixel logits: every valid pixel is a sample, whatever the loss."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmkd_ext.losses import DKDLoss, KDLoss, NKDLoss, TFNKDLoss, WSLDLoss
from mmkd_ext.losses.logits import pixel_labels

LOSSES = [KDLoss, DKDLoss, NKDLoss, TFNKDLoss, WSLDLoss]
N, C, H, W = 2, 5, 4, 6
by_class = pytest.mark.parametrize("kind", LOSSES, ids=lambda kind: kind.__name__)


def maps(seed, size=(H, W)):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(N, C, *size, generator=generator, dtype=torch.float64)


def labels(size=(H, W)):
    generator = torch.Generator().manual_seed(3)
    found = torch.randint(0, C, (N, *size), generator=generator)
    found[0, 0, :3] = 255
    found[1, 2, 4] = 255
    return found


def samples(label_maps):
    return [SegDataSample(gt_sem_seg=PixelData(data=one[None])) for one in label_maps]


def teacher_of(kind, seed=1, **size):
    return maps(seed, **size) if kind.needs_teacher else None


@by_class
def test_it_is_the_loss_of_the_list_of_valid_pixels(kind):
    student, teacher, target = maps(0).requires_grad_(), teacher_of(kind), labels()
    rows, teacher_rows, wanted = [], [], []
    for n in range(N):
        for y in range(H):
            for x in range(W):
                if target[n, y, x] != 255:
                    rows.append(student[n, :, y, x])
                    wanted.append(target[n, y, x])
                    if teacher is not None:
                        teacher_rows.append(teacher[n, :, y, x])
    assert len(rows) == N * H * W - 4
    flat_teacher = torch.stack(teacher_rows) if teacher_rows else None
    expected = kind()(torch.stack(rows), flat_teacher, torch.stack(wanted))
    value = kind()(student, teacher, samples(target))
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.grad(value, student)
    ignored = (target == 255)[:, None].expand_as(gradient)
    assert (gradient[ignored] == 0).all()
    assert (gradient[~ignored] != 0).any()


@by_class
def test_labels_come_to_the_size_of_the_logits(kind):
    target = labels()
    fine = target.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)
    student, teacher = maps(0), teacher_of(kind)
    torch.testing.assert_close(
        kind()(student, teacher, samples(fine)), kind()(student, teacher, samples(target))
    )
    assert torch.equal(pixel_labels(samples(fine), (H, W)), target)


@by_class
def test_nothing_valid_teaches_nothing(kind):
    student = maps(0).requires_grad_()
    value = kind()(student, teacher_of(kind), samples(torch.full((N, H, W), 255)))
    assert value.item() == 0
    value.backward()
    assert (student.grad == 0).all()


def test_another_index_to_ignore():
    target = labels()
    target[target == 255] = 0
    student, teacher = maps(0), maps(1)
    value = NKDLoss(ignore_index=0)(student, teacher, samples(target))
    shifted = target.clone()
    shifted[target == 0] = 255
    torch.testing.assert_close(value, NKDLoss()(student, teacher, samples(shifted)))
    assert not torch.isclose(value, NKDLoss()(student, teacher, samples(target)))


def test_kd_without_labels_takes_every_pixel():
    student, teacher = maps(0), maps(1)
    rows = [tensor.permute(0, 2, 3, 1).reshape(-1, C) for tensor in (student, teacher)]
    torch.testing.assert_close(KDLoss()(student, teacher), KDLoss()(*rows))


def test_sizes_are_aligned_on_request():
    student, coarse = maps(0), maps(1, size=(2, 3))
    with pytest.raises(ValueError, match=r"NKDLoss: .*differ in height or width.*resize="):
        NKDLoss()(student, coarse, samples(labels()))
    finer = torch.nn.functional.interpolate(coarse, size=(H, W), mode="bilinear")
    torch.testing.assert_close(
        NKDLoss(resize="teacher")(student, coarse, samples(labels())),
        NKDLoss()(student, finer, samples(labels())),
    )


@pytest.mark.parametrize(
    ("student", "teacher", "given", "words"),
    [
        (maps(0), maps(1), [SegDataSample()] * N, "need label maps, but a data sample has no gt"),
        (maps(0), maps(1), None, "need label maps"),
        (maps(0), maps(1), samples(labels())[:1], r"1 label maps for logits \(2, 5, 4, 6\)"),
        (maps(0), maps(1), samples(labels() * 0 + 7), "gt_sem_seg holds class 7, but there are 5"),
        (maps(0), maps(1)[:, :4], samples(labels()), "differ in channels.*the same classes"),
        (
            maps(0),
            maps(1),
            samples([labels()[0], labels((H, 9))[0]]),
            "gt_sem_seg differs in size within the batch",
        ),
    ],
    ids=["no map", "no samples", "too few", "class", "channels", "sizes"],
)
def test_bad_input(student, teacher, given, words):
    with pytest.raises(ValueError, match=f"^NKDLoss: .*{words}"):
        NKDLoss()(student, teacher, given)
