import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmkd_ext.distill import Distiller
from mmkd_ext.distill.inputs import InputStats, renormalize

from .nets import CIFAR, Distance, Tiny, batch, normalised, total


def make(tap="stem", teacher=None, student=None, loss=Distance, **kwargs):
    torch.manual_seed(0)
    return Distiller(
        student=student or Tiny(),
        teacher=Tiny() if teacher is None else teacher,
        losses=dict(x=dict(type=loss, tap=tap)),
        input_shape=(3, 8, 8),
        **kwargs,
    )


# --- outside the module tree ---------------------------------------------------------------------


def test_the_teacher_is_in_no_tree():
    model = make()
    teacher = model.teacher
    own = {id(p) for p in teacher.parameters()}
    assert not own & {id(p) for p in model.parameters()}
    assert not any(module is teacher for module in model.modules())
    assert not any(key.startswith("teacher") for key in model.state_dict())
    assert not any(p.requires_grad for p in teacher.parameters())
    assert copy.deepcopy(model).teacher is teacher


def test_it_follows_to_and_stays_in_eval():
    model = make().double()
    assert model.teacher.stem.weight.dtype == torch.float64
    model.train()
    assert not any(module.training for module in model.teacher.modules())
    ema = copy.deepcopy(model).eval()
    model.train()
    assert ema.training is False


def test_train_mode_is_a_parity_switch():
    images, labels = batch(4)
    for model in (make(teacher_mode="train"), make(teacher=dict(config=Tiny(), mode="train"))):
        before = model.teacher.body[1].running_mean.clone()
        model.train()
        need = {"stem": 2}  # never met: runs to its end
        model.teachers["teacher"].run(images, None, need, model.recorder)
        assert not torch.equal(model.teacher.body[1].running_mean, before)
        model.eval()
        model.train()
        assert model.teacher.training
    model = make()
    before = copy.deepcopy(model.teacher.state_dict())
    model.train()(images, labels, mode="loss")
    for key, value in model.teacher.state_dict().items():
        assert torch.equal(value, before[key])


def test_init_weights_leaves_a_loaded_teacher_alone(tmp_path):
    source = Tiny()
    path = tmp_path / "teacher.pth"
    torch.save({"state_dict": source.state_dict(), "meta": {}}, path)
    model = make(teacher=dict(config=Tiny(), checkpoint=str(path)))
    assert not torch.equal(model.teacher.stem.weight, source.stem.weight)  # read on training only
    model.init_weights()
    model.init_weights()
    for key, value in model.teacher.state_dict().items():
        assert torch.equal(value, source.state_dict()[key])


# --- early stop ----------------------------------------------------------------------------------


class Calls(nn.Identity):
    def __init__(self):
        super().__init__()
        self.count = 0

    def forward(self, x):
        self.count += 1
        return x


def counted():
    net = Tiny()
    net.late = Calls()
    net.relu = nn.Sequential(Calls(), nn.ReLU())
    return net


def test_modules_behind_the_last_tap_never_run():
    images, labels = batch()
    model = make("body.0", teacher=counted()).train()
    model(images, labels, mode="loss")
    assert model.teacher.relu[0].count == 0
    assert model.teacher.late.count == 0
    model = make("shared", teacher=counted()).train()  # fires twice: both are waited for
    model(images, labels, mode="loss")
    assert model.teacher.relu[0].count == 1
    assert model.teacher.late.count == 0
    model = make(["stem", "head"], teacher=counted()).train()
    model(images, labels, mode="loss")
    assert model.teacher.late.count == 0


def test_a_tap_that_fires_less_often_than_its_partner_stops_early_from_the_second_step_on():
    images, labels = batch()
    pair = dict(student="shared", teacher="stem")

    class Broadcast(Distance):
        def forward(self, student, teacher, data_samples=None):
            return sum(
                F.mse_loss(s, t[..., : s.shape[-2], : s.shape[-1]])
                for s, t in zip(student, teacher, strict=True)
            )

    model = make(pair, teacher=counted(), loss=Broadcast).train()
    for expected in (1, 1, 1):
        model(images, labels, mode="loss")
        assert model.teacher.late.count == expected


def test_the_stop_leaves_grad_mode_and_saved_tensor_hooks_alone():
    images, labels = batch()
    model = make().train()
    packed = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(1) or t, lambda t: t):
        outputs = model(images, labels, mode="loss")
        before = len(packed)
        (torch.ones(2, requires_grad=True) ** 2).sum()
    assert len(packed) > before  # still in force after the stop
    total(outputs).backward()
    assert torch.is_grad_enabled()
    assert model.student.stem.weight.grad is not None
    assert model.teacher.stem.weight.grad is None


def test_a_failing_teacher_names_the_tap():
    class Broken(Tiny):
        def features(self, inputs):
            raise IndexError("list index out of range")

    images, labels = batch()
    with pytest.raises(
        RuntimeError, match=r"teacher's forward .*failed before its tap 'stem' fired"
    ):
        make(teacher=Broken()).train()(images, labels, mode="loss")


# --- its input -----------------------------------------------------------------------------------


