import copy
import random

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS as ROOT
from torch import nn

from mmkd_ext.distill import Distiller, TapError
from mmkd_ext.registry import MODELS

from .nets import CIFAR, Connected, Distance, Tiny, batch, total


def make(losses=None, student=None, teacher=None, **kwargs):
    torch.manual_seed(0)
    return Distiller(
        student=student or Tiny(),
        teacher=teacher or Tiny(width=6),
        losses=losses or dict(c=dict(type=Connected, tap="stem")),
        input_shape=(3, 8, 8),
        **kwargs,
    )


# --- names ---------------------------------------------------------------------------------------


def test_every_name_is_the_students_own():
    model = make()
    student = model.student
    names = dict(student.named_parameters())
    own = {k: v for k, v in model.named_parameters() if not k.startswith("distill.")}
    assert list(own) == list(names)
    assert all(own[name] is names[name] for name in names)
    assert "scale" in own  # a parameter of the student's root
    state = model.state_dict()
    assert [k for k in state if not k.startswith("distill.")] == list(student.state_dict())
    assert {k for k in state if k.startswith("distill.")} == {
        "distill.c.connector.weight",
        "distill.c.connector.bias",
    }
    assert model.get_submodule("body.0") is student.body[0]
    assert state._metadata["body.1"] == student.state_dict()._metadata["body.1"]


def test_built_from_config_with_the_runners_data_preprocessor(mmpretrain_scope):
    augment = dict(augments=dict(type="Mixup", alpha=1.0))
    model = MODELS.build(
        dict(
            type="mmkd_ext.Distiller",
            student=dict(CIFAR, train_cfg=augment),
            teacher=dict(config=dict(CIFAR, data_preprocessor=dict(mean=[0.0] * 3, std=[1.0] * 3))),
            losses=dict(c=dict(type=Connected, tap="backbone.layer4")),
            data_preprocessor=dict(mean=[1.0] * 3, std=[2.0] * 3, num_classes=10),
            input_shape=(3, 32, 32),
        )
    )
    assert ROOT.get("mmkd_ext.Distiller") is Distiller
    assert model.data_preprocessor is model.student.data_preprocessor
    assert model.data_preprocessor.mean.flatten().tolist() == [1.0] * 3
    assert model.data_preprocessor.batch_augments is not None
    from mmpretrain.structures import DataSample

    samples = [DataSample().set_gt_label(i) for i in range(4)]
    images = [torch.randint(0, 255, (3, 32, 32), dtype=torch.uint8) for _ in range(4)]
    np.random.seed(0)
    batch_ = model.data_preprocessor(dict(inputs=images, data_samples=samples), training=True)
    seen = {}
    for name, net in (("student", model.student), ("teacher", model.teacher)):
        net.backbone.register_forward_pre_hook(lambda m, a, name=name: seen.update({name: a[0]}))
    outputs = model.train()(**batch_, mode="loss")
    assert {"loss", "kd.loss_c", "kd.raw_c"} <= set(outputs)
    mixed = seen["student"] * model.data_preprocessor.std + model.data_preprocessor.mean
    assert not any(torch.allclose(mixed[0], image.float()) for image in images)
    torch.testing.assert_close(seen["teacher"], mixed)  # the same mixed images, re-normalised


def test_attributes_and_methods_answer_as_on_the_student():
    class Staged(Tiny):
        epoch = None

        def set_epoch(self, epoch):
            self.epoch = epoch

        @property
        def with_neck(self):
            return False

        def get_layer_depth(self, name):
            return (0 if name.startswith("stem") else 2), 3

    model = make(student=Staged())
    model.set_epoch(3)
    assert model.student.epoch == 3
    assert model.with_neck is False
    assert model.head is model.student.head
    assert model.get_layer_depth("stem.weight") == (0, 3)
    assert model.get_layer_depth("distill.c.connector.weight") == (2, 3)
    model.epoch = 5  # a hook that sets a plain attribute means the student
    assert model.student.epoch == 5
    with pytest.raises(AttributeError, match="bbox_head"):
        _ = model.bbox_head
    assert not hasattr(model, "bbox_head")


def test_replaced_children_reach_the_student():
    model = make()
    new = nn.Conv2d(3, 4, 1)
    model.stem = new
    assert model.student.stem is new
    synced = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert synced is model
    assert isinstance(model.student.body[1], nn.SyncBatchNorm)
    revert_sync_batchnorm(model)
    model.double()
    assert model.student.scale.dtype == torch.float64
    assert model.scale is model.student.scale


