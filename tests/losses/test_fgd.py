import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmkd_ext.losses import FGDLoss, fgd_attention, fgd_focal_loss
from mmkd_ext.losses.fgd import ContextBlock
from mmkd_ext.registry import MODELS

from . import golden
from .test_boxes import reference as reference_masks

SIZE = (4, 6)
IMAGE = (64, 96)
BOXES = [[[10, 5, 50, 40], [30, 20, 44, 30], [80, 50, 130, 90]], [], [[0, 0, 17, 17]]]
TERMS = ["foreground", "background", "attention", "context"]


def samples(boxes=BOXES, **sizes):
    sizes = sizes or {"batch_input_shape": IMAGE}
    boxes = [torch.tensor(b, dtype=torch.float32).reshape(-1, 4) for b in boxes]
    return [SimpleNamespace(gt_instances=SimpleNamespace(bboxes=b), **sizes) for b in boxes]


def maps(student=3, teacher=4, batch=3):
    """Student (leaf) and teacher."""
    return golden.student((batch, student, *SIZE), 4), golden.teacher((batch, teacher, *SIZE), 6)


def softmax(values, temperature=1.0):
    powers = [math.exp(v / temperature) for v in values]
    return [p / math.fsum(powers) for p in powers]


def attention_of(image, temperature):
    """Of one image as nested lists [channel][cell]: spatial and channel attention."""
    channels, cells = len(image), len(image[0])
    spatial = [math.fsum(abs(row[p]) for row in image) / channels for p in range(cells)]
    channel = [math.fsum(abs(v) for v in row) / cells for row in image]
    return (
        [cells * v for v in softmax(spatial, temperature)],
        [channels * v for v in softmax(channel, temperature)],
    )


def convolve(layer, image):
    """A 1 x 1 convolution, multiplication by multiplication."""
    weight = layer.weight.flatten(1).tolist()
    bias = [0.0] * len(weight) if layer.bias is None else layer.bias.tolist()
    cells = range(len(image[0]))
    return [
        [b + math.fsum(w * row[p] for w, row in zip(ws, image, strict=True)) for p in cells]
        for ws, b in zip(weight, bias, strict=True)
    ]


def related(block, image):
    """What a context block makes of one image."""
    first, norm, _, last = block.transform
    weights = softmax(convolve(block.mask, image)[0])
    context = [[math.fsum(w * v for w, v in zip(weights, row, strict=True))] for row in image]
    hidden = [row[0] for row in convolve(first, context)]
    mean = math.fsum(hidden) / len(hidden)
    variance = math.fsum((h - mean) ** 2 for h in hidden) / len(hidden)
    scaled = [
        max(0.0, (h - mean) / math.sqrt(variance + norm.eps) * w + b)
        for h, w, b in zip(
            hidden, norm.weight.flatten().tolist(), norm.bias.flatten().tolist(), strict=True
        )
    ]
    added = convolve(last, [[v] for v in scaled])
    return [[v + a[0] for v in row] for row, a in zip(image, added, strict=True)]


def plain_loops(loss, student, teacher, boxes):
    """The four unweighted terms, in plain numbers: cell by cell, channel by channel."""
    terms = dict.fromkeys(TERMS, 0.0)
    for n in range(len(student)):
        s, t = (side[n].detach().flatten(1).tolist() for side in (student, teacher))
        if loss.align is not None:
            s = convolve(loss.align, s)
        foreground, scale = (m.flatten().tolist() for m in reference_masks(boxes[n], IMAGE, SIZE))
        (spatial, channel), (spatial_s, channel_s) = (
            attention_of(side, loss.temperature) for side in (t, s)
        )
        related_s, related_t = related(loss.student_context, s), related(loss.teacher_context, t)
        for c in range(len(t)):
            for p in range(len(t[0])):
                name = "foreground" if foreground[p] else "background"
                terms[name] += scale[p] * spatial[p] * channel[c] * (t[c][p] - s[c][p]) ** 2
                terms["context"] += (related_t[c][p] - related_s[c][p]) ** 2
        terms["attention"] += math.fsum(
            abs(a - b)
            for a, b in zip(spatial + channel, spatial_s + channel_s, strict=True)
        )  # fmt: skip
    return {name: value / len(student) for name, value in terms.items()}


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("temperature", [0.5, 0.8])
def test_plain_loops(channels, temperature):
    weights = {"alpha": 2.0, "beta": 3.0, "gamma": 5.0, "lambda_": 7.0}
    loss = golden.fill(FGDLoss(channels, 4, **weights, temperature=temperature))
    assert (loss.align is None) == (channels == 4)
    student, teacher = maps(channels)
    result = loss(student, teacher, samples())
    expected = plain_loops(loss, student, teacher, BOXES)
    assert list(result) == list(expected) == TERMS
    for name, weight in zip(TERMS, weights.values(), strict=True):
        assert expected[name] > 0.1
        assert golden.close(result[name], weight * expected[name])
        assert loss.loss_weight[name] == weight


