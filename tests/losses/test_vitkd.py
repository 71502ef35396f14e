import pytest
import torch
import torch.nn.functional as F

from mmkd_ext.losses import ViTKDLoss, vitkd_mask

from . import golden

CASES = [
    (6, 9.297914915602e-04, 8.734460489682e-04, 5.634544259198e-05, 1.3392499139e-03,
     1.4076535333e-04),
    (8, 1.245392903287e-03, 1.199336091766e-03, 4.605681152143e-05, 4.9542992753e-03,
     1.4790937960e-04),
]  # fmt: skip


@pytest.mark.parametrize(("dims", "total", "mimic", "generation", "grad_low", "grad_high"), CASES)
def test_golden_values(monkeypatch, dims, total, mimic, generation, grad_low, grad_high):
    calls = []
    monkeypatch.setattr(torch, "rand", golden.fake_rand(calls))
    loss = golden.fill(ViTKDLoss(dims, 8, num_extra_tokens=0))
    low = golden.student((2, 2, 16, dims))
    high = golden.tensor((2, 16, dims), 41, 7, 103).requires_grad_()
    teacher_low = golden.teacher((2, 2, 16, 8))
    teacher_high = golden.tensor((2, 16, 8), 59, 9, 89)
    terms = loss([low[:, 0], low[:, 1], high], [teacher_low[:, 0], teacher_low[:, 1], teacher_high])
    sum(terms.values()).backward()
    assert golden.close(sum(terms.values()), total)
    assert golden.close(terms["mimic"], mimic)
    assert golden.close(terms["generation"], generation)
    assert golden.close(low.grad.abs().sum(), grad_low)
    assert golden.close(high.grad.abs().sum(), grad_high)
    assert calls == [((2, 16), {"device": low.device})]


def test_published_way_of_masking():
    """Shuffle, keep the first, append mask tokens, unshuffle; only masked tokens count."""
    loss = ViTKDLoss(6, 8, num_extra_tokens=0, mask_ratio=0.4)
    torch.nn.init.normal_(loss.mask_token)
    student = [torch.randn(3, 16, 6) for _ in range(3)]
    teacher = [torch.randn(3, 16, 8) for _ in range(3)]
    torch.manual_seed(3)
    terms = loss(student, teacher)
    torch.manual_seed(3)
    shuffle = torch.rand(3, 16).argsort(dim=1)
    restore, keep = shuffle.argsort(dim=1), int(16 * 0.6)
    x = loss.align(student[2])
    x = x.gather(1, shuffle[:, :keep, None].expand(-1, -1, 8))
    x = torch.cat([x, loss.mask_token.expand(3, 16 - keep, 8)], dim=1)
    x = x.gather(1, restore[..., None].expand(-1, -1, 8))
    mask = torch.ones(3, 16)
    mask[:, :keep] = 0
    mask = mask.gather(1, restore)[..., None]
    x = loss.generation(x.transpose(1, 2).reshape(3, 8, 4, 4)).flatten(2).transpose(1, 2)
    expected = 3e-6 * F.mse_loss(x * mask, teacher[2] * mask, reduction="sum") / 3 / 0.4
    torch.testing.assert_close(terms["generation"], expected)
    low = sum((loss.align2[i](student[i]) - teacher[i]).square().sum() for i in range(2))
    torch.testing.assert_close(terms["mimic"], 3e-5 * low / 3)


def test_exact_number_of_masked_tokens():
    mask = vitkd_mask(torch.zeros(5, 196, 2), 0.5)
    assert mask.shape == (5, 196, 1)
    assert (mask.sum(dim=1) == 98).all()
    assert (vitkd_mask(torch.zeros(2, 9, 1), 1.0)).all()


def test_extra_tokens_are_dropped(monkeypatch):
    monkeypatch.setattr(torch, "rand", golden.fake_rand())
    torch.manual_seed(0)
    loss = ViTKDLoss(6, 8, num_extra_tokens=2)
    student = [torch.randn(2, 18, 6) for _ in range(3)]
    teacher = [torch.randn(2, 18, 8) for _ in range(3)]
    expected = loss(student, teacher)
    for tokens in (*student, *teacher):
        tokens[:, :2] = float("nan")
    torch.testing.assert_close(loss(student, teacher), expected)


