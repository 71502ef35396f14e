"""Sharing of weights, the three modes of batch norm, and what a user meets on the way."""

from __future__ import annotations

import copy
import pickle
from random import Random

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from mmkd_ext.flow.nas import (
    FLOWNAS_S,
    ElasticFlowEncoder,
    FlowNASSpace,
    StaticFlowEncoder,
    calibrating,
    check_network,
    elastic_encoders,
    export_encoder,
    rest_params,
    set_genotype,
)
from mmkd_ext.registry import MODELS
from tests.flow import tiny_raft

from . import tiny

TAPS = {"stem": 2, "stages.1": 2, "stages.3": 4, "stages.5": 8, "last_conv": 8}


def test_levels_of_features():
    encoder, shapes = tiny.encoder(), {}
    for name in TAPS:
        encoder.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, out, name=name: shapes.update({name: tuple(out.shape)})
        )
    assert encoder.genotype == FlowNASSpace(**tiny.SPACE).max()
    encoder.set_genotype(tiny.GENOTYPE)
    assert encoder.genotype == tiny.GENOTYPE
    assert encoder(tiny.images()).shape == (2, encoder.output_dim, 4, 6)
    channels = (16, 16, 16, 24, 32)
    assert shapes == {
        name: (2, count, 32 // scale, 48 // scale)
        for count, (name, scale) in zip(channels, TAPS.items(), strict=True)
    }


def test_gradients_reach_the_active_slice_alone():
    encoder = tiny.encoder()
    encoder.set_genotype(tiny.GENOTYPE)
    encoder(tiny.images()).square().sum().backward()

    def reached(name):
        grad = encoder.get_parameter(name).grad
        return None if grad is None else (grad != 0).nonzero().amax(dim=0).add(1).tolist()

    # Stage 2, block 1: from 16 channels to 16 by 16, with 5x5; the second block is alike.
    assert reached("stages.1.blocks.0.expand.conv.weight") == [16, 16, 1, 1]
    assert reached("stages.1.blocks.1.project.conv.weight") == [16, 16, 1, 1]
    assert reached("stages.1.blocks.1.project.norm.weight") == [16]
    assert reached("stages.1.blocks.1.shortcut.weight") is None
    assert reached("stages.2.blocks.0.shortcut.weight") == [24, 16, 1, 1]
    assert reached("stages.2.blocks.1.depthwise.conv.weight") is None
    assert reached("last_conv.weight") == [32, 24, 1, 1]
    centre = encoder.get_parameter("stages.0.blocks.0.depthwise.conv.weight").grad != 0
    assert centre.any(dim=0)[0].nonzero().flatten().unique().tolist() == [1, 2, 3]  # 3x3 of 5x5


def test_initial_weights():
    encoder = tiny.encoder(trained=False)
    for stage in encoder.stages:
        for block in stage.blocks:
            assert not block.project.norm.weight.any()
            assert (block.depthwise.norm.weight == 1).all()
            fan_out = block.depthwise.conv.weight.shape[0] * 25
            assert block.depthwise.conv.weight.std().item() == pytest.approx(
                (2 / fan_out) ** 0.5, rel=0.2
            )
    # So nothing but shortcuts: the largest net equals its stem, shortcuts and output.
    with torch.no_grad():
        x = encoder.stem(tiny.images())
        for stage in encoder.stages:
            for block in stage.blocks:
                x = nn.functional.avg_pool2d(x, 2) if block.stride == 2 else x
                x = block.shortcut(x) if block.uses_shortcut else x
        assert torch.equal(encoder(tiny.images()), encoder.last_conv(x))


def test_frozen_statistics():
    encoder, x = tiny.encoder(bn_mode="frozen01", trained=False), tiny.images()
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
    before = copy.deepcopy(dict(encoder.named_buffers()))
    assert torch.equal(encoder.train()(x), encoder.eval()(x))
    for name, value in encoder.named_buffers():
        assert torch.equal(value, before[name])
    norm = encoder.stem.norm
    y = torch.randn(1, 16, 2, 2)
    affine = y / (1 + 1e-5) ** 0.5 * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm.train()(y), affine)


def test_statistics_of_the_batch():
    encoder, x = tiny.encoder(bn_mode="batch"), tiny.images()
    before = copy.deepcopy(encoder.state_dict())
    both = encoder.train()(x)
    assert torch.equal(encoder.eval()(x), both)
    assert not torch.allclose(encoder(x[:1]), both[:1])
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name])
    y = torch.randn(2, 16, 5, 5)
    norm = encoder.stem.norm
    mean, variance = y.mean(dim=(0, 2, 3)), y.var(dim=(0, 2, 3), unbiased=False)
    expected = (y - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    expected = expected * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(y), expected)


