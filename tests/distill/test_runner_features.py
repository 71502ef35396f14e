"""Features of mmengine's runners, switched on by their config keys, and reduced precision."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.runner import FlexibleRunner, Runner, load_checkpoint
from mmpretrain.registry import MODELS as CLS_MODELS
from torch import nn

from mmkd_ext.distill import TapError
from mmkd_ext.distill.checkpoint import read_checkpoint
from mmkd_ext.losses import DistillLoss
from mmkd_ext.registry import MODELS

from ..hooks import tiny_run


@MODELS.register_module()
class PlainDistance(DistillLoss):
    """Mean squared distance to the teacher's first channels; nothing to train, no random mask."""

    def __init__(self, loss_weight=1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, student, teacher, data_samples=None):
        return self.loss_weight * (student - teacher[:, : student.shape[1]]).square().mean()


def near(tap, **changes):
    return dict(near=dict(type="mmkd_ext.PlainDistance", tap=tap, loss_weight=0.1) | changes)


class Watch(Hook):
    """Every step's losses, and copies of the weights after it."""

    def __init__(self):
        self.losses, self.weights, self.batches = [], [], []
        self.start = None

    def before_train(self, runner):
        self.start = copy.deepcopy(runner.model)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.batches.append(copy.deepcopy(data_batch))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({key: value.item() for key, value in outputs.items()})
        self.weights.append(weights_of(runner.model))


