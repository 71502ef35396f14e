import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmkd_ext.distill import CheckpointError, Distiller

from .nets import CIFAR, Connected, Distance, Tiny, batch
from .test_teacher import make

# --- configs -------------------------------------------------------------------------------------


def test_config_as_path_dict_model_dict_or_a_distilled_one(tmp_path, monkeypatch):
    whole = dict(
        default_scope="mmpretrain",
        model=CIFAR,
        data_preprocessor=dict(mean=[1.0] * 3, std=[2.0] * 3),
    )
    path = tmp_path / "tiny.py"
    path.write_text("\n".join(f"{key} = {value!r}" for key, value in whole.items()))
    plain = dict(CIFAR)
    distilled = dict(
        default_scope="mmpretrain",
        model=dict(type="mmkd_ext.Distiller", student=CIFAR, losses=dict(), teacher=None),
    )
    monkeypatch.chdir(tmp_path)
    with_ours = dict(plain, mode="eval", hint="a hint")  # the model's own dict with our keys
    for config in (
        str(path),
        "tiny.py",
        whole,
        dict(config=whole),
        plain,
        with_ours,
        dict(config=distilled),
    ):
        given = config if isinstance(config, dict) else dict(config=config)
        if given is whole:
            given = dict(config=whole)
        teacher = make(teacher=given, tap=dict(student="stem", teacher="backbone.conv1")).teacher
        assert type(teacher).__name__ == "ImageClassifier"
        if config is whole or isinstance(config, str):
            assert teacher.data_preprocessor.mean.flatten().tolist() == [1.0] * 3


def test_config_by_package():
    model = make(
        teacher=dict(config="mmpretrain::resnet/resnet18_8xb16_cifar10.py"),
        tap=dict(student="stem", teacher="backbone.layer1"),
        loss=Connected,
    )
    assert model.distill["x"].connector.weight.shape == (64, 4, 1, 1)


@pytest.mark.parametrize(
    ("teacher", "error", "message"),
    [
        (dict(config="no/such.py"), FileNotFoundError, "no/such.py"),
        (dict(config=dict(backbone=1)), KeyError, "holds no model"),
        (dict(config=dict(type="NoSuchModel")), KeyError, "NoSuchModel"),
        (dict(config=CIFAR, chekpoint="x"), TypeError, "teacher 'teacher'.*chekpoint"),
        (dict(config=CIFAR, mode="frozen"), ValueError, "mode must be one of eval, train"),
        (dict(config=CIFAR, dtype="int8"), ValueError, "dtype must be one of"),
        (dict(type="EMATeacher", momentum=1.5), ValueError, "momentum must lie between"),
    ],
)
def test_bad_teacher_configs(teacher, error, message, mmpretrain_scope):
    with pytest.raises(error, match=message):
        make(teacher=teacher)


# --- checkpoints ---------------------------------------------------------------------------------


def save(path, weights):
    torch.save({"state_dict": weights}, path)
    return dict(config=Tiny(), checkpoint=str(path))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: {f"x.{k}": v for k, v in w.items()}, r"not one key .*x\.scale"),
        (lambda w: Tiny(width=6).state_dict(), r"another network: stem.weight is \(6, 3, 3, 3\)"),
        (lambda w: {**w, "stem.bias": w["stem.bias"] * float("nan")}, r"NaN.*stem\.bias"),
    ],
)
def test_checkpoints_that_cannot_teach(tmp_path, spoil, message):
    weights = spoil(Tiny().state_dict())
    if "another" in message:
        weights = {k: v for k, v in weights.items() if k.startswith("stem")}
    model = make(teacher=save(tmp_path / "t.pth", weights))
    with pytest.raises(CheckpointError, match=message):
        model.init_weights()


def test_missing_and_unexpected_keys_are_reported(tmp_path, monkeypatch):
    import mmkd_ext.distill.teacher as module

    lines = []
    monkeypatch.setattr(
        module, "print_log", lambda text, **kw: lines.append((kw.get("level", 20), text))
    )
    weights = Tiny().state_dict()
    del weights["head.bias"]
    weights["extra.weight"] = torch.zeros(1)
    make(teacher=save(tmp_path / "t.pth", weights)).init_weights()
    text = "\n".join(f"{level} {line}" for level, line in lines)
    assert "30 teacher: 1 keys MISSING from the checkpoint: head.bias" in text
    assert "20 teacher: 1 keys unexpected in it: extra.weight" in text
    lines.clear()
    make().init_weights()
    assert any(level == 30 and "NO CHECKPOINT" in line for level, line in lines)


def test_a_missing_file_carries_the_hint(tmp_path):
    teacher = dict(config=Tiny(), checkpoint=str(tmp_path / "no.pth"), hint="Train it: make demo")
    with pytest.raises(CheckpointError, match=r"teacher: .*no\.pth.* Train it: make demo"):
        make(teacher=teacher).init_weights()
    make(teacher=teacher)(batch()[0], mode="tensor")  # inference needs no teacher file


def test_a_teacher_that_puts_out_nan_is_refused():
    model = make().train()
    model.teacher.stem.weight.data.fill_(float("inf"))
    images, labels = batch()
    with pytest.raises(ValueError, match=r"losses\['x'\].*teacher's output holds NaN"):
        model(images, labels, mode="loss")


