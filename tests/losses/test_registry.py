"""Every registered loss keeps the common contract; one without a case here fails."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import mmkd_ext.losses
from mmkd_ext.losses import DistillLoss
from mmkd_ext.registry import MODELS

CLASSES = 6
REGISTERED = {
    name: cls
    for name, cls in MODELS.module_dict.items()
    if isinstance(cls, type)
    and issubclass(cls, DistillLoss)
    and cls.__module__.startswith("mmkd_ext.losses")
}


@dataclass
class Case:
    """Shapes (without the batch axis) that a loss compares, and what is needed to build it."""

    student: Any
    teacher: Any = None
    mismatched: list[tuple[Any, Any]] = field(default_factory=list)
    labels: bool = False
    boxes: bool = False
    args: dict = field(default_factory=dict)


LOGITS = (CLASSES,)
BAD_LOGITS = [((CLASSES,), (CLASSES + 1,)), ((CLASSES, 4, 5), (CLASSES, 4, 5))]
MAP_S, MAP_T = (3, 4, 7), (5, 4, 7)
BAD_MAPS = [(MAP_S, (5, 8, 14)), ((4, 4, 7), MAP_T), (MAP_S, (6, 4, 7)), ((3, 4), (5, 4))]
TOKENS_S, TOKENS_T = [(17, 6)] * 3, [(17, 8)] * 3
USKD = {"logits": LOGITS, "feature": MAP_S}
CASES = {
    "CWDLoss": Case(MAP_S, MAP_S, [(MAP_S, MAP_T), (MAP_S, (3, 8, 14)), ((3, 4), (3, 4))]),
    "DKDLoss": Case(LOGITS, LOGITS, BAD_LOGITS, labels=True),
    "FGDLoss": Case(MAP_S, MAP_T, BAD_MAPS, boxes=True),
    "KDLoss": Case(LOGITS, LOGITS, [BAD_LOGITS[0], ((CLASSES, 3), (CLASSES, 3))]),
    "MGDLoss": Case(MAP_S, MAP_T, BAD_MAPS),
    "NKDLoss": Case(LOGITS, LOGITS, BAD_LOGITS, labels=True),
    "PKDLoss": Case(MAP_S, MAP_S, [(MAP_S, MAP_T), (MAP_S, (3, 8, 14)), ((3, 4), (3, 4))]),
    "SRRLLoss": Case(MAP_S, MAP_T, BAD_MAPS[1:]),
    "TFNKDLoss": Case(LOGITS, None, [(LOGITS * 3, None)], labels=True),
    "USKDLoss": Case(
        USKD,
        None,
        [({**USKD, "feature": (4, 4, 7)}, None), ({**USKD, "logits": (CLASSES + 1,)}, None)],
        labels=True,
    ),
    "ViTKDLoss": Case(
        TOKENS_S,
        TOKENS_T,
        [(TOKENS_S, [(26, 8)] * 3), ([(17, 7)] * 3, TOKENS_T), (TOKENS_S[:2], TOKENS_T)],
    ),
    "WSLDLoss": Case(LOGITS, LOGITS, BAD_LOGITS, labels=True),
}


def test_every_loss_has_a_case_and_is_exported():
    assert set(REGISTERED) == set(CASES)
    assert set(REGISTERED) <= set(mmkd_ext.losses.__all__)


def draw(shape, batch, dtype=torch.float32, requires_grad=False):
    """Random tensors of a shape, in the same structure."""
    if isinstance(shape, dict):
        return {k: draw(v, batch, dtype, requires_grad) for k, v in shape.items()}
    if isinstance(shape, list):
        return [draw(v, batch, dtype, requires_grad) for v in shape]
    if shape is None:
        return None
    return torch.randn(batch, *shape, dtype=dtype).requires_grad_(requires_grad)


def leaves(value):
    if isinstance(value, torch.Tensor):
        return [value]
    return list(value.values()) if isinstance(value, dict) else list(value)


def build(name, dtype=torch.float32):
    """As a Distiller does: infer what is missing, build by type name, bind the teacher's module."""
    torch.manual_seed(0)
    case, cls = CASES[name], REGISTERED[name]
    inferred = cls.infer_args(draw(case.student, 1), draw(case.teacher, 1), dict(case.args))
    assert set(inferred) == set(cls.inferred_args)
    loss = MODELS.build({"type": name, **case.args, **inferred})
    for arg in cls.teacher_modules:
        assert isinstance(getattr(loss, arg), str)
        classifier = nn.Linear(MAP_T[0], CLASSES, dtype=dtype).requires_grad_(False)
        loss.bind_teacher(arg, classifier)
    return loss.to(dtype)