def weights_of(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def train(work_dir, hooks=(), runner=Runner, **changes):
    """A run of one epoch; returns the runner and what was watched."""
    options = dict(val=False, log_level="ERROR") | changes
    cfg = tiny_run.config(work_dir, [dict(type=Watch), *hooks], **options)
    runner = runner.from_cfg(cfg)
    runner.train()
    return runner, hook_of(runner, Watch)


def hook_of(runner, kind):
    return next(hook for hook in runner.hooks if isinstance(hook, kind))


# --- activation checkpointing and fused evaluation -----------------------------------------------


def test_activation_checkpointing(tmp_path):
    region = dict(activation_checkpointing=["backbone.body"])
    with pytest.raises(TapError, match=r"'backbone.body.0'.*activation-checkpointed region"):
        train(tmp_path / "inside", losses=near("backbone.body.0"), **region)
    losses = dict(near=dict(type="TinyImitation", tap="backbone.body"))
    _, plain = train(tmp_path / "plain", losses=losses)
    runner, saved = train(tmp_path / "saved", losses=losses, **region)
    assert runner.model.recorder.outputs == {}  # what backward recomputed was not recorded
    assert saved.losses == plain.losses
    for after, expected in zip(saved.weights, plain.weights, strict=True):
        for name, value in expected.items():
            assert torch.equal(after[name], value), name


def test_efficient_conv_bn_eval(tmp_path):
    fused = dict(efficient_conv_bn_eval=["backbone.body"])
    with pytest.raises(TapError, match=r"'backbone.body.0'.*never fired.*efficient_conv_bn_eval"):
        train(tmp_path / "inside", losses=near("backbone.body.0"), **fused)
    _, plain = train(tmp_path / "plain", losses=near("backbone.body"))
    _, quick = train(tmp_path / "quick", losses=near("backbone.body"), **fused)
    for one, other in zip(quick.losses, plain.losses, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


# --- compilation ---------------------------------------------------------------------------------


class CountNeck(Hook):
    """How often the teacher's neck, which lies behind every tap, was called."""

    priority = "VERY_HIGH"
    count = 0

    def before_run(self, runner):
        runner.model.teacher.neck.register_forward_pre_hook(self.called)

    def called(self, module, args):
        self.count += 1


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_training_step(tmp_path, backend):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    losses = near("backbone.body")
    _, eager = train(tmp_path / "eager", losses=losses)
    counter = dict(type=CountNeck)
    changes = dict(losses=losses, compile=dict(backend=backend))
    runner, compiled = train(tmp_path / "compiled", [counter], **changes)
    assert torch._dynamo.utils.counters["frames"]["ok"] > 0  # it was compiled
    torch._dynamo.reset()
    assert len(compiled.losses) == 4
    for one, other in zip(compiled.losses, eager.losses, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    for name, value in eager.weights[-1].items():
        torch.testing.assert_close(compiled.weights[-1][name], value, rtol=1e-4, atol=1e-6)
    assert hook_of(runner, CountNeck).count == 0


# --- optimizer, runners, batch norm, averages ----------------------------------------------------


def test_accumulated_gradients(tmp_path):
    sgd = dict(type="SGD", lr=0.1)
    _, watched = train(
        tmp_path,
        losses=near("backbone.body"),
        optim_wrapper=dict(type="OptimWrapper", optimizer=sgd, accumulative_counts=2),
    )
    model = watched.start.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert len(watched.batches) == 4
    for i, (batch, after) in enumerate(zip(watched.batches, watched.weights, strict=True)):
        outputs = model(**model.data_preprocessor(batch, True), mode="loss")
        loss, logged = model.parse_losses(outputs)
        assert watched.losses[i] == pytest.approx({k: v.item() for k, v in logged.items()})
        (loss / 2).backward()
        if i % 2:
            optimizer.step()
            optimizer.zero_grad()
        for name, value in weights_of(model).items():
            torch.testing.assert_close(after[name], value, msg=name)


def bare_student(path):
    init_default_scope("mmpretrain")
    student = CLS_MODELS.build(
        dict(tiny_run.classifier(4), data_preprocessor=tiny_run.preprocessor())
    )
    load_checkpoint(student, str(path), map_location="cpu")
    return student


def test_flexible_runner_on_one_device(tmp_path):
    one = dict(type="SingleDeviceStrategy")
    stock, expected = train(tmp_path / "stock")
    runner, watched = train(tmp_path / "flexible", runner=FlexibleRunner, strategy=one, env_cfg={})
    assert watched.losses == expected.losses
    for name, value in stock.model.state_dict().items():
        assert torch.equal(runner.model.state_dict()[name], value), name
    student = bare_student(tmp_path / "flexible" / "epoch_1.pth")
    for name, value in student.state_dict().items():
        assert torch.equal(stock.model.state_dict()[name], value), name


def built(losses, **changes):
    init_default_scope("mmpretrain")
    torch.manual_seed(0)
    cfg = tiny_run.config("unused", losses=losses, **changes)
    return MODELS.build(dict(cfg.model, data_preprocessor=tiny_run.preprocessor())).train()


def squares(model, count=8):
    dataset = tiny_run.Squares(count)
    items = [dataset[i] for i in range(count)]
    data = {key: [item[key] for item in items] for key in items[0]}
    return model.data_preprocessor(data, training=True)


def test_converted_batch_norm_still_fires():
    model = built(near("backbone.body.1"))
    batch = squares(model)
    expected = model(**batch, mode="loss")
    old = model.backbone.body[1]
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert isinstance(model.student.backbone.body[1], nn.SyncBatchNorm)
    model = revert_sync_batchnorm(model)  # SyncBN itself does not train on a CPU
    assert model.student.backbone.body[1] is model.backbone.body[1] is not old
    outputs = model.train()(**batch, mode="loss")
    for key, value in expected.items():
        torch.testing.assert_close(outputs[key], value)
    outputs["kd.loss_near"].backward()
    assert model.backbone.body[1].weight.grad.abs().sum() > 0


def test_averaged_weights_beside_an_averaged_teacher(tmp_path):
    options = dict(
        losses=near("backbone.body"),
        teacher=dict(type="EMATeacher", momentum=0.3),
        default_hooks=dict(
            checkpoint=dict(type="mmkd_ext.CheckpointHook"),
            exact_resume=dict(type="mmkd_ext.ExactResumeHook"),
        ),
        val=True,
    )
    hook = dict(type="EMAHook", momentum=0.2)
    runner, watched = train(tmp_path / "run", [hook], **options)
    hook_average, teacher = watched.weights[0], weights_of(watched.start)
    for before, after in itertools.pairwise(watched.weights):
        teacher = {k: v.lerp(before[k], 0.3) for k, v in teacher.items()}
        hook_average = {k: v.lerp(after[k], 0.2) for k, v in hook_average.items()}
    averaged = weights_of(hook_of(runner, EMAHook).ema_model.module)
    taught = weights_of(runner.model.teacher)
    for name, value in weights_of(runner.model.student).items():
        assert torch.equal(watched.weights[-1][name], value)  # validation swapped them back
        torch.testing.assert_close(averaged[name], hook_average[name])
        torch.testing.assert_close(taught[name], teacher[name])
    student = bare_student(tmp_path / "run" / "epoch_1.pth")  # a checkpoint holds the average
    for name, value in weights_of(student).items():
        assert torch.equal(averaged[name], value)

    through, _ = train(tmp_path / "through", [hook], epochs=2, **options)
    resumed, _ = train(tmp_path / "run", [hook], epochs=2, resume=True, **options)
    one, other = (read_checkpoint(tmp_path / name / "epoch_2.pth") for name in ("through", "run"))
    for part in ("state_dict", "ema_state_dict"):
        assert any("ema_teacher.teacher." in key for key in one[part])
        assert list(one[part]) == list(other[part])
        for name, value in one[part].items():
            assert torch.equal(other[part][name], value), (part, name)
    for name, value in weights_of(through.model.teacher).items():
        assert torch.equal(weights_of(resumed.model.teacher)[name], value)


# --- reduced precision ---------------------------------------------------------------------------

LOSSES = dict(
    mgd=dict(type="MGDLoss", tap="backbone.body"),
    cwd=dict(type="CWDLoss", tap="backbone.body"),  # of networks of one width
    kd=dict(type="KDLoss", tap="head.fc"),
    dkd=dict(type="DKDLoss", tap="head.fc"),
    nkd=dict(type="NKDLoss", tap="head.fc"),
    wsld=dict(type="WSLDLoss", tap="head.fc"),
    srrl=dict(type="SRRLLoss", tap="backbone.body", classifier="head.fc"),
)


def pair(name, **changes):
    """A student with one loss, and a teacher with the given changes."""
    config = copy.deepcopy(tiny_run.TEACHER)
    if name == "cwd":
        config = dict(tiny_run.classifier(4), data_preprocessor=tiny_run.preprocessor())
    return built({name: LOSSES[name]}, teacher=dict(config=config, **changes))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_under_bfloat16_autocast(name):
    model = pair(name)
    batch = squares(model)
    torch.manual_seed(1)
    expected = model(**batch, mode="loss")
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.backbone.body(model.backbone.stem(batch["inputs"])).dtype == torch.bfloat16
        outputs = model(**batch, mode="loss")
    entries = [key for key in outputs if key.startswith("kd.loss")]
    assert entries
    for key in entries:
        assert outputs[key].dtype == torch.float32
        torch.testing.assert_close(outputs[key], expected[key], rtol=0.05, atol=1e-3)
    loss, _ = model.parse_losses(outputs)
    loss.backward()
    for parameter, p in model.named_parameters():
        assert p.grad.dtype == torch.float32, parameter
        assert p.grad.isfinite().all(), parameter
    assert model.backbone.stem[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_a_bfloat16_teacher_of_a_float32_student(name):
    results = []
    for changes in ({}, dict(dtype="bfloat16")):
        model = pair(name, **changes)
        batch = squares(model)
        torch.manual_seed(1)
        seen = []
        model.teacher.backbone.stem.register_forward_hook(lambda m, a, y, s=seen: s.append(y.dtype))
        results.append(model(**batch, mode="loss"))
    assert seen == [torch.bfloat16]
    for key, value in results[0].items():
        assert results[1][key].dtype == torch.float32
        torch.testing.assert_close(results[1][key], value, rtol=0.05, atol=1e-3)
    loss, _ = model.parse_losses(results[1])
    loss.backward()
    assert model.backbone.stem[0].weight.grad.abs().sum() > 0