def test_a_student_with_a_reserved_child_is_refused():
    student = Tiny()
    student.distill = nn.Identity()
    with pytest.raises(ValueError, match="child named 'distill'"):
        make(student=student)


# --- losses --------------------------------------------------------------------------------------


def test_log_keys_weights_and_schedule():
    class Terms(Distance):
        def forward(self, student, teacher, data_samples=None):
            self.loss_weight = 1.0
            distance = super().forward(student, teacher)
            self.loss_weight = dict(near=0.5, far=4.0)
            return dict(near=0.5 * distance, far=4.0 * distance)

    hub = MessageHub.get_instance("distiller_test")
    for key, value in dict(iter=25, max_iters=100, max_epochs=10).items():
        hub.update_info(key, value)
    try:
        losses = dict(
            a=dict(type=Distance, tap="stem", loss_weight=3.0, schedule=dict(type="linear")),
            my_loss=dict(type=Terms, tap="stem"),
        )
        model = make(losses, teacher=Tiny(), student_loss_weight=0.5).train()
        images, labels = batch()
        torch.manual_seed(5)
        outputs = model(images, labels, mode="loss")
        torch.manual_seed(5)
        alone = model.student(images, labels, mode="loss")
    finally:
        MessageHub._instance_dict.pop("distiller_test")
    raw = (model.student.stem(images) - model.teacher.stem(images)).pow(2).mean()
    expected = {
        "loss_cls": 0.5 * alone["loss_cls"],
        "acc": alone["acc"],
        "kd.loss_a": 3 * 0.75 * raw,
        "kd.raw_a": raw,
        "kd.loss_my_loss_near": 0.5 * raw,
        "kd.loss_my_loss_far": 4 * raw,
        "kd.raw_my_l_near": raw,
        "kd.raw_my_l_far": raw,
    }
    assert set(outputs) == set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(outputs[key], value, msg=key)
    loss, _ = model.parse_losses(outputs)
    torch.testing.assert_close(loss, total(outputs))


def test_the_logged_loss_is_the_total():
    class Plain(Tiny):
        def forward(self, inputs, data_samples=None, mode="tensor"):
            outputs = super().forward(inputs, data_samples, mode)
            return dict(loss=outputs["loss_cls"]) if mode == "loss" else outputs

    model = make(student=Plain()).train()
    images, labels = batch()
    outputs = model(images, labels, mode="loss")
    loss, logged = model.parse_losses(outputs)
    torch.testing.assert_close(loss, outputs["loss"] + outputs["kd.loss_c"])
    torch.testing.assert_close(logged["loss"], loss)
    torch.testing.assert_close(logged["student.loss"], outputs["loss"])


def test_a_stopped_loss_runs_no_teacher_but_keeps_its_parameters_in_the_graph():
    losses = dict(c=dict(type=Connected, tap="stem", schedule=dict(type="stop", end=0)))
    model = make(losses).train()
    ran = []
    model.teacher.stem.register_forward_hook(lambda *args: ran.append(1))
    images, labels = batch()
    outputs = model(images, labels, mode="loss")
    total(outputs).backward()
    assert not ran
    assert outputs["kd.loss_c"] == 0
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in model.distill.parameters())
    assert all(p.grad is not None for p in model.student.parameters())


def test_names_with_and_without_prefix_and_from_other_scopes():
    for name in ("KDLoss", "mmkd_ext.KDLoss"):
        model = make(dict(kd=dict(type=name, tap="head")), teacher=Tiny()).train()
        images, labels = batch()
        assert model(images, labels, mode="loss")["kd.loss_kd"].isfinite()
    with pytest.raises(
        KeyError, match=r"losses\['m'\]: unknown loss type 'MGDLos'; did you mean 'MGDLoss'"
    ):
        make(dict(m=dict(type="MGDLos", tap="stem")))
    with pytest.raises(TypeError, match=r"losses\['m'\].*mask_ration"):
        make(dict(m=dict(type="MGDLoss", tap="stem", mask_ration=0.5)))


