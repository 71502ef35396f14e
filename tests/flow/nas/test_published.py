"""The published networks: known figures, and the names of the published checkpoints."""

from __future__ import annotations

import pytest
import torch

from mmkd_ext.flow import build_raft
from mmkd_ext.flow.nas import (
    FLOWNAS_K,
    FLOWNAS_S,
    FlowNASSpace,
    check_network,
    export_network,
    set_genotype,
)
from tests.flow.parity import figures, fill, made_pair, normalized

TAPS = ("stem", "stages.1", "stages.3", "stages.5", "last_conv")
SPACE = FlowNASSpace()
DEPTHS = (2, 3, 3, 3, 4, 2)


@pytest.fixture(scope="module")
def network():
    elastic = dict(type="ElasticFlowEncoder")
    return fill(build_raft(feature_encoder=elastic, context_encoder=dict(elastic, norm="batch")))


@pytest.mark.parametrize(
    ("genotype", "expected", "taps"),
    [
        (
            FLOWNAS_S,
            [3.177870, -0.017106, 0.002731, -0.10851, -0.04970, -0.01804, -0.05271, 0.13776],
            [0.436659, 1.434962, 0.944133, 0.986177, 0.548264],
        ),
        (
            FLOWNAS_K,
            [3.172889, -0.011403, 0.001163, -0.03303, 0.05116, -0.00680, 0.01116, 0.11993],
            [0.436659, 1.278023, 1.194215, 0.995030, 0.555238],
        ),
        (
            SPACE.max(),
            [3.187500, -0.025705, 0.000067, 0.01472, -0.05797, -0.07736, 0.04882, 0.26399],
            None,
        ),
        (
            SPACE.min(),
            [3.167155, -0.005717, 0.001905, 0.01031, 0.03643, 0.00287, 0.02247, 0.07937],
            None,
        ),
    ],
    ids=["S", "K", "max", "min"],
)
def test_the_figures_of_the_made_pair(network, genotype, expected, taps):
    set_genotype(network, genotype)
    means = {}
    hooks = [
        network.feature_encoder.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, out, name=name: means.update({name: out.abs().mean().item()})
        )
        for name in TAPS
    ]
    pair = normalized(made_pair())
    try:
        with torch.no_grad():
            flows, _ = network.estimate(pair, iters=4, last_only=True)
    finally:
        for hook in hooks:
            hook.remove()
    assert figures(flows[-1][0]) == pytest.approx(expected, abs=1e-4)
    if taps:
        assert list(means.values()) == pytest.approx(taps, abs=1e-4)
    if genotype == FLOWNAS_S:
        exported = export_network(network)
        assert sum(parameter.numel() for parameter in exported.parameters()) == 5_071_824
        with torch.no_grad():
            features = network.feature_encoder(pair[0]), network.context_encoder(pair[:, 0])
            assert torch.equal(exported.feature_encoder(pair[0]), features[0])
            assert torch.equal(exported.context_encoder(pair[:, 0]), features[1])


def published_state():
    """A super-network's checkpoint with the published names and shapes, written out."""
    state = {}

    def tensor(name, *shape):
        state[f"module.{name}"] = torch.full(shape, float(len(state)))

    def batch_norm(name, channels, tracking=False):
        for kind in ("weight", "bias", "running_mean", "running_var"):
            tensor(f"{name}.bn.bn.{kind}" if tracking else f"{name}.{kind}", channels)
        tensor(f"{name}.bn.bn.num_batches_tracked" if tracking else f"{name}.num_batches_tracked")
        for number in range(2 if tracking else 0):
            tensor(f"{name}.bn.bn_tracking.{number}.running_mean", channels)
            tensor(f"{name}.bn.bn_tracking.{number}.running_var", channels)
            tensor(f"{name}.bn.bn_tracking.{number}.num_batches_tracked")

    widths = (64, 72, 96, 112, 128, 136)
    mids = (64, 64, 256, 288, 288, 432, 576, 576, 576, 672, 672, 672, 768, 768, 768, 768, 816)
    outs = [width for width, depth in zip(widths, DEPTHS, strict=True) for _ in range(depth)]
    for net in ("fnet", "cnet"):
        tensor(f"{net}.first_conv.weight", 64, 3, 7, 7)
        tensor(f"{net}.first_conv.bias", 64)
        if net == "cnet":
            batch_norm(f"{net}.norm1", 64)
        before = 64
        for number, (mid, out) in enumerate(zip(mids, outs, strict=True)):
            block = f"{net}.blocks.{number}"
            layers = {
                "inverted_bottleneck": (mid, before, 1, 1),
                "depth_conv": (mid, 1, 5, 5),
                "point_linear": (out, mid, 1, 1),
            }
            if number < 2:
                del layers["inverted_bottleneck"]
            for layer, shape in layers.items():
                name = f"{block}.mobile_inverted_conv.{layer}"
                tensor(f"{name}.conv.conv.weight", *shape)
                if net == "cnet":
                    batch_norm(name, shape[0], tracking=True)
            tensor(f"{block}.shortcut.conv.conv.weight", out, before, 1, 1)
            before = out
        tensor(f"{net}.last_conv.point_linear.conv.conv.weight", 256, 136, 1, 1)
    return state


UPDATE_BLOCK = {
    "encoder.convc1": (256, 324, 1, 1), "encoder.convc2": (192, 256, 3, 3),
    "encoder.convf1": (128, 2, 7, 7), "encoder.convf2": (64, 128, 3, 3),
    "encoder.conv": (126, 256, 3, 3),
    **{f"gru.conv{gate}1": (128, 384, 1, 5) for gate in "zrq"},
    **{f"gru.conv{gate}2": (128, 384, 5, 1) for gate in "zrq"},
    "flow_head.conv1": (256, 128, 3, 3), "flow_head.conv2": (2, 256, 3, 3),
    "mask.0": (256, 128, 3, 3), "mask.2": (576, 256, 1, 1),
}  # fmt: skip


def test_published_checkpoints_load(network):
    state = published_state()
    for name, shape in UPDATE_BLOCK.items():
        state[f"module.update_block.{name}.weight"] = torch.zeros(shape)
        state[f"module.update_block.{name}.bias"] = torch.zeros(shape[0])
    assert len(state) == 712
    check_network(network, SPACE)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    try:
        network.load_state_dict(state)  # strict
        found = network.state_dict()
        for ours, theirs in {
            "feature_encoder.stem.conv.bias": "fnet.first_conv.bias",
            "context_encoder.stem.norm.running_var": "cnet.norm1.running_var",
            "context_encoder.stages.0.blocks.1.depthwise.norm.weight": (
                "cnet.blocks.1.mobile_inverted_conv.depth_conv.bn.bn.weight"
            ),
            "feature_encoder.stages.1.blocks.0.expand.conv.weight": (
                "fnet.blocks.2.mobile_inverted_conv.inverted_bottleneck.conv.conv.weight"
            ),
            "context_encoder.stages.4.blocks.3.project.norm.running_mean": (
                "cnet.blocks.14.mobile_inverted_conv.point_linear.bn.bn.running_mean"
            ),
            "feature_encoder.stages.5.blocks.0.shortcut.weight": (
                "fnet.blocks.15.shortcut.conv.conv.weight"
            ),
            "context_encoder.last_conv.weight": "cnet.last_conv.point_linear.conv.conv.weight",
        }.items():
            assert torch.equal(found[ours], state[f"module.{theirs}"]), ours
    finally:
        network.load_state_dict(before)  # and our own names load as they are
