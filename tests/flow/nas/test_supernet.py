"""A super-network in several passes a step: gradients, teachers, processes, resume."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper

from mmkd_ext.flow.nas import FlowNASSpace
from mmkd_ext.registry import MODELS
from tests.flow import flow_files, tiny_raft
from tests.flow.nas.tiny import GENOTYPE, SPACE
from tests.quiet_runner import quiet_runner
from tests.two_ranks import run_ranks

CHOICES = {key: value for key, value in SPACE.items() if key != "rest_params"}


def config(**options):
    parts = tiny_raft.config(iters=2)
    encoders = {"feature_encoder", "context_encoder", "type"}
    return dict(
        type="mmkd_ext.FlowNASSupernet",
        space=CHOICES,
        **{key: value for key, value in parts.items() if key not in encoders},
    ) | options  # fmt: skip


def supernet(**options):
    torch.manual_seed(0)
    return MODELS.build(config(**options))


def distiller():
    torch.manual_seed(0)
    taps = dict(
        student=["feature_encoder.stem", "feature_encoder.last_conv", "context_encoder.last_conv"],
        teacher=["feature_encoder.convnormrelu", "feature_encoder.conv", "context_encoder.conv"],
    )
    losses = dict(
        features=dict(type="FeatureAlignmentLoss", tap=taps),
        label=dict(type="FlowPseudoLabelLoss", tap="predictions"),
    )
    return MODELS.build(
        dict(
            type="mmkd_ext.Distiller",
            student=config(),
            teacher=dict(config=tiny_raft.config(iters=2)),
            losses=losses,
            input_shape=(2, 3, 32, 48),
        )
    )


def pair_batch(step=0, rank=0, count=1):
    """Two pairs with their truth, or every ``count``-th of them from ``rank`` on."""
    pairs = tiny_raft.image_pairs((32, 48), (32, 48), seed=step)
    samples = [tiny_raft.sample(32, 48, seed=10 * step + number) for number in range(2)]
    for number, sample in enumerate(samples):
        sample.gt_valid[:] = True  # as many everywhere: the loss is a mean over all elements
        sample.gt_flow[:] = torch.tensor([6.0, 2.0 + number])[:, None, None]
    return dict(inputs=pairs[rank::count], data_samples=samples[rank::count])


def step(model, batch, lr=0.05, **options):
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=lr), **options)
    return model.train_step(batch, wrapper)


def test_the_sandwich_is_of_seed_and_iteration():
    model = supernet(random_subnets=3, seed=4)
    first = model.sandwich(7)
    assert list(first) == ["max", "min", "random0", "random1", "random2"]
    assert first["max"] == model.space.max()
    assert first["min"] == model.space.min()
    torch.manual_seed(1)
    assert supernet(random_subnets=3, seed=4).sandwich(7) == first
    others = [model.sandwich(8), supernet(random_subnets=3, seed=5).sandwich(7)]
    assert all(other["random0"] != first["random0"] for other in others)
    assert list(supernet(random_subnets=0).sandwich(0)) == ["max", "min"]


def test_one_step_takes_the_mean_gradient_of_all_passes():
    model = supernet().train()
    twin = copy.deepcopy(model)
    MessageHub.get_current_instance().update_info("iter", 3)
    model.set_genotype(GENOTYPE)
    log = step(model, pair_batch())
    assert model.genotype == model.space.check(GENOTYPE)  # as before
    data = twin.data_preprocessor(pair_batch(), training=True)
    total, expected_log = 0.0, {}
    for name, genotype in twin.sandwich(3).items():
        twin.set_genotype(genotype)
        losses = twin(**data, mode="loss")
        expected_log[f"{name}.loss_flow"] = losses["loss_flow"].detach()
        total = total + losses["loss_flow"] / 4
    total.backward()
    torch.testing.assert_close(log["loss"], total.detach())
    for key, value in expected_log.items():
        torch.testing.assert_close(log[key], value)
    assert {"max.epe", "min.epe", "random0.epe", "random1.epe"} < set(log)
    unused = set()
    for (name, parameter), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        if other.grad is None:
            unused.add(name)
            assert torch.equal(parameter, other)
        else:
            torch.testing.assert_close(parameter, other - 0.05 * other.grad, rtol=1e-4, atol=1e-6)
    assert unused
    assert all("shortcut" in name or "blocks" in name for name in unused)


def test_each_pass_ends_before_the_next_begins(monkeypatch):
    """A forward, its backward, and so on: one graph at a time."""
    model = supernet().train()
    order = []
    model.feature_encoder.register_forward_pre_hook(lambda *_: order.append("forward"))
    backward = OptimWrapper.backward
    monkeypatch.setattr(
        OptimWrapper,
        "backward",
        lambda self, loss, **options: order.append("backward") or backward(self, loss, **options),
    )
    log = step(model, pair_batch())
    assert order == ["forward", "backward"] * 4
    assert all(value.grad_fn is None for value in log.values())


def test_a_resumed_training_ends_as_an_unbroken_one(tmp_path):
    """Two epochs and two more, from the checkpoint, against four: the same networks in each step."""
    flow_files.write_chairs(tmp_path / "data", splits=(1, 1, 1, 1, 2), shape=(32, 48))

    def runner(epochs, folder, **changes):
        dataset = dict(
            type="mmkd_ext.FlyingChairsDataset",
            data_root=str(tmp_path / "data"),
            pipeline=flow_files.PIPELINE,
            **flow_files.QUICK,
        )
        sampler = dict(type="DefaultSampler", shuffle=True)
        cfg = Config(
            dict(
                default_scope="mmkd_ext",
                model=config(),
                train_dataloader=dict(
                    batch_size=2, num_workers=0, sampler=sampler, dataset=dataset
                ),
                optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-3)),
                train_cfg=dict(by_epoch=True, max_epochs=epochs),
                default_hooks=dict(exact_resume=dict(type="mmkd_ext.ExactResumeHook")),
                experiment_name=folder,
            )
            | changes
        )
        return quiet_runner(cfg, tmp_path / folder)

    whole = runner(4, "whole")
    whole.train()
    runner(2, "begun").train()
    resumed = runner(4, "resumed", load_from=str(tmp_path / "begun" / "epoch_2.pth"), resume=True)
    resumed.train()
    assert resumed.iter == 8
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name


def test_accumulated_batches_are_one_step():
    model = supernet().train()
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    wrapper = OptimWrapper(optimizer, accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 2)
    before = copy.deepcopy(model.state_dict())
    model.train_step(pair_batch(0, 0, 2), wrapper)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.train_step(pair_batch(0, 1, 2), wrapper)
    step(twin, pair_batch())
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert not torch.equal(
        model.update_block.flow_head.conv2.weight, before["update_block.flow_head.conv2.weight"]
    )


def test_the_teacher_runs_once_a_step():
    model = distiller().train()
    seen = {"teacher": 0, "student": 0}

    def count(side):
        def hook(*_):
            seen[side] += 1

        return hook

    model.teacher.register_forward_pre_hook(count("teacher"))
    model.student.feature_encoder.register_forward_pre_hook(count("student"))
    log = step(model, pair_batch())
    assert seen == {"teacher": 1, "student": 4}
    labels = [log[f"{name}.kd.loss_label"].item() for name in ("max", "min", "random0", "random1")]
    assert len(set(labels)) == 4
    # What the teacher says is the same for each: a pass of its own finds the same loss.
    twin = distiller().train()
    data = twin.data_preprocessor(pair_batch(), training=True)
    twin.student.set_genotype(twin.student.space.min())
    expected = twin(**data, mode="loss")["kd.loss_label"]
    assert labels[1] == pytest.approx(expected.item(), rel=1e-5)
    step(model, pair_batch(1))
    assert seen == {"teacher": 2, "student": 8}


def test_it_learns_with_all_its_networks():
    model = supernet().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    wrapper = OptimWrapper(optimizer, clip_grad=dict(max_norm=1.0))
    logs = []
    for number in range(16):
        MessageHub.get_current_instance().update_info("iter", number)
        logs.append(model.train_step(pair_batch(), wrapper))
    for name in ("max", "min"):
        assert logs[-1][f"{name}.loss_flow"] < 0.9 * logs[0][f"{name}.loss_flow"]


def test_two_processes_end_as_one(tmp_path):
    from tests.flow.nas.super_ranks import train

    run_ranks("tests.flow.nas.super_ranks", tmp_path)
    for kind, build in (("alone", supernet), ("distilled", distiller)):
        one, other = (torch.load(tmp_path / f"{kind}_{rank}.pth") for rank in (0, 1))
        single = train(build().train(), None, 0, 1)
        start = build().state_dict()
        moved = 0
        for name, value in single.items():
            assert torch.equal(one[name], other[name]), name
            torch.testing.assert_close(one[name], value, rtol=1e-3, atol=1e-5)
            moved += not torch.equal(value, start[name])
        assert moved > 50
    messages = {torch.load(tmp_path / f"refused_{rank}.pth") for rank in (0, 1)}
    (message,) = messages
    assert "set model_wrapper_cfg=dict(type='mmkd_ext.PassesDataParallel')" in message


def test_the_space_counts_this_network():
    model = supernet()
    largest = model.space.params(model.space.max())
    # Without the shortcut convolutions of blocks whose shape does not change.
    assert model.space.rest_params == sum(
        p.numel()
        for name, p in model.named_parameters()
        if not name.split(".")[0].endswith("encoder")
    )
    assert largest < sum(p.numel() for p in model.parameters())
    with pytest.raises(ValueError, match="rest_params=1,000"):
        supernet(space=FlowNASSpace(**SPACE))


@pytest.mark.parametrize("value", [-1, 1.5, True])
def test_wrong_numbers_of_networks(value):
    with pytest.raises(ValueError, match="random_subnets is"):
        supernet(random_subnets=value)


def test_the_published_space_takes_a_step():
    """The largest and the smallest network at 128 x 160, as many parameters as published."""
    torch.manual_seed(0)
    model = MODELS.build(dict(type="mmkd_ext.FlowNASSupernet", random_subnets=0, iters=2)).train()
    assert model.space.size == 80_621_568
    pairs = tiny_raft.image_pairs((128, 160))
    sample = tiny_raft.sample(128, 160)
    before = model.feature_encoder.last_conv.weight.detach().clone()
    log = step(model, dict(inputs=pairs, data_samples=[sample]), clip_grad=dict(max_norm=1.0))
    assert log["max.loss_flow"].isfinite()
    assert log["min.loss_flow"].isfinite()
    assert log["max.loss_flow"] != log["min.loss_flow"]
    assert all(p.isfinite().all() for p in model.parameters())
    assert not torch.equal(before, model.feature_encoder.last_conv.weight)


def test_norms_that_must_not_be_frozen():
    with pytest.raises(ValueError, match="which freeze_bn=True forbids"):
        supernet(bn_mode="calibrated", freeze_bn=True)