# --- several, none, and the student's own average ------------------------------------------------


def test_several_teachers_by_name():
    torch.manual_seed(0)
    model = Distiller(
        student=Tiny(),
        teachers=dict(a=Tiny(), b=Tiny(width=6)),
        losses=dict(
            near=dict(type=Distance, tap="stem", teacher="a"),
            far=dict(type=Connected, tap="stem", teacher="b"),
        ),
        input_shape=(3, 8, 8),
    ).train()
    images, labels = batch()
    outputs = model(images, labels, mode="loss")
    expected = F.mse_loss(model.student.stem(images), model.teachers["a"].model.stem(images))
    torch.testing.assert_close(outputs["kd.loss_near"], expected)
    assert model.distill["far"].connector.weight.shape == (6, 4, 1, 1)
    for losses, error, message in (
        (dict(x=dict(type=Distance, tap="stem")), ValueError, "must say which teacher"),
        (dict(x=dict(type=Distance, tap="stem", teacher="c")), KeyError, "no teacher is named 'c'"),
    ):
        with pytest.raises(error, match=message):
            Distiller(student=Tiny(), teachers=dict(a=Tiny(), b=Tiny()), losses=losses)


def test_no_teacher():
    class Confidence(nn.Module):
        needs_teacher = False

        def forward(self, student, teacher, data_samples=None):
            assert teacher is None
            return -student.log_softmax(1).max(1).values.mean()

    model = Distiller(student=Tiny(), losses=dict(c=dict(type=Confidence, tap="head"))).train()
    images, labels = batch()
    assert model(images, labels, mode="loss")["kd.loss_c"] > 0
    assert model.teacher is None
    with pytest.raises(ValueError, match="needs a teacher, but the Distiller has none"):
        Distiller(student=Tiny(), losses=dict(x=dict(type=Distance, tap="stem")))


def test_ema_teacher_follows_the_student_and_is_saved():
    model = make(teacher=dict(type="EMATeacher", momentum=0.25)).train()
    images, labels = batch()
    model(images, labels, mode="loss")
    first = model.student.stem.weight.detach().clone()
    assert torch.equal(model.teacher.stem.weight, first)  # the first step copies
    with torch.no_grad():
        model.student.stem.weight.add_(1)
    outputs = model(images, labels, mode="loss")
    torch.testing.assert_close(model.teacher.stem.weight, first + 0.25)
    assert outputs["kd.loss_x"] > 0
    assert len(list(model.parameters())) == len(list(model.student.parameters()))

    keys = [key for key in model.state_dict() if key.startswith("ema_teacher.teacher.")]
    assert len(keys) == len(model.student.state_dict()) + 1  # and the number of steps
    other = make(teacher=dict(type="EMATeacher", momentum=0.25)).train()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.teacher.stem.weight, first + 0.25)
    other(images, labels, mode="loss")
    torch.testing.assert_close(other.teacher.stem.weight, first + 0.25 + 0.75 * 0.25)
    bare = make(teacher=dict(type="EMATeacher", momentum=0.25)).train()
    bare.load_state_dict(model.student.state_dict(), strict=False)
    bare(images, labels, mode="loss")
    assert torch.equal(bare.teacher.stem.weight, model.student.stem.weight)


def test_an_ema_teacher_counts_optimizer_steps():
    model = make(teacher=dict(type="EMATeacher", momentum=0.25)).train()
    images, labels = batch()
    average = model.teachers["teacher"].average
    for _ in range(3):  # accumulating gradients: no parameter changes
        model(images, labels, mode="loss")
    assert average.steps == 1
    with torch.no_grad():
        model.student.stem.weight.add_(1)
        model(images, labels, mode="loss")  # not a training step
    assert average.steps == 1
    model(images, labels, mode="loss")
    assert average.steps == 2


def test_teacher_of_another_library_for_a_segmentors_backbone():
    student = dict(
        _scope_="mmseg",
        type="EncoderDecoder",
        data_preprocessor=dict(type="SegDataPreProcessor", mean=[1.0] * 3, std=[2.0] * 3),
        backbone=dict(
            type="ResNetV1c", depth=18, stem_channels=8, base_channels=8, norm_cfg=dict(type="BN")
        ),
        decode_head=dict(
            type="FCNHead",
            in_channels=64,
            in_index=3,
            channels=8,
            num_convs=1,
            num_classes=5,
            norm_cfg=dict(type="BN"),
        ),
        train_cfg=dict(),
        test_cfg=dict(mode="whole"),
    )
    model = make(
        student=student,
        teacher=dict(config=dict(CIFAR)),
        tap=dict(student="backbone.layer1", teacher="backbone.layer3"),
        loss=Connected,
    ).train()
    assert type(model.student).__module__.startswith("mmseg")
    assert type(model.teacher).__module__.startswith("mmpretrain")
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.randint(0, 5, (1, 32, 32))))
    sample.set_metainfo(dict(img_shape=(32, 32), ori_shape=(32, 32)))
    outputs = model(torch.randn(2, 3, 32, 32), [sample] * 2, mode="loss")
    assert {"decode.loss_ce", "kd.loss_x"} <= set(outputs)
