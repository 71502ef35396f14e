"""RAFT against torchvision's, against published figures, and with the original's parameter names."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import DefaultScope
from torchvision.models.optical_flow import raft_large, raft_small

from mmkd_ext.flow import build_raft
from tests.flow.parity import figures, fill, made_pair, normalized

NETWORKS = {"large": (raft_large, 5_257_536), "small": (raft_small, 990_162)}


@pytest.mark.parametrize("size", NETWORKS)
@pytest.mark.parametrize("method", ["all_pairs", "on_demand"])
def test_it_equals_torchvision(size, method):
    build, parameters = NETWORKS[size]
    torch.manual_seed(0)
    theirs, ours = build().eval(), build_raft(size)
    ours.load_state_dict(theirs.state_dict())
    ours.correlation.method = method
    assert sum(p.numel() for p in ours.parameters()) == parameters
    pair = normalized(made_pair())
    with torch.no_grad():
        expected = theirs(pair[:, 0], pair[:, 1], num_flow_updates=3)
        flows, low = ours.estimate(pair, iters=3)
    assert len(flows) == len(expected) == 3
    assert low.shape == (1, 2, 16, 20)
    for flow, other in zip(flows, expected, strict=True):
        torch.testing.assert_close(flow, other, rtol=0, atol=1e-4)
    assert flows[-1].abs().max() > 1e-2


def test_the_figures_of_the_made_pair():
    model = fill(build_raft("large"))
    with torch.no_grad():
        flows, _ = model.estimate(normalized(made_pair()), iters=4)
    expected = [3.174498, -0.014985, 0.007046, -0.03160, -0.04800, 0.06035, 0.00474, 0.17535]
    assert figures(flows[-1][0]) == pytest.approx(expected, abs=1e-4)


def original_names(state, convolutions):
    """A state dict of torchvision under the names of the original's modules."""
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        head = {"feature_encoder": "fnet", "context_encoder": "cnet"}.get(parts[0])
        if head and parts[1] == "convnormrelu":
            name = f"{head}.{'norm' if parts[2] == '1' else 'conv'}1.{parts[3]}"
        elif head and parts[1] == "conv":
            name = f"{head}.conv2.{parts[2]}"
        elif head and parts[3] == "downsample":
            name = f"{head}.{'.'.join(parts[1:])}"
            if parts[4] == "1":  # one module under two names
                alias = f"{head}.{parts[1]}.{parts[2]}.norm{convolutions + 1}.{parts[5]}"
                renamed[f"module.{alias}"] = value
        elif head:
            kind = "norm" if parts[4] == "1" else "conv"
            name = f"{head}.{parts[1]}.{parts[2]}.{kind}{parts[3][-1]}.{parts[5]}"
        elif parts[1] == "motion_encoder":
            short = parts[2].replace("convcorr", "convc").replace("convflow", "convf")
            name = f"update_block.encoder.{short}.{parts[4]}"
        elif parts[1] == "recurrent_block":
            number = parts[2][-1] if convolutions == 2 else ""
            name = f"update_block.gru.{parts[3]}{number}.{parts[4]}"
        elif parts[0] == "mask_predictor":
            name = f"update_block.mask.{'0' if parts[1] == 'convrelu' else '2'}.{parts[-1]}"
        else:
            name = key
        renamed[f"module.{name}"] = value
    return renamed


@pytest.mark.parametrize(("size", "convolutions"), [("large", 2), ("small", 3)])
def test_the_originals_weights_load(size, convolutions, tmp_path):
    torch.manual_seed(0)
    state = NETWORKS[size][0]().state_dict()
    renamed = original_names(state, convolutions)
    assert "module.fnet.layer2.0.downsample.0.weight" in renamed
    assert ("module.cnet.layer2.0.norm3.running_mean" in renamed) == (size == "large")
    assert not any("convnormrelu" in key for key in renamed)
    torch.save(renamed, tmp_path / "raft.pth")
    model = build_raft(size, weights=tmp_path / "raft.pth")
    found = model.state_dict()
    assert len(found) == len(state)
    for key, value in state.items():
        assert torch.equal(found[key.replace("mask_predictor.", "upsampler.")], value), key


def test_our_own_weights_load_below_a_prefix():
    model = build_raft("small")
    holder = torch.nn.ModuleDict({"student": build_raft("small")})
    state = {f"student.{key}": value for key, value in model.state_dict().items()}
    holder.load_state_dict(state)
    for key, value in model.state_dict().items():
        assert torch.equal(holder["student"].state_dict()[key], value)


def test_it_can_be_built_whatever_library_is_at_work():
    """Bare names are looked up in the scope that a Runner has set."""
    with DefaultScope.overwrite_default_scope("mmengine"):
        model = build_raft("small", "learnable")
        assert type(model.correlation.metric).__name__ == "LearnableCostVolume"
        build_raft("large")


def test_wrong_names():
    with pytest.raises(ValueError, match="'large' or 'small', not 'medium'"):
        build_raft("medium")
    with pytest.raises(ValueError, match="'learnable', not 'lcv'"):
        build_raft("small", cost_volume="lcv")
    metric = dict(type="LearnableCostVolume")
    with pytest.raises(ValueError, match="give one of them"):
        build_raft(cost_volume="learnable", correlation=dict(type="Correlation", metric=metric))
