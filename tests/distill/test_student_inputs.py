"""A teacher's modules called with the student's arguments; taps of arguments."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from torch import nn

import mmkd_ext  # noqa: F401
from mmkd_ext.distill import Distiller, TapError
from mmkd_ext.losses.nkd import nkd_loss
from tests.architectures.detectors import ARCHITECTURES
from tests.distill import stock_models

ROIS = "roi_head.bbox_roi_extractor(rois)"
LOGITS = "roi_head.bbox_head.fc_cls"
NKD = dict(
    type="NKDLoss",
    tap=dict(
        student=dict(logits=LOGITS, target="roi_head.bbox_head.loss_cls(label)"), teacher=LOGITS
    ),
)


def two_stage(**teacher) -> Distiller:
    init_default_scope("mmdet")
    torch.manual_seed(0)
    student = stock_models.detector(stock_models.FASTER_RCNN, classes=3)
    config = dict(config=stock_models.detector(stock_models.FASTER_RCNN, classes=3, width=16))
    distiller = Distiller(student, dict(nkd=NKD), teacher=config | teacher)
    distiller.train()
    return distiller


def recorded(module: nn.Module) -> list:
    """What a module is called with and puts out, by a hook of the test's own."""
    calls = []
    module.register_forward_hook(lambda _, args, output: calls.append((args, output)))
    return calls


def test_the_teachers_head_judges_the_regions_that_the_students_sampler_drew():
    distiller = two_stage(student_inputs=ROIS)
    student, teacher = distiller.student, distiller.teacher
    sampled = recorded(student.roi_head.bbox_roi_extractor)
    student_logits = recorded(student.roi_head.bbox_head.fc_cls)
    labels = recorded(student.roi_head.bbox_head.loss_cls)
    batch = distiller.data_preprocessor(stock_models.det_batch(), True)
    losses = distiller(**batch, mode="loss")

    rois, target = sampled[0][0][1], labels[0][0][1]
    assert rois.shape == (2 * 512, 5)
    assert len(target) == len(rois)
    with torch.no_grad():  # the teacher by hand, part by part
        maps = teacher.neck(teacher.backbone(batch["inputs"]))
        features = teacher.roi_head.bbox_roi_extractor(maps[:4], rois)
        teacher_logits, _ = teacher.roi_head.bbox_head(features)
    expected = nkd_loss(student_logits[0][1], teacher_logits, target)
    torch.testing.assert_close(losses["kd.loss_nkd"], expected)
    distiller.parse_losses(losses)[0].backward()
    assert student.roi_head.bbox_head.fc_cls.weight.grad.abs().sum() > 0
    assert distiller.teacher.roi_head.bbox_head.fc_cls.weight.grad is None


def test_without_them_the_rows_do_not_compare():
    distiller = two_stage()
    batch = distiller.data_preprocessor(stock_models.det_batch(), True)
    with pytest.raises(ValueError, match=r"losses\['nkd'\].*\(1024, 4\)"):
        distiller(**batch, mode="loss")


def test_the_teacher_on_its_own_keeps_its_own_regions():
    distiller = two_stage(student_inputs=[ROIS])
    batch = distiller.data_preprocessor(stock_models.det_batch(), True)
    distiller(**batch, mode="loss")
    seen = recorded(distiller.teacher.roi_head.bbox_roi_extractor)
    with torch.no_grad():
        distiller.teacher(**batch, mode="tensor")
    assert len(seen[0][0][1]) != 2 * 512  # the proposals that its own first stage leaves