def samples_for(case, batch):
    """What a loss reads from the data samples: labels, or boxes of which every second image has two."""
    if case.boxes:
        boxes = torch.tensor([[3.0, 5.0, 21.0, 30.0], [10.0, 0.0, 60.0, 12.0]])
        instances = [SimpleNamespace(bboxes=boxes[: 2 * (i % 2)]) for i in range(batch)]
        return [SimpleNamespace(gt_instances=x, batch_input_shape=(32, 56)) for x in instances]
    return torch.arange(batch) % CLASSES if case.labels else None


def total(value):
    return sum(value.values()) if isinstance(value, dict) else value


def step(loss, case, batch=2, dtype=torch.float32):
    student = draw(case.student, batch, dtype, requires_grad=True)
    teacher = draw(case.teacher, batch, dtype)
    result = loss(student, teacher, samples_for(case, batch))
    total(result).backward()
    for tensor in (*leaves(student), *(p.grad for p in loss.parameters())):
        gradient = tensor.grad if tensor.requires_grad else tensor
        assert gradient is not None
        assert gradient.isfinite().all()
        if tensor.requires_grad:
            assert gradient.abs().sum() > 0
    return result


@pytest.mark.parametrize("name", REGISTERED)
@pytest.mark.parametrize("batch", [1, 4])
def test_runs_and_backpropagates(name, batch):
    result = step(build(name), CASES[name], batch)
    for value in leaves(result):
        assert value.shape == ()
        assert value.dtype == torch.float32
        assert value.isfinite()


@pytest.mark.parametrize("name", REGISTERED)
def test_terms_match_the_weights(name):
    loss = build(name)
    result = step(loss, CASES[name])
    if isinstance(result, dict):
        assert list(result) == list(loss.loss_weight)
    else:
        assert isinstance(loss.loss_weight, float)


@pytest.mark.parametrize("name", REGISTERED)
def test_float64_is_kept(name):
    result = step(build(name, torch.float64), CASES[name], dtype=torch.float64)
    assert {value.dtype for value in leaves(result)} == {torch.float64}