def test_calibrated_statistics():
    encoder = tiny.encoder(bn_mode="calibrated")
    encoder.set_genotype(tiny.GENOTYPE)
    batches = [tiny.images(seed=seed) for seed in range(3)]
    plain = export_encoder(encoder)  # in training mode, tracked
    trained = encoder(batches[0])
    assert torch.equal(plain(batches[0]), trained)
    encoder.eval()
    with pytest.raises(RuntimeError, match=r"not calibrated.*call calibrate\(\)"):
        encoder(batches[0])
    encoder.calibrate(batches)
    update_bn(batches, plain)  # torch's own
    x = tiny.images(1, seed=9)
    assert torch.equal(encoder(x), plain.eval()(x))
    assert torch.equal(encoder(x), export_encoder(encoder)(x))
    assert not torch.allclose(encoder(x), tiny.encoder(bn_mode="frozen01").eval()(x))
    # Another genotype, training, other weights: each voids them.
    encoder.set_genotype(tiny.GENOTYPE)
    encoder(x)
    for void in (
        lambda: encoder.set_genotype(encoder.space.max()),
        lambda: encoder.train().eval(),
        lambda: encoder.load_state_dict(encoder.state_dict()),
    ):
        encoder.calibrate(batches)
        encoder(x)
        void()
        with pytest.raises(RuntimeError, match="not calibrated"):
            encoder(x)


def test_calibration_of_an_exported_encoder():
    elastic = tiny.encoder(bn_mode="calibrated").eval()
    static = export_encoder(elastic)
    batches = [tiny.images(seed=seed) for seed in range(2)]
    elastic.calibrate(batches)
    with torch.no_grad(), calibrating(static):
        for batch in batches:
            static(batch)
    assert torch.equal(static(batches[0]), elastic(batches[0]))


def test_nothing_to_calibrate():
    batch = [tiny.images()]
    with pytest.raises(ValueError, match=r"nothing to calibrate.* have frozen01"):
        tiny.encoder(bn_mode="frozen01").calibrate(batch)
    with pytest.raises(ValueError, match=r"nothing to calibrate.* have no batch norm"):
        tiny.encoder(norm="instance").calibrate(batch)
    with pytest.raises(
        ValueError, match="no batch norm of ElasticFlowEncoder took statistics: no batch"
    ):
        tiny.encoder(bn_mode="calibrated").calibrate([])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_half_precision(dtype, norm):
    encoder, x = tiny.encoder(norm), tiny.images()
    encoder.set_genotype(tiny.GENOTYPE)
    expected = encoder(x)
    with torch.autocast("cpu", dtype):
        found = encoder(x)
    assert found.dtype == dtype
    scale = expected.abs().mean()
    assert (found - expected).abs().mean() / scale < (0.1 if dtype == torch.bfloat16 else 0.01)
    found.float().sum().backward()
    assert torch.isfinite(encoder.stem.conv.weight.grad).all()


def test_both_encoders_of_a_network():
    model = tiny.network()
    space = FlowNASSpace(**{**tiny.SPACE, "rest_params": rest_params(model)})
    check_network(model, space)
    genotype = space.sample(Random(0))
    set_genotype(model, genotype)
    assert list(elastic_encoders(model)) == ["feature_encoder", "context_encoder"]
    assert all(encoder.genotype == genotype for encoder in elastic_encoders(model).values())
    inputs = torch.randn(1, 2, 3, 32, 48)
    copied = pickle.loads(pickle.dumps(model.feature_encoder)).eval()
    with torch.no_grad():
        assert torch.equal(copied(inputs[0]), model.eval().feature_encoder(inputs[0]))
    with pytest.raises(ValueError, match="depth of stage 4"):
        set_genotype(model, {**genotype, "depth": (1, 1, 1, 2, 1, 1)})
    assert model.context_encoder.genotype == genotype
    with pytest.raises(ValueError, match=r"in the search space.*rest_params=1,000"):
        check_network(model, FlowNASSpace(**tiny.SPACE))
    with pytest.raises(ValueError, match="feature_encoder was built with another search space"):
        check_network(model, FlowNASSpace())
    with pytest.raises(ValueError, match="RAFT has no ElasticFlowEncoder"):
        set_genotype(MODELS.build(tiny_raft.config()), genotype)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="norm is one of instance, batch, not 'group'"):
        ElasticFlowEncoder(tiny.SPACE, norm="group")
    with pytest.raises(ValueError, match="bn_mode is one of frozen01, batch, calibrated, not 'tr"):
        ElasticFlowEncoder(tiny.SPACE, bn_mode="tracked")
    with pytest.raises(ValueError, match="bn_mode is one of frozen, batch, tracked, not 'frozen01"):
        StaticFlowEncoder(tiny.GENOTYPE, tiny.SPACE, bn_mode="frozen01")
    with pytest.raises(ValueError, match="width of stage 1"):
        StaticFlowEncoder(FLOWNAS_S, tiny.SPACE)
    with pytest.raises(ValueError, match=r"H and W multiples of 8, not \(1, 3, 30, 32\)"):
        tiny.encoder()(torch.zeros(1, 3, 30, 32))
