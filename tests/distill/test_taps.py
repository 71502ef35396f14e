import copy

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmkd_ext.distill import Distiller
from mmkd_ext.distill.tap_spec import TapError

from .nets import Connected, Distance, Tiny, batch, total


def distiller(tap, loss=Distance, student=None, teacher=None, **kwargs):
    torch.manual_seed(0)
    return Distiller(
        student=student or Tiny(),
        teacher=teacher if teacher is not None else Tiny(),
        losses=dict(x=dict(type=loss, tap=tap)),
        input_shape=(3, 8, 8),
        **kwargs,
    )


def test_values_are_the_modules_outputs():
    model = distiller("stem").train()
    images, labels = batch()
    outputs = model(images, labels, mode="loss")
    expected = (model.student.stem(images) - model.teacher.stem(images)).pow(2).mean()
    torch.testing.assert_close(outputs["kd.loss_x"], expected)


def test_a_module_that_fires_twice_gives_a_list():
    model = distiller("shared").train()
    images, labels = batch()
    model(images, labels, mode="loss")
    ((student, teacher),) = model.distill["x"].seen
    assert [tuple(s.shape) for s in student] == [(2, 4, 8, 8), (2, 4, 4, 4)]
    assert [tuple(t.shape) for t in teacher] == [(2, 4, 8, 8), (2, 4, 4, 4)]


def test_a_teacher_tap_that_fired_once_serves_every_student_firing():
    model = distiller(dict(student="shared", teacher="head")).train()
    images, labels = batch()
    with pytest.raises(RuntimeError):  # the shapes differ; what arrived is what counts
        model(images, labels, mode="loss")
    ((student, teacher),) = model.distill["x"].seen
    assert len(student) == len(teacher) == 2
    assert teacher[0].data_ptr() == teacher[1].data_ptr()
    assert teacher[0].shape == (2, 4)


def test_each_loss_gets_its_own_number_of_firings():
    torch.manual_seed(0)
    model = Distiller(
        student=Tiny(),
        teacher=Tiny(),
        losses=dict(
            once=dict(type=Distance, tap=dict(student="stem", teacher="shared")),
            twice=dict(type=Distance, tap="shared"),
        ),
    ).train()
    images, labels = batch()
    model(images, labels, mode="loss")
    assert model.distill["once"].seen[0][1].shape == (2, 4, 8, 8)
    assert len(model.distill["twice"].seen[0][1]) == 2


def test_lists_dicts_and_patterns_reach_the_losses():
    model = distiller(["stem", "body.{0,1}"]).train()
    images, labels = batch()
    with pytest.raises(TapError, match=r"'body.1' of the student.*changed in place"):
        model(images, labels, mode="loss")
    model = distiller(["stem", "body.0"]).train()
    model(images, labels, mode="loss")
    ((student, _),) = model.distill["x"].seen
    assert isinstance(student, list)
    assert len(student) == 2
    model = distiller("{stem,head}")
    assert list(model.distill) == ["x_0", "x_1"]


def test_in_place_change_after_the_tap_is_refused_in_the_teacher_too():
    model = distiller(dict(student="stem", teacher="body.1")).train()
    # The early stop ends the teacher at the tap itself, before the in-place relu: no harm done.
    images, labels = batch()
    model(images, labels, mode="loss")
    model = distiller(dict(student=["stem", "head"], teacher=["body.1", "head"])).train()
    with pytest.raises(TapError, match=r"'body.1' of the teacher.*in place"):
        model(images, labels, mode="loss")


def test_a_tap_that_never_fires_is_named():
    class Bypass(Tiny):
        def features(self, inputs):
            return [x for x in super().features(inputs)]

        def forward(self, inputs, data_samples=None, mode="tensor"):
            late, self._modules["late"] = self.late, nn.Identity()
            try:
                return super().forward(inputs, data_samples, mode)
            finally:
                self._modules["late"] = late

    images, labels = batch()
    with pytest.raises(TapError, match=r"tap 'late' of the student never fired"):
        distiller("late", student=Bypass()).train()(images, labels, mode="loss")
    with pytest.raises(TapError, match=r"tap 'late' of the teacher never fired"):
        distiller("late", teacher=Bypass()).train()(images, labels, mode="loss")


def test_a_student_tap_without_gradient_is_refused():
    student = Tiny()
    student.stem.requires_grad_(False)
    images, labels = batch()
    with pytest.raises(
        TapError, match=r"'stem' of the student.*\(2, 4, 8, 8\) carries no gradient"
    ):
        distiller("stem", student=student).train()(images, labels, mode="loss")


def test_reentrant_checkpointing_inside_is_refused_and_its_output_is_right():
    class Checkpointed(Tiny):
        def features(self, inputs):
            x = checkpoint(self.body, self.stem(inputs), use_reentrant=True)
            return [self.shared(x), self.shared(x)]

    images, labels = batch()
    with pytest.raises(TapError, match="activation-checkpointed"):
        distiller("body.0", student=Checkpointed()).train()(images, labels, mode="loss")
    teacher = _same_path(Tiny)
    plain = distiller("shared", student=_same_path(Tiny), teacher=teacher)
    outer = distiller("shared", student=Checkpointed(), teacher=teacher)
    outer.load_state_dict(plain.state_dict())
    for model in (plain, outer):
        model.train()
        torch.manual_seed(1)
        total(model(images, labels, mode="loss")).backward()
    for (name, p), q in zip(plain.named_parameters(), outer.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, msg=name)
    assert outer.recorder.outputs == {}  # the recomputation in backward left nothing behind