@pytest.mark.parametrize("name", REGISTERED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_float32_under_bf16_autocast(name, dtype):
    loss, twin = build(name), build(name)
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = step(loss, CASES[name], dtype=dtype)
    assert {value.dtype for value in leaves(result)} == {torch.float32}
    if dtype == torch.float32:  # autocast changes nothing at all
        torch.manual_seed(1)
        torch.testing.assert_close(result, step(twin, CASES[name]), rtol=0, atol=0)


@pytest.mark.parametrize("name", REGISTERED)
def test_finite_with_large_half_precision_activations(name):
    loss, case = build(name), CASES[name]
    student, teacher = (draw(side, 2, torch.bfloat16) for side in (case.student, case.teacher))
    big = [
        {k: v * 300 for k, v in side.items()} if isinstance(side, dict)
        else [v * 300 for v in side] if isinstance(side, list)
        else side if side is None else side * 300
        for side in (student, teacher)
    ]  # fmt: skip
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = loss(*big, samples_for(case, 2))
    assert all(value.isfinite() for value in leaves(result))


@pytest.mark.parametrize(
    ("name", "index"),
    [(name, i) for name, case in CASES.items() for i in range(len(case.mismatched))],
)
def test_mismatched_shapes(name, index):
    loss, case = build(name), CASES[name]
    student, teacher = case.mismatched[index]
    with pytest.raises(ValueError, match=f"^{name}: ") as caught:
        loss(draw(student, 2), draw(teacher, 2), samples_for(case, 2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", REGISTERED)
def test_mismatched_batch(name):
    loss, case = build(name), CASES[name]
    if case.teacher is None:
        arguments = draw(case.student, 2), None, samples_for(case, 3)
    else:
        arguments = draw(case.student, 2), draw(case.teacher, 3), samples_for(case, 2)
    with pytest.raises(ValueError, match=f"^{name}: .*2.*3"):
        loss(*arguments)


@pytest.mark.parametrize("name", REGISTERED)
def test_list_of_firings_is_the_sum(name):
    loss, case = build(name).eval(), CASES[name]
    first, second = draw(case.student, 2), draw(case.student, 2)
    teacher, labels = draw(case.teacher, 2), samples_for(case, 2)
    if isinstance(first, dict):
        fired = {key: [first[key], second[key]] for key in first}
    elif isinstance(first, list):
        fired = [list(pair) for pair in zip(first, second, strict=True)]
    else:
        fired = [first, second]
    torch.manual_seed(7)
    both = total(loss(fired, teacher, labels))
    torch.manual_seed(7)
    expected = total(loss(first, teacher, labels)) + total(loss(second, teacher, labels))
    torch.testing.assert_close(both, expected)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.labels])
def test_soft_labels_of_every_policy(name):
    """One-hot weights mean what hard labels mean; USKD's published policy alone removes a class."""
    case = CASES[name]
    student, teacher = draw(case.student, 4, torch.float64), draw(case.teacher, 4, torch.float64)
    labels = samples_for(case, 4)
    one_hot = nn.functional.one_hot(labels, CLASSES)
    mixed = 0.6 * one_hot + 0.4 * one_hot.roll(1, dims=0)
    loss = build(name, torch.float64)
    hard = loss(student, teacher, labels)
    policies = ("argmax", "mix") if loss.needs_teacher else ("argmax", "top2")
    for policy in policies:
        loss.soft_labels = policy
        assert loss(student, teacher, mixed).isfinite()
        if (name, policy) != ("USKDLoss", "top2"):
            torch.testing.assert_close(loss(student, teacher, one_hot), hard)
    with pytest.raises(ValueError, match=f"{name}: soft_labels must be one of"):
        MODELS.build({"type": name, "soft_labels": "sum", **infer(name)})


def infer(name):
    case = CASES[name]
    return REGISTERED[name].infer_args(draw(case.student, 1), draw(case.teacher, 1), {})


@pytest.mark.parametrize("name", REGISTERED)
def test_inferred_arguments_are_required(name):
    if REGISTERED[name].inferred_args:
        with pytest.raises(ValueError, match=f"{name} needs .*Distiller"):
            REGISTERED[name]()
    else:
        assert isinstance(REGISTERED[name](), nn.Module)


@pytest.mark.parametrize("name", REGISTERED)
def test_misspelt_argument(name):
    with pytest.raises(TypeError, match="unexpected keyword argument 'wieght'"):
        REGISTERED[name](**infer(name), wieght=1.0)


@pytest.mark.parametrize("name", REGISTERED)
def test_one_graph_under_compile(name):
    """No data-dependent control flow: the compiler takes every loss whole."""
    loss, case = build(name).eval(), CASES[name]
    taps = draw(case.student, 2), draw(case.teacher, 2), samples_for(case, 2)
    torch._dynamo.reset()  # all losses share one forward, and its cache holds eight
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    torch.manual_seed(1)
    expected = loss(*taps)
    torch.manual_seed(1)
    torch.testing.assert_close(compiled(*taps), expected)
