"""An exported network computes what the super-network computed, to the bit."""

from __future__ import annotations

from random import Random

import pytest
import torch
from mmengine.config import Config

from mmkd_ext.flow.nas import (
    ElasticFlowEncoder,
    FlowNASSpace,
    StaticFlowEncoder,
    export_config,
    export_encoder,
    export_network,
    rest_params,
    set_genotype,
)
from mmkd_ext.registry import MODELS
from tests.flow import tiny_raft

from . import tiny


@pytest.mark.parametrize(
    ("norm", "bn_mode"),
    [("instance", "frozen01"), ("batch", "frozen01"), ("batch", "batch"), ("batch", "calibrated")],
)
def test_outputs_are_equal(norm, bn_mode):
    encoder, rng = tiny.encoder(norm, bn_mode), Random(0)
    space, x = encoder.space, tiny.images()
    for genotype in (space.min(), space.max(), *(space.sample(rng) for _ in range(4))):
        encoder.set_genotype(genotype)
        encoder.eval()
        if bn_mode == "calibrated":
            encoder.calibrate([x[:1], x])
        static = export_encoder(encoder)
        assert not static.training
        with torch.no_grad():
            assert torch.equal(static(x), encoder(x))
            assert torch.equal(static.train()(x), encoder.train()(x))
        # Nothing elastic is left, and no shortcut that no image passes.
        assert not any(type(m).__name__.startswith("Elastic") for m in static.modules())
        for block in (block for stage in static.stages for block in stage.blocks):
            if block.shortcut is not None:
                assert block.shortcut.in_channels != block.shortcut.out_channels


def test_large_values_are_not_cut():
    encoder, x = tiny.encoder(), 50 * tiny.images()
    assert encoder.stem(x).max() > 6  # where a ReLU6 would cut
    assert torch.equal(export_encoder(encoder)(x), encoder(x))


def test_training_an_exported_encoder_leaves_the_super_network():
    encoder, x = tiny.encoder(), tiny.images()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    static = export_encoder(encoder)
    assert static.training
    assert not static.stem.norm.training  # frozen
    static(x).square().mean().backward()
    torch.optim.SGD(static.parameters(), lr=1.0).step()
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(static.stem.norm.running_var, before["stem.norm.running_var"])


def test_a_whole_network(tmp_path):
    model = tiny.randomize(tiny.network()).eval()
    space = FlowNASSpace(**{**tiny.SPACE, "rest_params": rest_params(model)})
    genotype = space.sample(Random(5))
    set_genotype(model, genotype)
    exported = export_network(model)
    inputs = torch.randn(1, 2, 3, 64, 64)
    with torch.no_grad():
        expected = model(inputs)[-1]
        assert torch.equal(exported(inputs)[-1], expected)
    assert isinstance(exported.context_encoder, StaticFlowEncoder)
    assert isinstance(model.context_encoder, ElasticFlowEncoder)
    assert sum(parameter.numel() for parameter in exported.parameters()) == space.params(genotype)
    shared = {id(p) for p in model.parameters()} & {id(p) for p in exported.parameters()}
    assert not shared

    elastic = dict(type="mmkd_ext.ElasticFlowEncoder", space=tiny.SPACE, output_dim=32)
    config = Config(
        dict(
            model=tiny_raft.config(
                feature_encoder=elastic,
                context_encoder=dict(elastic, norm="batch", bn_mode="frozen01"),
            )
        )
    )
    plain = Config(export_config(config.model, genotype))
    plain.dump(tmp_path / "subnet.py")
    again = MODELS.build(Config.fromfile(tmp_path / "subnet.py").to_dict()).eval()
    again.load_state_dict(exported.state_dict())
    with torch.no_grad():
        assert torch.equal(again(inputs)[-1], expected)
    assert config.model.feature_encoder.type == "mmkd_ext.ElasticFlowEncoder"
    with pytest.raises(ValueError, match="no encoder of type ElasticFlowEncoder"):
        export_config(plain._cfg_dict, genotype)
    with pytest.raises(ValueError, match="width of stage"):
        export_config(config.model, FlowNASSpace().min())