def test_what_a_loss_returns_and_takes_is_checked():
    class Map(Distance):
        def forward(self, student, teacher, data_samples=None):
            return student - teacher

    class Clash(Distance):
        def forward(self, student, teacher, data_samples=None):
            return (student @ teacher[:1, :1, :3]).mean()

    images, labels = batch()
    model = make(dict(m=dict(type=Map, tap="stem")), teacher=Tiny()).train()
    with pytest.raises(TypeError, match=r"losses\['m'\].*Map must return a scalar.*\(2, 4, 8, 8\)"):
        model(images, labels, mode="loss")
    model = make(dict(c=dict(type=Clash, tap="stem")), teacher=Tiny()).train()
    with pytest.raises(RuntimeError, match=r"losses\['c'\] \(student tap stem"):
        model(images, labels, mode="loss")
    with pytest.raises(TypeError, match="BaseDataPreprocessor' is no distillation loss"):
        make(dict(x=dict(type="mmengine.BaseDataPreprocessor", tap="stem")))
    with pytest.raises(TapError, match=r"MGDLoss compares one output at a time.*brace"):
        make(dict(m=dict(type="MGDLoss", tap=["stem", "body.0"])))


def test_a_loss_that_warms_up_is_checked_when_it_begins():
    hub = MessageHub.get_instance("warm_up_test")
    for key, value in dict(iter=0, max_iters=100, max_epochs=10).items():
        hub.update_info(key, value)
    try:
        losses = dict(a=dict(type=Distance, tap="stem", schedule=dict(type="warmup", end=1)))
        model = make(losses, teacher=Tiny()).train()
        model.teacher.stem.weight.data.fill_(float("nan"))
        images, labels = batch()
        assert "kd.loss_a" not in model(images, labels, mode="loss")
        hub.update_info("iter", 1)
        with pytest.raises(ValueError, match=r"losses\['a'\].*NaN"):
            model(images, labels, mode="loss")
    finally:
        MessageHub._instance_dict.pop("warm_up_test")


def test_mgd_channels_are_inferred_and_its_parameters_train():
    model = make(dict(m=dict(type="MGDLoss", tap="stem", loss_weight=1.0))).train()
    assert model.distill["m"].align.weight.shape == (6, 4, 1, 1)
    images, labels = batch()
    total(model(images, labels, mode="loss")).backward()
    assert all(p.grad.abs().sum() > 0 for p in model.distill.parameters())
    pair = dict(student="stem", teacher="head")
    wrong = dict(type="MGDLoss", tap=pair, student_channels=4, teacher_channels=4)
    model = make(dict(m=wrong)).train()
    with pytest.raises(ValueError, match=r"losses\['m'\].*\(2, 4, 8, 8\)"):
        model(images, labels, mode="loss")


# --- the dry run ---------------------------------------------------------------------------------


def test_the_dry_run_touches_nothing():
    student, teacher = Tiny().train(), Tiny(width=6)
    buffers = copy.deepcopy(dict(student.named_buffers()))
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    state = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    model = Distiller(
        student=student,
        teacher=teacher,
        losses=dict(c=dict(type=Connected, tap="body.0")),
        input_shape=(3, 8, 8),
    )
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state[:2]
    assert torch.equal(torch.get_rng_state(), state[2])
    for name, value in student.named_buffers():
        assert torch.equal(value, buffers[name])
    assert all(module.training for module in student.modules())
    assert model.recorder.outputs == {}


def test_the_dry_run_stops_after_the_taps_and_says_what_failed():
    class Picky(Tiny):
        def forward(self, inputs, data_samples=None, mode="tensor"):
            self.stem(inputs)
            raise IndexError("needs samples")

    assert make(student=Picky()).distill["c"].connector.weight.shape == (6, 4, 1, 1)
    with pytest.raises(
        TapError, match=r"tap 'body': the student failed on a blank image.*input_shape"
    ):
        make(dict(c=dict(type=Connected, tap="body")), student=Picky())
    given = dict(type=Connected, tap="body", student_channels=4, teacher_channels=6)
    make(dict(c=given), student=Picky())  # nothing to infer: no dry run


def test_the_student_starts_from_the_weights_it_has_without_us(mmpretrain_scope):
    from mmpretrain.registry import MODELS as CLS

    def initial(config):
        torch.manual_seed(7)
        model = MODELS.build(config) if "losses" in config else CLS.build(config)
        model.init_weights()
        return getattr(model, "student", model).state_dict(), torch.rand(1)

    stock, after = initial(copy.deepcopy(CIFAR))
    distilled, after_too = initial(
        dict(
            type="mmkd_ext.Distiller",
            student=CIFAR,
            teacher=dict(config=CIFAR),
            losses=dict(c=dict(type=Connected, tap="backbone.layer4")),
            input_shape=(3, 32, 32),
        )
    )
    assert all(torch.equal(stock[key], distilled[key]) for key in stock)
    assert torch.equal(after, after_too)
