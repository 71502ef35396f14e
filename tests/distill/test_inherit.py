"""Starting from parts of the teacher: what is copied, what is said, what is refused."""

import pytest
import torch
from torch import nn

from mmkd_ext.distill import Distiller
from mmkd_ext.distill.inherit import inherit_weights, inheritance
from mmkd_ext.distill.tap_spec import TapError
from tests.logs import logged

from .nets import Distance, Tiny


def parts(module, name):
    return {key: value for key, value in module.state_dict().items() if key.startswith(name)}


def equal(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def make(**arguments):
    torch.manual_seed(0)
    student, teacher = Tiny(), Tiny()
    return Distiller(
        student=student,
        input_shape=(3, 8, 8),
        **{
            "teacher": teacher,
            "losses": dict(x=dict(type=Distance, tap="stem")),
            **arguments,
        },
    )


def test_it_copies_the_named_modules_when_training_starts():
    model = make(inherit=["body"])
    before = parts(model, "body.")
    assert before
    assert not equal(before, parts(model.teacher, "body."))
    stem = parts(model, "stem.")
    model.init_weights()
    assert equal(parts(model, "body."), parts(model.teacher, "body."))  # batch norm's buffers, too
    assert equal(parts(model, "stem."), stem)
    # A copy: training the student leaves the teacher as it is.
    teacher = {key: value.clone() for key, value in model.teacher.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert equal(teacher, model.teacher.state_dict())


def test_without_it_nothing_is_copied():
    model = make()
    model.init_weights()
    assert not equal(parts(model, "body."), parts(model.teacher, "body."))


def test_one_of_several_teachers():
    torch.manual_seed(1)
    model = make(
        teacher=None,
        teachers=dict(a=Tiny(), b=Tiny()),
        losses=dict(x=dict(type=Distance, tap="stem", teacher="a")),
        inherit=dict(teacher="b", modules=["body"]),
    )
    model.init_weights()
    assert equal(parts(model, "body."), parts(model.teachers["b"].model, "body."))
    assert not equal(parts(model, "body."), parts(model.teachers["a"].model, "body."))


@pytest.mark.parametrize("inherit", [["body"], dict(teacher="teacher", modules=["body"])])
def test_an_ema_teacher_has_nothing_to_give(inherit):
    with pytest.raises(ValueError, match="an EMA teacher begins as the student; there is nothing"):
        make(teacher=dict(type="EMATeacher"), inherit=inherit)


class Pair(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.neck = nn.Linear(4, 4)
        self.head = nn.ModuleDict({"same": nn.Linear(4, 2), "wide": nn.Linear(4, width)})


def test_what_does_not_fit_stays_and_is_named():
    student, teacher = Pair(3), Pair(5)
    wide = student.head["wide"].weight.clone()
    with logged() as lines:
        copied = inherit_weights(student, teacher, ["neck", "head"])
    [warning] = [line for line in lines if "stay as initialised" in line]
    assert "head.wide" in warning
    assert set(copied) == {"neck.weight", "neck.bias", "head.same.weight", "head.same.bias"}
    assert torch.equal(student.head["same"].weight, teacher.head["same"].weight)
    assert torch.equal(student.head["wide"].weight, wide)


@pytest.mark.parametrize(
    ("modules", "words"),
    [
        (["nck"], "the student has no weights under 'nck'; its parts are neck, head"),
        (["head.wide"], r"not one weight of 'head.wide' .* is \(3, 4\) here, \(5, 4\) there"),
    ],
)
def test_nothing_that_matches_is_an_error(modules, words):
    with pytest.raises(TapError, match=words):
        inherit_weights(Pair(3), Pair(5), modules)


@pytest.mark.parametrize(
    ("config", "teachers", "words"),
    [
        (["neck"], [], "needs a teacher to inherit from: there are 0"),
        (["neck"], ["a", "b"], r"there are 2; say inherit=dict\(teacher="),
        (dict(teacher="c", modules=["neck"]), ["a"], "no teacher 'c'; there is a"),
        (dict(teachers="a"), ["a"], "inherit is a list of modules, or dict"),
        ("neck", ["a"], "modules are a list of names"),
    ],
)
def test_bad_settings(config, teachers, words):
    with pytest.raises(ValueError, match=words):
        inheritance(config, teachers)