def test_renormalised_input_equals_the_teachers_own_preprocessing():
    student = normalised((10, 20, 30), (2, 3, 4), flip=False)
    teacher = normalised((5, 6, 7), (8, 9, 10), flip=True)
    raw = [torch.randint(0, 255, (3, 8, 8), dtype=torch.uint8) for _ in range(2)]
    theirs = teacher({"inputs": raw}, True)["inputs"]
    ours = student({"inputs": raw}, True)["inputs"]
    result = renormalize(ours, InputStats.of(student), InputStats.of(teacher))
    torch.testing.assert_close(result, theirs, rtol=1e-5, atol=1e-4)


def test_padding_stays_zero_and_equal_statistics_copy_nothing():
    student = normalised((10, 20, 30), (2, 3, 4))
    teacher = normalised((5, 6, 7), (8, 9, 10), flip=True)
    raw = [
        torch.randint(0, 255, (3, 8, 6), dtype=torch.uint8),
        torch.randint(0, 255, (3, 5, 8), dtype=torch.uint8),
    ]
    samples = [SimpleNamespace(img_shape=(8, 6)), SimpleNamespace(img_shape=(5, 8))]
    ours = student({"inputs": raw}, True)["inputs"]
    theirs = teacher({"inputs": raw}, True)["inputs"]
    kept = ours.clone()
    result = renormalize(ours, InputStats.of(student), InputStats.of(teacher), samples)
    torch.testing.assert_close(result, theirs, rtol=1e-5, atol=1e-4)
    assert torch.equal(ours, kept)
    assert renormalize(ours, InputStats.of(student), InputStats.of(student)) is ours


@pytest.mark.parametrize("library", ["mmpretrain", "mmdet", "mmseg"])
def test_statistics_are_read_from_each_librarys_preprocessor(library):
    from mmdet.models import DetDataPreprocessor
    from mmpretrain.models import ClsDataPreprocessor
    from mmseg.models import SegDataPreProcessor

    flip = dict(mmpretrain="to_rgb").get(library, "bgr_to_rgb")
    cls = dict(mmpretrain=ClsDataPreprocessor, mmdet=DetDataPreprocessor, mmseg=SegDataPreProcessor)
    made = cls[library](mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], **{flip: True})
    assert InputStats.of(made) == InputStats((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), True)
    assert InputStats.of(cls[library]()) == InputStats((0.0,), (1.0,), False)


def test_different_statistics_need_an_image_batch():
    with pytest.raises(TypeError, match="normalise their input differently"):
        renormalize([1, 2], InputStats((0.0,), (1.0,), False), InputStats((1.0,), (1.0,), False))


def test_clips_are_renormalised_frame_by_frame():
    student = InputStats((10.0, 20.0, 30.0), (1.0, 2.0, 3.0), True)
    teacher = InputStats((5.0, 6.0, 7.0), (4.0, 5.0, 6.0), False)
    clips = torch.randn(2, 3, 3, 8, 6)
    samples = [SimpleNamespace(img_shape=(8, 6)), SimpleNamespace(img_shape=(5, 4))]
    result = renormalize(clips, student, teacher, samples)
    for frame in range(3):
        expected = renormalize(clips[:, frame], student, teacher, samples)
        assert torch.equal(result[:, frame], expected)
    assert not result[1, :, :, 5:].any()
    assert result[1, :, :, :5, :4].all()


def test_the_distiller_feeds_the_renormalised_batch():
    student = Tiny(data_preprocessor=normalised((1, 2, 3), (1, 1, 1)))
    teacher = Tiny(data_preprocessor=normalised((0, 0, 0), (2, 2, 2), flip=True))
    model = make(student=student, teacher=teacher).train()
    seen = []
    model.teacher.stem.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    images, labels = batch()
    model(images, labels, mode="loss")
    means = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(seen[0], (images + means).flip(1) / 2)


def test_a_model_dict_without_a_preprocessor_takes_the_students_input_as_it_is(mmpretrain_scope):
    student = Tiny(data_preprocessor=normalised((1, 2, 3), (4, 4, 4)))
    tap = dict(student="stem", teacher="backbone.conv1")
    images, _ = batch()
    model = make(student=student, teacher=dict(config=CIFAR), tap=tap)
    assert model.teachers["teacher"].prepare(images, model.data_preprocessor) is images
    whole = dict(model=CIFAR, data_preprocessor=dict(mean=[0.0] * 3, std=[2.0] * 3))
    model = make(student=student, teacher=dict(config=whole), tap=tap)
    means = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    expected = (images * 4 + means) / 2
    result = model.teachers["teacher"].prepare(images, model.data_preprocessor)
    torch.testing.assert_close(result, expected)


# --- precision -----------------------------------------------------------------------------------


def test_own_dtype():
    images, _ = batch()
    for dtype, expected in (("bfloat16", torch.bfloat16), ("float64", torch.float64)):
        model = make(teacher=dict(config=Tiny(), dtype=dtype)).train()
        seen = []
        model.teacher.stem.register_forward_hook(
            lambda m, a, out, seen=seen: seen.append(out.dtype)
        )
        recorder = model.teachers["teacher"].run(images, None, {"stem": 1}, model.recorder)
        assert recorder.outputs["stem"][0].dtype == expected
        model.float()
        assert model.teachers["teacher"].dtype == getattr(torch, dtype)
        if dtype == "float64":
            assert model.teacher.stem.weight.dtype == torch.float64
    model = make(teacher=dict(config=Tiny(), dtype="float32")).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        recorder = model.teachers["teacher"].run(images, None, {"stem": 1}, model.recorder)
    assert recorder.outputs["stem"][0].dtype == torch.float32