def test_the_smaller_box_counts():
    """A difference within both boxes weighs by the smaller; without it, by the larger."""
    loss = FGDLoss(2, 2, alpha=1.0).double()
    student = torch.zeros(1, 2, *SIZE, dtype=torch.float64)
    teacher = torch.zeros(1, 2, *SIZE, dtype=torch.float64)
    teacher[0, :, 1, 2] = 0.001  # so small that the attention is 1 everywhere
    large, small = [16, 0, 64, 64], [32, 16, 48, 48]  # 12 and 2 cells
    for boxes, cells in (([large, small], 2), ([small, large], 2), ([large], 12)):
        value = loss(student, teacher, samples([boxes]))["foreground"]
        assert value.item() == pytest.approx(2e-6 / cells, rel=0.01)
    result = loss(student, teacher, samples([[]]))
    assert result["foreground"] == 0
    assert result["background"].item() == pytest.approx(5e-4 * 2e-6 / 24, rel=0.01)


def test_images_without_boxes_are_background():
    loss = golden.fill(FGDLoss(3, 4, alpha=1.0, beta=1.0))
    student, teacher = maps()
    result = loss(student, teacher, samples([[], [], []]))
    assert result["foreground"] == 0
    expected = plain_loops(loss, student, teacher, [[], [], []])
    assert golden.close(result["background"], expected["background"])
    whole = loss(student, teacher, samples([[[-5, -5, 200, 200]]] * 3))
    assert whole["background"] == 0
    torch.testing.assert_close(whole["foreground"], result["background"])
    sum(result.values()).backward()
    assert student.grad.isfinite().all()


def test_padding_is_background():
    """An image of 32 x 48 pixels in a batch of 64 x 96, filled by its box."""
    loss = FGDLoss(2, 2, alpha=1.0, beta=1.0)
    student, teacher = torch.zeros(1, 2, *SIZE), torch.zeros(1, 2, *SIZE)
    teacher[0, :, 3, 5] = 1.0  # in the padding
    box = [[[0, 0, 48, 32]]]
    padded = loss(
        student, teacher, samples(box, batch_input_shape=IMAGE, img_shape=(32, 48), pad_shape=IMAGE)
    )
    assert padded["foreground"] == 0
    assert padded["background"] > 0
    alone = loss(student, teacher, samples(box, img_shape=(32, 48)))
    assert alone["foreground"] > 0
    assert alone["background"] == 0


def test_terms_are_sums_per_image():
    """Twice the same batch is worth the same; each image has its own attention and boxes."""
    loss = golden.fill(FGDLoss(3, 4))
    student, teacher = maps()
    result = loss(student, teacher, samples())
    twice = loss(torch.cat([student] * 2), torch.cat([teacher] * 2), samples(BOXES * 2))
    torch.testing.assert_close(twice, result)
    singles = [
        loss(student[n : n + 1], teacher[n : n + 1], samples(BOXES[n : n + 1])) for n in range(3)
    ]
    mean = {name: sum(single[name] for single in singles) / 3 for name in TERMS}
    torch.testing.assert_close(result, mean)


