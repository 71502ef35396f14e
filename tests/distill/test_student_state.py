import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.runner import load_checkpoint

from mmkd_ext.distill import CheckpointError, Distiller, TapError

from .nets import Distance, Tiny, batch, normalised, total
from .test_distiller import make

# --- checkpoints ---------------------------------------------------------------------------------


def test_bare_student_checkpoint_and_full_checkpoint(tmp_path):
    source = make()
    for name, weights in (("full", source.state_dict()), ("bare", source.student.state_dict())):
        torch.save(dict(state_dict=weights), tmp_path / f"{name}.pth")
    student = Tiny()
    load_checkpoint(student, str(tmp_path / "full.pth"), strict=False)
    missing, unexpected = student.load_state_dict(source.state_dict(), strict=False)
    assert missing == []
    assert all(key.startswith("distill.") for key in unexpected)
    for name in ("full", "bare"):
        model = make(student=Tiny())
        model.student.stem.weight.data.zero_()
        load_checkpoint(model, str(tmp_path / f"{name}.pth"))
        for key, value in source.student.state_dict().items():
            assert torch.equal(model.student.state_dict()[key], value)
    assert make().load_state_dict(source.state_dict(), strict=True)


def test_a_checkpoint_that_matches_nothing_is_an_error(tmp_path):
    torch.save(dict(state_dict={"resnet.conv1.weight": torch.zeros(1)}), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"not one tensor of the student.*resnet\.conv1"):
        load_checkpoint(make(), str(tmp_path / "x.pth"))
    wrong = {key: value.new_zeros(17) for key, value in Tiny().state_dict().items()}
    with pytest.raises(CheckpointError, match="another network"):
        make().load_state_dict(wrong, strict=False)


def test_ema_copies_share_the_teacher_and_record_nothing():
    model = make().train()
    ema = ExponentialMovingAverage(model, momentum=0.5)
    assert ema.module.teacher is model.teacher
    assert ema.module.student.stem is ema.module.stem
    images, labels = batch()
    total(model(images, labels, mode="loss")).backward()
    ema.update_parameters(model)
    assert torch.equal(ema.module.student.stem.weight, model.stem.weight)
    with model.recorder.arm():
        ema.module.train().requires_grad_(True)(images, labels, mode="loss")
        assert model.recorder.outputs == {}
    assert ema.module.recorder.outputs == {}
    fresh = ExponentialMovingAverage(make(), momentum=0.5)
    fresh.load_state_dict(ema.state_dict())
    assert torch.equal(fresh.module.student.stem.weight, model.stem.weight)


def test_train_mode_goes_through_the_students_own_train():
    class FrozenNorm(Tiny):
        def train(self, mode=True):
            super().train(mode)
            self.body[1].eval()
            return self

    model = make(student=FrozenNorm()).train()
    assert model.stem.training
    assert model.distill["c"].training
    assert not model.body[1].training
    model.eval()
    assert not any(module.training for module in model.modules())


def test_prediction_is_the_students_alone():
    model = make(student=Tiny(data_preprocessor=normalised())).eval()
    ran = []
    model.teacher.stem.register_forward_hook(lambda *args: ran.append(1))
    images, _ = batch()
    assert torch.equal(model(images), model.student(images))
    assert len(model(images, mode="predict")) == 2
    assert len(model.val_step(dict(inputs=list(images.byte())))) == 2
    assert not ran


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        (dict(teachers=dict(a=Tiny())), ValueError, "not both"),
        (dict(student_loss_weight=-1), ValueError, "student_loss_weight"),
        (dict(losses=dict(x=dict(tap="stem"))), KeyError, "needs a `type`"),
        (dict(losses=dict(x="MGDLoss")), TypeError, "dict of dicts"),
        (dict(losses=[dict(type=Distance, tap="stem")]), TypeError, "dict of dicts"),
        (dict(teacher=3), TypeError, "teacher 'teacher' must be dict"),
        (dict(losses=dict(x=dict(type=Distance))), TapError, "no `tap`"),
        (dict(losses={"a.b": dict(type=Distance, tap="stem")}), ValueError, "no dot"),
        (dict(student_weight=1), TypeError, "student_weight"),
    ],
)
def test_bad_arguments(kwargs, error, message):
    with pytest.raises(error, match=message):
        make(**kwargs)
    with pytest.raises(ValueError, match="no `losses`"):
        Distiller(student=Tiny(), teacher=Tiny(), losses={})
