"""SWEM as an mmengine model: clips, objects that only fill up, weights, mistakes."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from torch import nn

from mmkd_ext.apis.taps import list_taps
from mmkd_ext.registry import MODELS
from mmkd_ext.vos.losses import bootstrapped_ce, soft_iou
from mmkd_ext.vos.models.clip import Clip, clip_iou

from . import tiny


def run(model, *clips, mode="tensor"):
    return model(*tiny.batch(*clips), mode=mode)


def calls_of(module, record):
    """Let ``record(arguments by name, output)`` see every call."""
    names = module.forward.__code__.co_varnames[1 : module.forward.__code__.co_argcount]
    return module.register_forward_hook(
        lambda module, args, output: record(dict(zip(names, args, strict=False)), output)
    )


# --- clips ---------------------------------------------------------------------------------------


def test_a_clip_in_every_mode():
    model = tiny.build()
    first, second = tiny.clip(frames=4), tiny.clip(frames=4, seed=1)
    logits = run(model, first, second)
    assert [tuple(one.shape) for one in logits] == [(2, 3, 32, 48)] * 3
    scores = torch.stack(logits, dim=1)
    target = torch.stack([sample.gt_masks[1:] for _, sample in (first, second)])
    losses = run(model, first, second, mode="loss")
    assert set(losses) == {"loss_ce", "loss_iou", "J"}
    torch.testing.assert_close(losses["loss_ce"], bootstrapped_ce(scores, target))
    torch.testing.assert_close(losses["loss_iou"], soft_iou(scores, target))
    total, log = model.parse_losses(losses)
    torch.testing.assert_close(total, losses["loss_ce"] + losses["loss_iou"])
    assert 0 <= float(log["J"]) <= 1
    total.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []  # one forward reaches every parameter, as DDP expects
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_it_learns_a_clip():
    """A few steps of mmengine's own train_step, from what a loader hands out."""
    model = tiny.build(
        memory_masks="ground_truth",
        loss_iou=None,
        data_preprocessor=dict(type="VOSDataPreprocessor", _scope_="mmkd_ext"),
    )
    for encoder in (model.key_encoder, model.value_encoder.trunk):
        encoder.norm_eval = False
    model.train()
    assert model.key_encoder.bn1.training
    wrapper = OptimWrapper(torch.optim.Adam(model.parameters(), lr=3e-3))
    frames, sample = tiny.clip(size=(30, 45))  # padded to 32 x 48
    data = dict(inputs=[(frames * 50 + 128).clamp(0, 255).byte()], data_samples=[sample])
    history = [model.train_step(copy.deepcopy(data), wrapper)["loss_ce"].item() for _ in range(12)]
    assert history[-1] < 0.5 * history[0]


def test_modules_fire_once_a_frame():
    model = tiny.build()
    counts = {}
    for name in ("key_encoder", "key_proj", "key_comp", "value_encoder", "fusion", "decoder",
                 "decoder.up_8_4", "aggregation"):  # fmt: skip
        model.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: counts.update({name: counts.get(name, 0) + 1})
        )
    run(model, tiny.clip(frames=4))
    whole, predicted = 4, 3
    assert counts == dict.fromkeys(("key_encoder", "key_proj", "key_comp"), whole) | dict.fromkeys(
        ("value_encoder", "fusion", "decoder", "decoder.up_8_4", "aggregation"), predicted
    )


