"""Any mmseg architecture is distilled, and stays the stock model that it is."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS as STOCK

from mmkd_ext.distill.checkpoint import read_checkpoint
from mmkd_ext.distill.export import student_weights
from mmkd_ext.registry import MODELS
from tests.configs.cls_configs import copies, equal, record_inputs, shapes, terms_of
from tests.configs.seg_configs import check_gradients, made_batch

from .segmentors import CASES, SIZE, distiller_of, student_of

pytestmark = pytest.mark.filterwarnings("ignore")

# The student's backbone and what classifies the pixels, by class name.
NETWORKS = {
    "fcn": ("ResNetV1c", "FCNHead"),
    "pspnet": ("ResNetV1c", "PSPHead"),
    "deeplabv3plus": ("ResNetV1c", "DepthwiseSeparableASPPHead"),
    "upernet_swin": ("SwinTransformer", "UPerHead"),
    "segformer": ("MixVisionTransformer", "SegformerHead"),
    "mask2former": ("ResNet", "Mask2FormerHead"),
    "segmenter": ("VisionTransformer", "SegmenterMaskTransformerHead"),
    "ocrnet": ("HRNet", "OCRHead"),
    "segformer_from_pspnet": ("MixVisionTransformer", "SegformerHead"),
}
LIBRARIES = {"mmseg", "mmdet", "mmcv", "mmengine", "torch"}


@pytest.mark.parametrize("name", CASES)
def test_it_is_distilled_and_stays_the_stock_model(name, tmp_path):
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmseg"):
        check(CASES[name], NETWORKS[name], tmp_path)


def check(case, network, tmp_path):
    model = MODELS.build(distiller_of(case))
    heads = model.decode_head
    head = heads[-1] if isinstance(heads, torch.nn.ModuleList) else heads
    assert (type(model.backbone).__name__, type(head).__name__) == network
    modules = model.student.modules()
    assert {type(module).__module__.partition(".")[0] for module in modules} <= LIBRARIES
    model.init_weights()
    teacher = model.teacher
    sizes = [sum(p.numel() for p in net.parameters()) for net in (model.student, teacher)]
    assert sizes[0] < sizes[1]
    check_a_step(model, case)

    # A file, as a run saves it, and the part of it that is published.
    save_checkpoint(dict(state_dict=model.state_dict()), str(tmp_path / "whole.pth"))
    weights = student_weights(read_checkpoint(tmp_path / "whole.pth"))
    torch.save(weights, tmp_path / "student.pth")
    stock = STOCK.build(student_of(case))
    before = copies(stock)
    stock.load_state_dict(torch.load(tmp_path / "student.pth", weights_only=True), strict=True)
    assert not equal(before, copies(stock))

    ours, theirs = (predictions(net, case.classes) for net in (model, stock))
    for left, right in zip(ours, theirs, strict=True):
        assert left.seg_logits.data.shape == (case.classes, *SIZE)
        assert torch.isfinite(left.seg_logits.data).all()
        assert torch.equal(left.seg_logits.data, right.seg_logits.data)
        assert torch.equal(left.pred_sem_seg.data, right.pred_sem_seg.data)


def check_a_step(model, case):
    teacher = model.teacher
    frozen, data = copies(teacher), model.data_preprocessor(made_batch(SIZE, case.classes), True)
    check_gradients(model, data, list(case.taps))  # of each loss alone
    tapped = {name: [] for name in model.distill}
    for name, module in model.distill.items():
        record_inputs(module, tapped[name])

    log = model(**data, mode="loss")

    terms = {key for name in case.taps for key in terms_of(log, name)}
    added = {key for key in log if key.startswith("kd.")}
    assert set(log) - added == case.own
    assert {key for key in added if key.startswith("kd.loss_")} == terms
    for name, wanted in case.taps.items():
        [((student, of_teacher, _), _)] = tapped[name]
        assert (shapes(student), shapes(of_teacher)) == wanted, name
    assert set(tapped) == set(case.taps)

    total, log_vars = model.parse_losses(log)
    total.backward()
    assert all(torch.isfinite(value).all() for value in log_vars.values())
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    silent = [name for name, p in trained.items() if p.grad is None]
    assert not silent
    assert all(torch.isfinite(p.grad).all() for p in trained.values())
    for name, module in model.distill.items():
        assert all(p.grad.abs().sum() > 0 for p in module.parameters()), name
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert not any(module.training for module in teacher.modules())
    assert equal(frozen, copies(teacher))  # its running statistics among them


def predictions(model, classes):
    model.eval()
    return model.val_step(made_batch(SIZE, classes, narrower=0))