def _same_path(base):
    class Plain(base):
        def features(self, inputs):
            x = self.body(self.stem(inputs))
            return [self.shared(x), self.shared(x)]

    return Plain()


def test_nothing_survives_the_step_and_only_the_loss_forward_records():
    model = distiller("stem").train()
    images, labels = batch()
    total(model(images, labels, mode="loss")).backward()
    assert model.recorder.outputs == {}
    assert model.teachers["teacher"].recorder.outputs == {}
    model(images, mode="tensor")
    model(images, labels, mode="predict")
    ema = copy.deepcopy(model)
    with model.recorder.arm():
        ema(images, mode="tensor")
        assert model.recorder.outputs == {}
    with pytest.raises(TypeError):
        model(images, None, mode="loss")
    assert not model.recorder.armed
    assert model.recorder.outputs == {}


def test_an_element_of_a_tuple_output():
    class Pyramid(Tiny):
        def __init__(self):
            super().__init__()
            self.levels = Levels()

        def features(self, inputs):
            return self.levels(self.stem(inputs))

    class Levels(nn.Module):
        def forward(self, x):
            return x * 1, x[..., ::2, ::2] * 2

    images, labels = batch()
    model = distiller("levels[-1]", student=Pyramid(), teacher=Pyramid()).train()
    model(images, labels, mode="loss")
    assert model.distill["x"].seen[0][0].shape == (2, 4, 4, 4)
    with pytest.raises(TapError, match=r"'levels\[2\]' of the student: the output has only 2"):
        distiller("levels[2]", student=Pyramid(), teacher=Pyramid()).train()(
            images, labels, mode="loss"
        )
    with pytest.raises(
        TapError, match=r"'stem\[0\]' of the student: the output is \(2, 4, 8, 8\), not"
    ):
        distiller("stem[0]").train()(images, labels, mode="loss")


def test_compiled_student_gives_the_same_values_and_gradients():
    images, labels = batch()
    eager = distiller("stem", loss=Connected).train()
    compiled = copy.deepcopy(eager)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled.student.forward = torch.compile(compiled.student.forward, backend=backend)
    results = {}
    for name, model in (("eager", eager), ("compiled", compiled)):
        for _ in range(3):
            torch.manual_seed(3)
            model.zero_grad()
            outputs = model(images, labels, mode="loss")
            total(outputs).backward()
            model(images, mode="tensor")
            assert model.recorder.outputs == {}
            grad = model.student.stem.weight.grad.clone()
            results.setdefault(name, []).append((outputs["kd.loss_x"].item(), grad))
    assert graphs
    for (value, grad), (expected, wanted) in zip(
        results["compiled"], results["eager"], strict=True
    ):
        assert value == pytest.approx(expected, rel=1e-6)
        torch.testing.assert_close(grad, wanted)


class Counting(nn.Identity):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x


def test_compiled_teacher_stops_and_agrees():
    images, labels = batch()
    plain = distiller("stem").train()
    net = Tiny()
    net.late = Counting()
    compiled = distiller("stem", teacher=dict(config=net, compile=dict(backend="aot_eager")))
    compiled.teacher.load_state_dict(plain.teacher.state_dict())
    compiled.student.load_state_dict(plain.student.state_dict())
    values = []
    for model in (plain, compiled.train()):
        for _ in range(2):
            torch.manual_seed(3)
            values.append(model(images, labels, mode="loss")["kd.loss_x"].item())
    assert values == pytest.approx([values[0]] * 4, rel=1e-6)
    assert net.late.calls == 0


def test_a_change_in_place_is_refused_before_compiled_code_could_hide_it():
    images, labels = batch()
    model = distiller("body.1").train()
    model.student.forward = torch.compile(model.student.forward, backend="eager")
    for _ in range(2):
        with pytest.raises(TapError, match=r"'body.1' of the student.*changed in place"):
            model(images, labels, mode="loss")


def test_a_compiled_training_step_still_stops_the_teacher():
    images, labels = batch()
    net = Tiny()
    net.late = Counting()
    model = distiller("stem", teacher=net).train()
    step = torch.compile(lambda: model(images, labels, mode="loss"), backend="eager")
    values = []
    for _ in range(3):
        torch.manual_seed(3)
        values.append(step()["kd.loss_x"].item())
    assert values == pytest.approx([values[0]] * 3, rel=1e-6)
    assert net.late.calls == 0


def test_a_replaced_module_is_tapped_again():
    images, labels = batch()
    model = distiller("body.1", student=_not_in_place(), teacher=_not_in_place()).train()
    torch.manual_seed(3)
    expected = model(images, labels, mode="loss")["kd.loss_x"]
    nn.SyncBatchNorm.convert_sync_batchnorm(model)
    revert_sync_batchnorm(model)
    torch.manual_seed(3)
    torch.testing.assert_close(model(images, labels, mode="loss")["kd.loss_x"], expected)


def _not_in_place():
    net = Tiny()
    net.relu.inplace = False
    return net


def test_only_the_tapped_element_must_stay_as_it_was():
    class Pair(nn.Module):
        def forward(self, x):
            return x * 1, x * 2

    class Paired(Tiny):
        def __init__(self):
            super().__init__()
            self.pair = Pair()

        def features(self, inputs):
            first, second = self.pair(self.stem(inputs))
            return [first, second.relu_()]

    images, labels = batch()
    distiller("pair[0]", student=Paired(), teacher=Paired()).train()(images, labels, mode="loss")
    model = distiller("pair[1]", student=Paired(), teacher=Paired()).train()
    with pytest.raises(TapError, match=r"'pair\[1\]'.*in place"):
        model(images, labels, mode="loss")