def test_objects_that_fill_up_change_nothing():
    """Two clips of two and one object, together and each alone."""
    model = tiny.build()
    two, one = tiny.clip(), tiny.clip(objects=1, seed=1)
    filled = (one[0], one[1].clone())
    filled[1].valid_objects = torch.tensor([True, False])
    shapes = []
    calls_of(model.fusion, lambda args, output: shapes.append(output.shape[0]))
    together = run(model, two, filled)
    assert shapes == [3, 3]  # what is no object is in no tap
    alone = run(model, two), run(model, one)
    for logits, first, second in zip(together, *alone, strict=True):
        torch.testing.assert_close(logits[:1], first, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(logits[1:, :2], second, rtol=1e-4, atol=1e-4)
        assert logits[1, 2].max() < -16
    losses = run(model, two, filled, mode="loss")
    parts = run(model, two, mode="loss"), run(model, one, mode="loss")
    for key in ("loss_ce", "loss_iou"):
        torch.testing.assert_close(
            losses[key], (parts[0][key] + parts[1][key]) / 2, rtol=1e-4, atol=1e-4
        )


def test_a_clip_without_objects():
    model = tiny.build()
    frames, sample = tiny.clip(objects=2, valid=[False, False])
    sample.gt_masks = torch.zeros_like(sample.gt_masks)
    total, _ = model.parse_losses(run(model, (frames, sample), mode="loss"))
    total.backward()
    assert total.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("kind", ["predicted", "ground_truth"])
def test_what_is_memorised(kind):
    model = tiny.build(memory_masks=kind)
    frames, sample = tiny.clip(frames=4)
    seen = []
    calls_of(model.value_encoder, lambda args, output: seen.append(args["masks"]))
    logits = run(model, (frames, sample))
    truth = F.one_hot(sample.gt_masks, 3).permute(0, 3, 1, 2).float()
    assert torch.equal(seen[0][0], truth[0])
    for t in (1, 2):
        expected = truth[t] if kind == "ground_truth" else logits[t - 1][0].softmax(dim=0)
        assert torch.equal(seen[t][0], expected)
        assert seen[t].requires_grad == (kind == "predicted")


def test_a_clip_draws_anew_each_iteration_and_the_same_on_every_process():
    model = tiny.build()
    seeds = {}
    hub = MessageHub.get_current_instance()
    try:
        for iteration in (0, 1):
            hub.update_info("iter", iteration)
            for order in ((0, 1), (1, 0)):
                clip = Clip.of(*tiny.batch(*(tiny.clip(seed=i) for i in order)))
                seeds[iteration, order] = clip.seeds(model.seed)
    finally:
        hub.update_info("iter", 0)
    assert seeds[0, (0, 1)] == seeds[0, (1, 0)][::-1]
    assert len({*seeds[0, (0, 1)], *seeds[1, (0, 1)]}) == 4
    state = torch.random.get_rng_state()
    one = run(model, tiny.clip())
    torch.manual_seed(123)
    other = run(model, tiny.clip())
    assert torch.equal(one[-1], other[-1])
    torch.random.set_rng_state(state)


def test_bf16_autocast_is_close_to_float32():
    model = tiny.build().eval()
    exact = run(model, tiny.clip())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = run(model, tiny.clip())
        losses = run(model, tiny.clip(), mode="loss")
    for ours, wanted in zip(found, exact, strict=True):
        assert ours.dtype == torch.float32
        difference = (ours.softmax(dim=1) - wanted.softmax(dim=1)).abs()
        assert difference.mean() < 0.01
        assert difference.max() < 0.2
    sum(losses[key] for key in ("loss_ce", "loss_iou")).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_a_dry_run_needs_no_masks():
    model = tiny.build().eval()
    with torch.no_grad():
        (still,) = model(torch.zeros(2, 3, 32, 32))
        clip = model(torch.zeros(1, 3, 3, 32, 48), None)
    assert still.shape == (2, 2, 32, 32)
    assert [tuple(one.shape) for one in clip] == [(1, 2, 32, 48)] * 2
    rows, remark = list_taps(model, (3, 32, 48))
    assert remark == ""
    found = {row.name: (row.output, row.firings) for row in rows}
    assert found["fusion"] == ("(1, 16, 2, 3)", 1)
    assert found["decoder.up_8_4"] == ("(1, 16, 8, 12)", 1)
    assert found["aggregation"] == ("(1, 2, 32, 48)", 1)
    assert found["key_encoder"] == ("[(1, 8, 8, 12), (1, 16, 4, 6), (1, 32, 2, 3)]", 2)
    with pytest.raises(ValueError, match="training needs data samples"):
        model(torch.zeros(1, 3, 3, 32, 48), mode="loss")


def test_sizes_that_are_no_multiple_of_the_stride():
    logits = run(tiny.build(), tiny.clip(size=(30, 45)))
    assert logits[0].shape == (1, 3, 30, 45)
    assert logits[0].isfinite().all()


def test_clip_iou():
    target = torch.zeros(1, 1, 2, 4, dtype=torch.long)
    target[0, 0, :, :2] = 1
    scores = torch.zeros(1, 1, 4, 2, 4)
    scores[0, 0, 1, :, 1:3] = 1  # 2 of 6 pixels
    valid = torch.tensor([[True, False, True]])
    assert float(clip_iou(scores, target, valid)) == pytest.approx((2 / 6 + 1) / 2)


# --- parts and weights ---------------------------------------------------------------------------


def test_a_stock_backbone_and_another_memory():
    backbone = dict(
        type="mmpretrain.ResNet", depth=18, num_stages=3, out_indices=(0, 1, 2), strides=(1, 2, 2),
        dilations=(1, 1, 1), stem_channels=8, base_channels=8,
    )  # fmt: skip
    options = tiny.config() | dict(key_encoder=backbone, memory=dict(type="FrameMemory", topl=4))
    with pytest.raises(ValueError, match="give encoder_channels"):
        MODELS.build(options)
    model = MODELS.build(options | dict(encoder_channels=(8, 16, 32)))
    total, _ = model.parse_losses(run(model, tiny.clip(), mode="loss"))
    total.backward()
    assert model.key_proj.weight.grad.abs().sum() > 0
    # The same weights serve either memory.
    shapes = {key: value.shape for key, value in tiny.build().state_dict().items()}
    own = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: shape for key, shape in own.items() if not key.startswith("key_encoder")} == {
        key: shape for key, shape in shapes.items() if not key.startswith("key_encoder")
    }


