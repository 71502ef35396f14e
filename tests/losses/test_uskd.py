import pytest
import torch
import torch.nn.functional as F

from mmkd_ext.losses import USKDLoss, uskd_loss

from . import golden

CASES = [
    ("prob", "hard", 4.613796641353),
    ("prob", "soft", 4.320811255070),
    ("log", "hard", 4.604787430248),
    ("log", "soft", 4.313829733366),
]


def target_of(kind):
    return golden.HARD if kind == "hard" else golden.soft()


def feature():
    return golden.tensor((4, 5), 61, 2, 71, 2)


@pytest.mark.parametrize(("rank", "kind", "expected"), CASES)
def test_golden_values(rank, kind, expected):
    student, _ = golden.logits()
    loss = golden.fill(USKDLoss(5, golden.CLASSES, rank=rank), scale=1.0)
    taps = {"logits": student, "feature": feature()}
    assert golden.close(loss(taps, None, target_of(kind)), expected)
    weak = loss.fc(feature())
    args = (target_of(kind), 1.0, 0.1, 0.005)
    assert golden.close(uskd_loss(student, weak, *args, rank=rank), expected)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_sample_by_sample_reference(kind):
    z_s, z_w = (x.detach() for x in golden.logits())
    rows = golden.soft() if kind == "soft" else F.one_hot(golden.HARD, golden.CLASSES).double()
    count = 2 if kind == "soft" else 1
    labels = [row.topk(count).indices.tolist() for row in rows]
    p, w = z_s.softmax(1), z_w.softmax(1)
    means = [sum(p[n, labels[n][j]] ** 2 for n in range(4)) / 4 for j in range(count)]
    total = 0.0
    for n in range(4):
        for j, label in enumerate(labels[n]):
            weight = p[n, label] ** 2 + rows[n, label] - means[j]
            total -= float(0.7 * weight * p[n, label].log()) / 4
        smooth = 0.9 * rows[n] + 0.1 / golden.CLASSES
        total -= float(0.3 * (smooth * w[n].log()).sum()) / 4
        taken = labels[n]
        rank = w[n] / (1 - w[n, taken].sum() + 1e-6) + p[n] / (1 - p[n, taken].sum() + 1e-6)
        order = sorted(range(golden.CLASSES), key=lambda c, rank=rank: -rank[c])
        zipf = [1 / (1 + order.index(c)) for c in range(golden.CLASSES)]
        zipf = torch.tensor(zipf, dtype=torch.float64)
        rest = [c for c in range(golden.CLASSES) if c not in taken]
        soft_label = zipf[rest] / zipf[rest].sum()
        total -= float(0.2 * (soft_label * F.log_softmax(z_s[n, rest], 0)).sum()) / 4
    value = uskd_loss(z_s, z_w, target_of(kind), alpha=0.7, beta=0.2, mu=0.3)
    assert float(value) == pytest.approx(total, rel=1e-9)


def test_argmax_policy():
    student, weak = golden.logits()
    hard = uskd_loss(student, weak, golden.HARD, mu=0.0)
    mixed = uskd_loss(student, weak, golden.soft(), mu=0.0, soft_labels="argmax")
    torch.testing.assert_close(mixed, hard)
    one_hot = F.one_hot(golden.HARD, golden.CLASSES)
    torch.testing.assert_close(
        uskd_loss(student, weak, one_hot, soft_labels="argmax"),
        uskd_loss(student, weak, golden.HARD),
    )


def test_feature_shapes():
    student, _ = golden.logits()
    loss = golden.fill(USKDLoss(5, golden.CLASSES), scale=1.0)
    vector = feature()
    expected = loss({"logits": student, "feature": vector}, None, golden.HARD)
    tokens = torch.cat([vector[:, None], torch.rand(4, 6, 5, dtype=torch.float64)], dim=1)
    noise = torch.rand(4, 5, 3, 2, dtype=torch.float64)
    maps = noise - noise.mean((2, 3), keepdim=True) + vector[:, :, None, None]
    for shape in (tokens, maps):
        value = loss({"logits": student, "feature": shape}, None, golden.HARD)
        torch.testing.assert_close(value, expected)


def test_gradient_reaches_feature_logits_and_fc():
    student, _ = golden.logits()
    loss = golden.fill(USKDLoss(5, golden.CLASSES), scale=1.0)
    middle = feature().requires_grad_()
    loss({"logits": student, "feature": middle}, None, golden.HARD).backward()
    for tensor in (student, middle, loss.fc.weight, loss.fc.bias):
        assert tensor.grad.abs().sum() > 0


def test_infer_args():
    taps = {"logits": torch.rand(2, 7), "feature": torch.rand(2, 5, 3, 2)}
    assert USKDLoss.infer_args(taps, None, {}) == {"channels": 5, "num_classes": 7}
    taps["feature"] = torch.rand(2, 4, 6)
    assert USKDLoss.infer_args(taps, None, {}) == {"channels": 6, "num_classes": 7}
    with pytest.raises(ValueError, match="USKDLoss: the feature must be"):
        USKDLoss.infer_args({**taps, "feature": torch.rand(5)}, None, {})


def test_bad_input():
    with pytest.raises(ValueError, match="USKDLoss needs channels and num_classes"):
        USKDLoss()
    with pytest.raises(ValueError, match="rank must be one of 'prob', 'log', not 'odds'"):
        USKDLoss(5, 10, rank="odds")
    loss = USKDLoss(5, 10)
    labels = torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match=r"must be dict\(logits='...', feature='...'\)"):
        loss(torch.rand(2, 10), None, labels)
    with pytest.raises(ValueError, match=r"not \['logits'\]"):
        loss({"logits": torch.rand(2, 10)}, None, labels)
    with pytest.raises(ValueError, match="built for 5 student feature channels"):
        loss({"logits": torch.rand(2, 10), "feature": torch.rand(2, 6)}, None, labels)
    with pytest.raises(ValueError, match="differ in batch size"):
        loss({"logits": torch.rand(2, 10), "feature": torch.rand(3, 5)}, None, labels)
    with pytest.raises(ValueError, match="leave no non-target class"):
        uskd_loss(torch.rand(1, 2), torch.rand(1, 2), torch.tensor([[0.5, 0.5]]))


def test_tokens_are_pooled_as_told():
    tokens = golden.tensor((4, 6, 5), 61, 2, 71, 2)
    student, _ = golden.logits()
    for how, vector in (("class", tokens[:, 0]), ("mean", tokens.mean(dim=1))):
        loss = golden.fill(USKDLoss(5, golden.CLASSES, tokens=how), scale=1.0)
        by_tokens = loss({"logits": student, "feature": tokens}, None, golden.HARD)
        by_vector = loss({"logits": student, "feature": vector}, None, golden.HARD)
        assert torch.equal(by_tokens, by_vector)
    with pytest.raises(ValueError, match="tokens"):
        USKDLoss(5, golden.CLASSES, tokens="max")