def test_attention():
    _, feature = maps()
    spatial, channel = fgd_attention(feature, 0.5)
    assert spatial.shape == (3, 1, *SIZE)
    assert channel.shape == (3, 4, 1, 1)
    for n in range(3):
        expected = attention_of(feature[n].flatten(1).tolist(), 0.5)
        assert spatial[n].flatten().tolist() == pytest.approx(expected[0], rel=1e-12)
        assert channel[n].flatten().tolist() == pytest.approx(expected[1], rel=1e-12)
    torch.testing.assert_close(spatial.mean(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(channel.mean(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(fgd_attention(-feature, 0.5), (spatial, channel))


def test_equal_maps():
    """Nothing to learn: every term is zero, the context too as long as both blocks are new."""
    feature = maps()[1]
    result = FGDLoss(4, 4).double()(feature, feature, samples())
    assert {name: value.item() for name, value in result.items()} == dict.fromkeys(TERMS, 0.0)


def test_context_starts_as_the_plain_difference():
    loss = FGDLoss(4, 4, lambda_=1.0).double()
    student, teacher = maps(4)
    expected = (student - teacher).square().sum() / 3
    torch.testing.assert_close(loss(student, teacher, samples())["context"], expected)


def test_gradients():
    loss = golden.fill(FGDLoss(3, 4))
    student, teacher = maps()
    teacher.requires_grad_()
    sum(loss(student, teacher, samples()).values()).backward()
    assert teacher.grad is None
    modules = {name.split(".")[0] for name, _ in loss.named_parameters()}
    assert modules == {"align", "student_context", "teacher_context"}
    for name, parameter in loss.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    assert student.grad.abs().sum() > 0

    focal = fgd_focal_loss(student[:, :2], teacher[:, :2], *(torch.ones(3, *SIZE).bool(),) * 2)
    sum(focal).backward()
    assert teacher.grad is None

    def each(feature):
        return torch.stack(tuple(loss(feature, teacher.detach(), samples()).values()))

    assert torch.autograd.gradcheck(each, student)


def test_a_step_down_the_gradient_trains_both_blocks():
    """From their start as the identity, where only the last layers have a gradient."""
    torch.manual_seed(0)
    loss = FGDLoss(3, 4, lambda_=1.0).double()
    student, teacher = maps()
    optimizer = torch.optim.SGD(loss.parameters(), lr=1e-4)
    before = {name: p.detach().clone() for name, p in loss.named_parameters()}
    values = []
    for _ in range(3):
        value = loss(student, teacher, samples())["context"]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[0] > values[1] > values[2]
    unchanged = [name for name, p in loss.named_parameters() if torch.equal(p, before[name])]
    assert unchanged == []


def test_bf16_under_autocast():
    loss = FGDLoss(3, 4)
    nn.init.normal_(loss.student_context.transform[-1].weight)
    student, teacher = (side.detach().bfloat16() for side in maps())
    student.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = loss(student, teacher, samples())
    expected = loss(student.float(), teacher.float(), samples())
    torch.testing.assert_close(result, expected, rtol=0, atol=0)
    sum(result.values()).backward()
    assert student.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in loss.parameters())


def test_large_activations_saturate_the_attention():
    loss = FGDLoss(3, 4)
    student, teacher = (side.detach().float() * 1e4 for side in maps())
    student.requires_grad_()
    result = loss(student, teacher, samples())
    assert all(value.isfinite() for value in result.values())
    sum(result.values()).backward()
    assert student.grad.isfinite().all()


def test_context_block_of_one_channel():
    block = ContextBlock(1)
    feature = torch.rand(2, 1, 3, 3)
    torch.testing.assert_close(block(feature), feature)


def test_parameters_in_order():
    block = [
        "mask.weight", "transform.0.weight", "transform.0.bias", "transform.1.weight",
        "transform.1.bias", "transform.3.weight", "transform.3.bias",
    ]  # fmt: skip
    names = [f"{side}_context.{name}" for side in ("student", "teacher") for name in block]
    assert list(FGDLoss(4, 4).state_dict()) == names
    assert list(FGDLoss(3, 4).state_dict()) == ["align.weight", "align.bias", *names]
    # 1x1 convolutions C -> 1, C -> C/2, C/2 -> C and a layer norm of C/2, twice
    assert sum(p.numel() for p in FGDLoss(256, 256).parameters()) == 2 * (
        256 + 128 * 257 + 256 + 256 * 129
    )


def test_resize():
    student, teacher = torch.rand(2, 3, 4, 6), torch.rand(2, 4, 8, 12)
    taps = samples(BOXES[::2])
    with pytest.raises(ValueError, match=r"FGDLoss: .*\(2, 3, 4, 6\).*\(2, 4, 8, 12\).*resize="):
        FGDLoss(3, 4)(student, teacher, taps)
    loss = FGDLoss(3, 4, resize="teacher")
    small = F.interpolate(teacher, (4, 6), mode="bilinear")
    torch.testing.assert_close(loss(student, teacher, taps), loss(student, small, taps))
    loss = FGDLoss(3, 4, resize="student")
    large = F.interpolate(loss.align(student), (8, 12), mode="bilinear")
    plain = FGDLoss(4, 4)
    torch.testing.assert_close(loss(student, teacher, taps), plain(large, teacher, taps))


def test_infer_args():
    student, teacher = torch.rand(1, 3, 4, 4), torch.rand(1, 6, 4, 4)
    expected = {"student_channels": 3, "teacher_channels": 6}
    assert FGDLoss.infer_args(student, teacher, {}) == expected


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"student_channels": None}, "needs student_channels: give"),
        ({"temperature": 0}, "temperature must be a finite number > 0, not 0"),
        ({"resize": "yes"}, "resize must be one of None, 'student', 'teacher'"),
        ({"alpha": -1}, "weight of foreground must be a finite number >= 0"),
        ({"lambda_": float("nan")}, "weight of context must be a finite number >= 0"),
    ],
)
def test_bad_arguments(args, message):
    with pytest.raises(ValueError, match=f"FGDLoss:? {message}"):
        FGDLoss(**{"student_channels": 3, "teacher_channels": 4, **args})