def test_image_net_weights_come_with_init_weights(tmp_path):
    from torchvision.models import resnet18

    torch.manual_seed(1)
    source = resnet18(weights=None)
    with torch.no_grad():
        for buffer in source.buffers():
            buffer.copy_(torch.rand(buffer.shape))
    torch.save(source.state_dict(), tmp_path / "resnet18.pth")
    pretrained = dict(type="Pretrained", checkpoint=str(tmp_path / "resnet18.pth"))
    options = tiny.config(width=64)
    options["key_encoder"]["init_cfg"] = options["value_trunk"]["init_cfg"] = pretrained
    model = MODELS.build(options)
    theirs = {k: v for k, v in source.state_dict().items() if not k.startswith(("layer4", "fc"))}
    assert not torch.equal(model.key_encoder.conv1.weight, theirs["conv1.weight"])
    model.init_weights()
    assert list(model.key_encoder.state_dict()) == list(theirs)
    for key, value in model.key_encoder.state_dict().items():
        assert torch.equal(value, theirs[key]), key
    trunk = model.value_encoder.trunk.state_dict()
    stem = trunk.pop("conv1.weight")
    assert torch.equal(stem[:, :3], theirs.pop("conv1.weight"))
    extra = stem[:, 3:].flatten(1)
    torch.testing.assert_close(extra @ extra.T, torch.eye(64), rtol=0, atol=1e-5)
    for key, value in trunk.items():
        if key in theirs:
            assert torch.equal(value, theirs[key]), key
        else:  # biases, which the source has none of
            assert key.endswith(("conv1.bias", "conv2.bias", "downsample.0.bias"))
            assert value.count_nonzero() == 0
    source.eval()
    with torch.no_grad():
        x = torch.randn(1, 3, 32, 32)
        f4 = source.layer1(source.maxpool(source.relu(source.bn1(source.conv1(x)))))
        f16 = source.layer3(source.layer2(f4))
        found = model.eval().key_encoder(x)
    assert torch.equal(found[0], f4)
    assert torch.equal(found[2], f16)


def test_from_one_object_to_several():
    single, several = tiny.build(single_object=True), tiny.build(seed=1)
    weights = single.state_dict()
    assert weights["value_encoder.trunk.conv1.weight"].shape[1] == 4
    kept = weights["value_encoder.trunk.conv1.weight"].clone()
    missing, unexpected = several.load_state_dict(weights, strict=False)
    assert missing == unexpected == []
    stem = several.value_encoder.trunk.conv1.weight
    assert torch.equal(stem[:, :4], kept)
    extra = stem[:, 4].flatten(1).detach()
    torch.testing.assert_close(extra @ extra.T, torch.eye(len(extra)), rtol=0, atol=1e-5)
    assert run(single, tiny.clip())[0].isfinite().all()


def test_batch_norms_stand_still_but_train():
    model = tiny.build().train()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert all(norm.weight.requires_grad for norm in norms)
    assert model.fusion.training
    with pytest.raises(ValueError, match="depth is one of"):
        MODELS.build(tiny.config() | dict(value_trunk=dict(depth=19)))


# --- mistakes ------------------------------------------------------------------------------------


def test_mistakes_are_named():
    model = tiny.build()
    frames, sample = tiny.clip()
    inputs, samples = tiny.batch((frames, sample))
    with pytest.raises(
        ValueError, match=r"clips \(B, T, 3, H, W\) of T >= 2 .*\(1, 1, 3, 32, 48\)"
    ):
        model(inputs[:, :1], samples, mode="loss")
    with pytest.raises(ValueError, match="mode is 'loss'"):
        model(inputs, samples, mode="train")
    with pytest.raises(ValueError, match="2 data samples for 1 clips"):
        model(inputs, samples * 2, mode="loss")
    with pytest.raises(
        ValueError, match=r"gt_masks of video 'v0' are \(3, 32, 48\), but .*\(3, 32, 47\)"
    ):
        model(inputs[..., :47], samples, mode="loss")
    with pytest.raises(ValueError, match="batch is one frame"):
        model(inputs[0], samples, mode="predict")
    sample.valid_objects = torch.tensor([True, False])
    with pytest.raises(ValueError, match=r"'v0' hold ids \[0, 1, 2\], but .* are \[0, 1\]"):
        model(inputs, samples, mode="loss")
    sample.valid_objects = torch.tensor([True, True])
    sample.gt_masks[0, 0, 0] = 255
    with pytest.raises(ValueError, match="drop void pixels"):
        model(inputs, samples, mode="loss")
    del sample.gt_masks
    with pytest.raises(ValueError, match="'v0' has no gt_masks"):
        model(inputs, samples, mode="loss")
    for options, message in (
        (dict(memory_masks="truth"), "memory_masks is"),
        (dict(test_cfg=dict(side=3)), r"not \['side'\]"),
    ):
        with pytest.raises(ValueError, match=message):
            tiny.build(**options)
