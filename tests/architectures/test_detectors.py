"""Any mmdet model distils: tiny stock detectors of every kind, one step each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mmdet.registry import MODELS as DET_MODELS
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmkd_ext.distill import Distiller
from mmkd_ext.distill.checkpoint import read_checkpoint
from mmkd_ext.distill.export import student_weights
from mmkd_ext.registry import MODELS

from ..configs.cls_configs import copies, equal, record_inputs, shapes, terms_of
from ..configs.det_configs import PADDED, made_batch
from .detectors import ARCHITECTURES, STUDENT, TEACHER, Architecture

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_it_distils_a_step_and_leaves_a_stock_model(name, tmp_path):
    architecture = ARCHITECTURES[name]
    cfg = architecture.whole(STUDENT)
    init_default_scope("mmdet")
    torch.manual_seed(0)
    model = distiller(cfg.model, architecture)
    stock = DET_MODELS.build(cfg.model)
    stock.load_state_dict(student_weights(model), strict=True)

    tapped: dict[str, list] = {name: [] for name in model.distill}
    for loss_name, loss in model.distill.items():
        record_inputs(loss, tapped[loss_name])
    results, alone = (losses_of(net, architecture.masks) for net in (model, stock))
    own = {key: value for key, value in results.items() if not key.startswith("kd.")}
    assert own.keys() == alone.keys()
    for key, value in own.items():  # the losses draw after the student
        torch.testing.assert_close(value, alone[key], rtol=0, atol=0)
    check_taps(tapped, architecture)
    check_gradients(model, results, tapped)
    check_step(model, results, build_optim_wrapper(model, cfg.optim_wrapper))

    # The checkpoint, without what is the losses', is the stock model's.
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / "checkpoint.pth")
    weights = student_weights(read_checkpoint(tmp_path / "checkpoint.pth"))
    stock.load_state_dict(weights, strict=True)
    check_predictions(model, stock, architecture.masks)


def distiller(student: dict, architecture: Architecture) -> Distiller:
    model = MODELS.build(
        dict(
            type="mmkd_ext.Distiller",
            student=student,
            teacher=dict(config=architecture.model(TEACHER)),
            losses=architecture.losses,
            input_shape=(3, *PADDED),
        )
    )
    model.init_weights()
    return model


def losses_of(model: nn.Module, masks: bool) -> dict[str, Any]:
    """Of one training forward; equal random numbers at every call."""
    torch.manual_seed(1)
    data = model.train().data_preprocessor(made_batch(masks), training=True)
    return model(**data, mode="loss")


def check_taps(tapped: dict[str, list], architecture: Architecture) -> None:
    """Every loss was called once, with what its taps should put out."""
    assert tapped.keys() == architecture.sizes.keys()
    for name, sizes in architecture.sizes.items():
        [((*pair, samples), _)] = tapped[name]
        for value, width in zip(
            pair, architecture.channels.get(name, (STUDENT, TEACHER)), strict=True
        ):
            several = isinstance(sizes, list)
            expected = [(2, width, *size) for size in (sizes if several else [sizes])]
            assert shapes(value) == (expected if several else expected[0]), name
        assert len(samples) == 2


def check_gradients(model: Distiller, results: dict[str, Any], tapped: dict[str, list]) -> None:
    """Each loss pulls at its tap, and all of them together at neck and backbone."""
    for name, [((student, teacher, samples), _)] in tapped.items():
        taps = student if isinstance(student, list) else [student]
        terms = [results[key] for key in terms_of(results, name)]
        if not strength(sum(terms), taps):  # a mask may hide all of the few cells there are
            again = [model.distill[name](student, teacher, samples) for _ in range(20)]
            assert strength(sum(again), taps) > 0, name
    total = sum(value for key, value in results.items() if key.startswith("kd.loss_"))
    for part in ("backbone", "neck" if model.with_neck else "panoptic_head.pixel_decoder"):
        trained = [p for p in model.get_submodule(part).parameters() if p.requires_grad]
        assert strength(total, trained) > 0, part


def strength(loss: Tensor, tensors: list[Tensor]) -> float:
    """How large its gradients are, summed up."""
    gradients = torch.autograd.grad(loss, tensors, retain_graph=True, allow_unused=True)
    gradients = [gradient for gradient in gradients if gradient is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    return sum(gradient.abs().sum().item() for gradient in gradients)


def check_step(model: Distiller, results: dict[str, Any], wrapper: Any) -> None:
    """The optimizer of the stock config moves student and losses, and not the teacher."""
    teacher = copies(model.teacher)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    total, log = model.parse_losses(results)
    assert all(torch.isfinite(value).all() for value in log.values())
    wrapper.update_params(total)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    for name, loss in model.distill.items():
        own = {key for key, _ in loss.named_parameters(prefix=f"distill.{name}")}
        assert not own or own & moved, name
    assert any(name.startswith("backbone.") for name in moved)
    assert any("head." in name for name in moved)
    assert equal(teacher, copies(model.teacher))
    assert not any(module.training for module in model.teacher.modules())
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())


def check_predictions(model: Distiller, stock: nn.Module, masks: bool) -> None:
    """Both predict the same, and something."""
    ours, theirs = (net.eval().val_step(made_batch(False)) for net in (model, stock))
    assert len(ours) == len(theirs) == 2
    fields = {"bboxes", "scores", "labels"} | ({"masks"} if masks else set())
    for one, other in zip(ours, theirs, strict=True):
        found, expected = one.pred_instances, other.pred_instances
        assert fields <= set(found.keys()) == set(expected.keys())
        for field in found.keys():  # noqa: SIM118  (of an InstanceData)
            value, wanted = (torch.as_tensor(item[field]) for item in (found, expected))
            assert torch.equal(value, wanted), field
        assert len(found) >= 10
        assert found.scores.max() > 0
        assert found.labels.max() < 80
        if masks:
            assert found.masks.shape[1:] == one.ori_shape
            assert found.masks.any()
