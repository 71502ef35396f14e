"""The losses of a clip, against the published code's numbers and plain formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub

from mmkd_ext.registry import MODELS
from mmkd_ext.vos.losses import (
    BootstrappedCELoss,
    SoftIoULoss,
    bootstrapped_ce,
    kept_ratio,
    soft_iou,
)

B, T, C, H, W = 2, 2, 3, 4, 5
VALID = torch.tensor([[True, True, True], [True, True, False]])


def scores(dtype=torch.float64):
    b, t, n, h, w = torch.meshgrid(
        *(torch.arange(size, dtype=torch.float64) for size in (B, T, C, H, W)), indexing="ij"
    )
    return (3 * torch.sin(1.1 * b + 0.7 * n + 0.5 * t + 0.9 * h + 0.3 * w)).to(dtype)


def targets():
    target = (torch.arange(B * T * H * W) % 3).view(B, T, H, W)
    target[1] = target[1] % 2
    return target


def near(found, expected, tolerance=1e-9):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(found.detach(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("iteration", "expected"),
    [
        (0, 1.1890720804),
        (20000, 1.1890720804),
        (45000, 1.7549914526),
        (70000, 2.4358849282),
        (90000, 2.4358849282),
    ],
)
def test_bootstrapped_cross_entropy_in_the_course_of_training(iteration, expected):
    MessageHub.get_current_instance().update_info("iter", iteration)
    loss = MODELS.build(dict(type="mmkd_ext.BootstrappedCELoss", loss_weight=2.0))
    near(loss(scores(), targets(), VALID), 2 * expected)


def test_soft_iou_golden():
    near(soft_iou(scores(), targets(), VALID), 0.7293833072)
    loss = MODELS.build(dict(type="mmkd_ext.SoftIoULoss", loss_weight=0.5))
    near(loss(scores(), targets(), VALID), 0.5 * 0.7293833072)


def test_kept_ratio():
    assert kept_ratio(0) == kept_ratio(20000) == 1
    assert kept_ratio(45000) == pytest.approx(0.65)
    assert kept_ratio(70000) == kept_ratio(10**6) == 0.3
    assert kept_ratio(5, start=0, end=10, final=0.5) == 0.75
    assert kept_ratio(10**6, final=1.0) == 1  # plain cross-entropy


def test_the_hardest_pixels_of_each_frame_by_hand():
    """Every frame keeps floor(20 * 0.37) = 7 pixels of its own."""
    logits, target = scores(), targets()
    kept = []
    for b in range(B):
        channels = 3 if b == 0 else 2
        for t in range(T):
            log = F.log_softmax(logits[b, t, :channels], dim=0)
            pixels = [-log[target[b, t, h, w], h, w].item() for h in range(H) for w in range(W)]
            kept += sorted(pixels)[-7:]
    near(bootstrapped_ce(logits, target, VALID, ratio=0.37), sum(kept) / len(kept))


def test_soft_iou_by_hand():
    logits, target = scores(), targets()
    means = []
    for b in range(B):
        channels, ious = (3 if b == 0 else 2), []
        for t in range(T):
            p = logits[b, t, :channels].softmax(dim=0)
            for c in range(channels):
                truth = (target[b, t] == c).double()
                ious.append(
                    torch.minimum(p[c], truth).sum() / (torch.maximum(p[c], truth).sum() + 1e-6)
                )
        means.append(sum(ious) / len(ious))
    near(soft_iou(logits, target, VALID), 1 - sum(means) / B)


def test_no_gradient_reaches_what_stands_for_no_object():
    for function in (soft_iou, bootstrapped_ce):
        logits = scores().requires_grad_()
        function(logits, targets(), VALID).backward()
        assert logits.grad.isfinite().all()
        assert logits.grad[1, :, 2].count_nonzero() == 0
        assert logits.grad[1, :, :2].abs().sum() > 0
        assert logits.grad[0].abs().sum(dim=(0, 2, 3)).min() > 0


@pytest.mark.parametrize("loss", [BootstrappedCELoss(), SoftIoULoss()], ids=["ce", "iou"])
def test_half_precision_is_computed_in_float32(loss):
    logits = scores(torch.bfloat16)
    found = loss(logits, targets(), VALID)
    assert found.dtype == torch.float32
    assert torch.equal(found, loss(logits.float(), targets(), VALID))


def test_mistakes_are_named():
    for function in (soft_iou, bootstrapped_ce):
        name = function.__name__
        with pytest.raises(ValueError, match=rf"^{name} takes logits .*\(2, 2, 4, 5\)"):
            function(scores()[:, 0], targets(), VALID)
        with pytest.raises(ValueError, match=f"^{name} takes"):
            function(scores(), targets()[..., :4], VALID)
        with pytest.raises(ValueError, match=r"\(2, 2\)$"):
            function(scores(), targets(), VALID[:, :2])
    with pytest.raises(ValueError, match="start < end"):
        BootstrappedCELoss(start=10, end=10)
    with pytest.raises(ValueError, match="final must be in"):
        BootstrappedCELoss(final=0.0)