def test_grid_that_is_not_square():
    torch.manual_seed(0)
    loss = ViTKDLoss(4, 4, num_extra_tokens=0, mask_ratio=1.0, grid_size=(2, 4))
    taps = [torch.randn(2, 8, 4) for _ in range(3)]
    terms = loss(taps, taps)
    x = loss.mask_token.expand(2, 8, 4).transpose(1, 2).reshape(2, 4, 2, 4)
    x = loss.generation(x).flatten(2).transpose(1, 2)
    torch.testing.assert_close(terms["generation"], 3e-6 * (x - taps[2]).square().sum() / 2)
    loss.grid_size = None
    with pytest.raises(ValueError, match=r"8 patch tokens are no square; set grid_size=\(rows"):
        loss(taps, taps)


def test_the_last_tap_may_be_a_map(monkeypatch):
    """As the tokens of its cells, in rows, without a class token; it brings its grid along."""
    monkeypatch.setattr(torch, "rand", golden.fake_rand())
    loss = golden.fill(ViTKDLoss(6, 8, grid_size=(2, 3)))
    student = [torch.randn(2, 7, 6) for _ in range(3)]
    teacher = [torch.randn(2, 7, 8) for _ in range(3)]
    expected = loss(student, teacher)
    loss.grid_size = None
    maps = [
        [*tokens[:2], tokens[2][:, 1:].transpose(1, 2).reshape(2, -1, 2, 3)]
        for tokens in (student, teacher)
    ]
    assert ViTKDLoss.infer_args(*maps, {}) == {"student_dims": 6, "teacher_dims": 8}
    torch.testing.assert_close(loss(*maps), expected)
    torch.testing.assert_close(loss(maps[0], teacher), expected)
    maps[1][2] = torch.randn(2, 8, 3, 2)
    with pytest.raises(
        ValueError, match=r"\(2, 6, 2, 3\).*\(2, 8, 3, 2\) differ in height or width"
    ):
        loss(*maps)
    maps[1][2] = torch.randn(2, 5, 2, 3)
    with pytest.raises(ValueError, match="built for 8 teacher channels"):
        loss(*maps)


def test_parameters_in_order():
    layers = ["align2.0", "align2.1", "align", "generation.0", "generation.2"]
    names = ["mask_token", *(f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias"))]
    assert list(ViTKDLoss(6, 8).state_dict()) == names
    assert [name for name, _ in ViTKDLoss(6, 8).named_parameters()] == names
    assert list(ViTKDLoss(8, 8).state_dict()) == [n for n in names if "align" not in n]
    assert sum(p.numel() for p in ViTKDLoss(192, 384).parameters()) == 2_877_696
    assert ViTKDLoss(6, 8).mask_token.shape == (1, 1, 8)


def test_firings_and_infer_args():
    first = [torch.randn(2, 17, 6) for _ in range(3)]
    second = [torch.randn(2, 17, 6) for _ in range(3)]
    teacher = [torch.randn(2, 17, 8) for _ in range(3)]
    fired = [list(pair) for pair in zip(first, second, strict=True)]
    assert ViTKDLoss.infer_args(fired, teacher, {}) == {"student_dims": 6, "teacher_dims": 8}
    loss = ViTKDLoss(6, 8)
    torch.manual_seed(5)
    both = loss(fired, teacher)
    torch.manual_seed(5)
    one, two = loss(first, teacher), loss(tuple(second), tuple(teacher))
    for term in ("mimic", "generation"):
        torch.testing.assert_close(both[term], one[term] + two[term])


def test_bad_arguments():
    for args, message in [
        ({"mask_ratio": 0}, r"mask_ratio must be in \(0, 1\], not 0"),
        ({"mimic_weight": -1}, "weight of mimic must be"),
        ({"num_extra_tokens": -1}, "num_extra_tokens must be"),
        ({"grid_size": (3,)}, "grid_size must be"),
    ]:
        with pytest.raises(ValueError, match=f"ViTKDLoss: {message}"):
            ViTKDLoss(6, 8, **args)
    with pytest.raises(ValueError, match="ViTKDLoss needs student_dims and teacher_dims"):
        ViTKDLoss()


def test_bad_taps():
    loss = ViTKDLoss(6, 8)
    good, teacher = [torch.rand(2, 17, 6)] * 3, [torch.rand(2, 17, 8)] * 3
    for taps, message in [
        (good[:2], "must be a list of 3 token maps"),
        (good[0], "must be a list of tensors, not Tensor"),
        ([torch.rand(2, 6, 4, 4)] * 3, r"must be \(N, L, D\), not \(2, 6, 4, 4\)"),
        ([torch.rand(2, 17, 5)] * 3, "built for 6 student channels"),
        ([torch.rand(2, 26, 6)] * 3, r"\(2, 25, 6\).*\(2, 16, 8\).*differ"),
        ([torch.rand(2, 1, 6)] * 3, "hold no patch"),
    ]:
        with pytest.raises(ValueError, match=message):
            loss(taps, teacher)