def test_a_cascade_compares_its_first_stage():
    init_default_scope("mmdet")
    logits, target = (f"roi_head.bbox_head.0.{name}" for name in ("fc_cls", "loss_cls(label)"))
    cascade = ARCHITECTURES["cascade_rcnn"]
    distiller = Distiller(
        cascade.model(8),
        dict(
            nkd=dict(
                type="NKDLoss",
                tap=dict(student=dict(logits=logits, target=target), teacher=logits),
            )
        ),
        teacher=dict(
            config=cascade.model(16), student_inputs="roi_head.bbox_roi_extractor.0(rois)"
        ),
    )
    distiller.train()
    judged = recorded(distiller.teacher.roi_head.bbox_roi_extractor[0])
    sampled = recorded(distiller.student.roi_head.bbox_roi_extractor[0])
    batch = distiller.data_preprocessor(stock_models.det_batch(), True)
    losses = distiller(**batch, mode="loss")
    assert torch.isfinite(losses["kd.loss_nkd"])
    assert torch.equal(judged[0][0][1], sampled[0][0][1])


class Steps(BaseModel):
    """Reads a number per call, given by keyword, three or so times in a forward."""

    def __init__(self, start: float, calls: int = 3):
        super().__init__()
        self.inner = Inner()
        self.start, self.calls = start, calls

    def forward(self, inputs, data_samples=None, mode="tensor"):
        outputs = [self.inner(inputs, offset=self.start + i) for i in range(self.calls)]
        return {"loss": sum(outputs).sum()} if mode == "loss" else outputs[-1]


class Inner(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x, offset=0.0):
        return x * self.scale + offset


class Squares(nn.Module):
    def forward(self, student, teacher, data_samples=None):
        return sum(F.mse_loss(s, t) for s, t in zip(student, teacher, strict=True))


def squares(calls: int = 3, **teacher) -> Distiller:
    return Distiller(
        Steps(start=1.0),
        dict(gap=dict(type=Squares, tap="inner")),
        teacher=dict(config=dict(type=Steps, start=10.0, calls=calls)) | teacher,
    )


def test_each_call_gets_the_argument_of_the_same_call():
    inputs = torch.ones(2, 3)
    apart = squares()(inputs, mode="loss")["kd.loss_gap"]
    together = squares(student_inputs="inner(offset)")(inputs, mode="loss")["kd.loss_gap"]
    assert apart == 3 * 9.0**2
    assert together == 0


def test_more_calls_than_the_students_are_refused():
    distiller = Distiller(
        Steps(start=1.0, calls=2),
        dict(gap=dict(type=Squares, tap=dict(student="inner", teacher="last"))),
        teacher=dict(config=dict(type=Ending, start=1.0), student_inputs="inner(offset)"),
    )
    with pytest.raises(TapError, match=r"'inner\(offset\)'.*called more often.*2 times"):
        distiller(torch.ones(1, 3), mode="loss")


class Ending(Steps):
    def __init__(self, start: float):
        super().__init__(start)
        self.last = nn.Identity()

    def forward(self, inputs, data_samples=None, mode="tensor"):
        return self.last(super().forward(inputs))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("inner", r"student_inputs of the teacher: 'inner' names no argument"),
        ("inner(size)", r"no parameter 'size', but x, offset"),
        ("iner(x)", r"student_inputs of the teacher: tap 'iner': .* did you mean 'inner'"),
        ([3], r"3 is no tap"),
        (dict(student="inner(x)"), r"does not say what to tap in the teacher"),
    ],
)
def test_a_wrong_name_is_refused_when_building(spec, message):
    with pytest.raises(TapError, match=message):
        squares(student_inputs=spec)


def test_compiled_code_cannot_take_them():
    with pytest.raises(ValueError, match="drop compile or student_inputs"):
        squares(student_inputs="inner(offset)", compile=True)


def test_an_argument_can_be_tapped_by_itself_and_by_element():
    seen = []

    class Keep(nn.Module):
        def forward(self, student, teacher=None, data_samples=None):
            seen.append(student)
            return torch.zeros(())

    distiller = Distiller(
        Steps(start=1.0),
        dict(keep=dict(type=Keep, tap=dict(output="inner", offset="inner(offset)"))),
        teacher=dict(config=dict(type=Steps, start=1.0)),
    )
    distiller(torch.ones(1, 3), mode="loss")
    assert seen[0]["offset"] == [1.0, 2.0, 3.0]
    assert [float(output.sum()) for output in seen[0]["output"]] == [6.0, 9.0, 12.0]