def test_bad_inputs():
    loss = FGDLoss(3, 4).double()
    student, teacher = maps()
    with pytest.raises(ValueError, match="FGDLoss: this loss needs ground-truth boxes, but there"):
        loss(student, teacher)
    with pytest.raises(ValueError, match=r"FGDLoss: data sample 0 has none of batch_input_shape"):
        loss(student, teacher, samples(other=1))
    with pytest.raises(ValueError, match=r"FGDLoss: 2 data samples, but maps of batch size 3"):
        loss(student, teacher, samples(BOXES[:2]))
    with pytest.raises(ValueError, match=r"built for 3 student channels.*\(3, 4, 4, 6\)"):
        loss(teacher, teacher, samples())
    with pytest.raises(ValueError, match=r"built for 4 teacher channels.*\(3, 3, 4, 6\)"):
        loss(student, student, samples())
    mask = torch.zeros(4, 6)
    with pytest.raises(ValueError, match=r"scale \(4, 6\) must be \(3, 4, 6\) for maps \(3, 4,"):
        fgd_focal_loss(teacher, teacher, mask.bool(), mask)


def test_a_stock_detector_learns_with_fgd_and_pkd():
    """The boxes come from the detector's own data preprocessor; each level is a loss."""
    from mmengine.registry import DefaultScope

    from tests.distill.stock_models import RETINANET, det_batch, detector

    taps = {"tap": "neck.fpn_convs.{0-4}.conv"}
    cfg = dict(
        type="mmkd_ext.Distiller",
        student=detector(RETINANET, classes=3),
        teacher=dict(config=detector(RETINANET, classes=7, width=8)),
        losses=dict(fgd=dict(type="FGDLoss", **taps), pkd=dict(type="PKDLoss", **taps)),
        input_shape=(3, 96, 128),
    )
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(cfg)
        model.init_weights()
        model.train()
        batch = model.data_preprocessor(det_batch(), training=True)
        outputs = model(**batch, mode="loss")
        total, _ = model.parse_losses(outputs)
        total.backward()
    expected = {f"kd.loss_fgd_{level}_{term}" for level in range(5) for term in TERMS}
    expected |= {f"kd.loss_pkd_{level}" for level in range(5)}
    assert {key for key in outputs if key.startswith("kd.loss")} == expected
    # On 2 x 2 cells and on the last one, the boxes cover all.
    zero = {key for key in expected if outputs[key] == 0}
    assert zero == {f"kd.loss_fgd_{level}_background" for level in (3, 4)}
    assert all(outputs[key].isfinite() for key in expected)
    for level in range(5):
        assert model.neck.fpn_convs[level].conv.weight.grad.abs().sum() > 0
    # without their boxes, the foreground would be worth nothing
    for sample in batch["data_samples"]:
        sample.gt_instances = sample.gt_instances[:0]
    outputs = model(**batch, mode="loss")
    assert all(outputs[f"kd.loss_fgd_{level}_foreground"] == 0 for level in range(5))
