"""The whole network against the published code: sizes, soft aggregation, R18 end to end."""

from __future__ import annotations

import math
import zlib

import pytest
import torch
from torch import nn

from mmkd_ext.vos import SWEM, VOSSession
from mmkd_ext.vos.models import soft_aggregation

from . import em_golden

R18 = dict(type="ResNetTrunk", depth=18)
# Our names -> those of the published code, whose checksums seed the weights; applied in this order.
NAMES = (
    ("key_encoder.layer1.", "key_encoder.res2."),
    ("key_proj.", "key_proj.key_proj."),
    ("value_encoder.trunk.", "value_encoder."),
    ("attention.channel_gate.0.", "attention.ChannelGate.mlp.1."),
    ("attention.channel_gate.2.", "attention.ChannelGate.mlp.3."),
    ("attention.spatial_gate.", "attention.SpatialGate.spatial.conv."),
    (".shortcut.", ".downsample."),
    ("fusion.feature.", "swem_core.fusion_layer.layer_f."),
    ("fusion.gate.", "swem_core.fusion_layer.layer_a."),
    (".skip.", ".skip_conv."),
    (".out.", ".out_conv."),
)


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_numbers_of_parameters():
    with torch.device("meta"):
        model = SWEM()
        single = SWEM(single_object=True)
        small = SWEM(key_encoder=R18)
    assert parameters(model) == 58_563_524
    assert {
        name: parameters(part) for name, part in model.named_children() if parameters(part)
    } == {
        "key_encoder": 8_543_296,
        "key_proj": 1_179_776,
        "key_comp": 4_719_104,
        "value_encoder": 21_701_635,
        "fusion": 10_617_856,
        "decoder": 11_801_857,
    }
    assert parameters(single) == 58_560_388
    assert parameters(small) == 36_729_796


def test_soft_aggregation():
    p = torch.tensor([[[[0.9, 0.2]], [[0.3, 0.05]]]], dtype=torch.float64)
    expected = [
        [-2.586689344097943, 1.1526795099383855],
        [2.1972245773362196, -1.3862943611198906],
        [-0.8472978603872036, -2.9444389791664403],
    ]
    found = soft_aggregation(p)
    torch.testing.assert_close(found[0, :, 0], torch.tensor(expected, dtype=torch.float64))
    shares = [
        [0.007919831905608528, 0.9127686472819215],
        [0.9469856149991919, 0.0720606826801517],
        [0.045094553095199615, 0.015170670037926671],
    ]
    torch.testing.assert_close(
        found.softmax(dim=1)[0, :, 0], torch.tensor(shares, dtype=torch.float64)
    )
    certain = soft_aggregation(torch.tensor([0.0, 1.0]).view(1, 2, 1, 1))
    assert certain.isfinite().all()
    assert certain.flatten().tolist() == pytest.approx([-16.118, -16.118, 15.942], abs=1e-3)


@torch.no_grad()
def fill(model):
    """Weights of closed form, which depend on a tensor's name in the published code."""
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
            continue
        for key, tensor in module.named_parameters(prefix=name, recurse=False):
            for ours, theirs in NAMES:
                key = key.replace(ours, theirs)
            phase = 2 * math.pi * (zlib.crc32(key.encode()) % 1000) / 1000
            j = torch.arange(tensor.numel())
            if tensor.ndim > 1:
                wave = torch.sin(((17 * j * j + 9 * j) % 6283).double() / 1000 + phase)
                tensor.copy_(wave.view_as(tensor) * math.sqrt(2 / tensor[0].numel()))
            else:
                tensor.copy_(0.01 * torch.sin(j.double() + phase))


def video():
    """Four frames (4, 3, 64, 96) in float64, normalised by the float32 constants."""
    y, x = torch.meshgrid(
        torch.arange(64, dtype=torch.float64), torch.arange(96, dtype=torch.float64), indexing="ij"
    )
    frames = [
        torch.stack(
            [0.5 + 0.5 * torch.sin(0.11 * x * (c + 1) + 0.07 * y + 0.4 * t) for c in range(3)]
        )
        for t in range(4)
    ]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (torch.stack(frames) - mean.double().view(3, 1, 1)) / std.double().view(3, 1, 1)


# frame: context (sum, sum of absolute values), probabilities by class, those of pixel (30, 45),
# areas by class, and the memory after the frame (zeta, |kappa|, |nu|).
GOLDEN = {
    1: (
        (-17582.216742823988, 28155.289963017454),
        (4531.661533105408, 387.60351301006193, 480.73495388452966),
        (0.9997741186485763, 0.0001045898220712985, 0.0001212915293523795),
        [4859, 103, 438],
        (9.252562171456013, 1156.867356445517, 31548.669005267373),
    ),
    2: (
        (-17230.860432810452, 27449.559473152935),
        (4553.248998792198, 399.2748260785601, 447.4761751292415),
        (0.999454368501528, 0.00022922549445044738, 0.00031640600402163267),
        [4895, 193, 312],
        (14.205439129577018, 1170.617482919725, 31690.8513330164),
    ),
    3: (
        (-17285.41513501279, 27465.43020981572),
        (4592.744664437378, 385.93713561964654, 421.31819994297564),
        (0.9996049303922041, 0.00015415226476665913, 0.0002409173430293235),
        [4935, 162, 303],
        None,
    ),
}


@torch.no_grad()
def test_end_to_end():
    """64 x 96 input, 60 x 90 masks and predictions, two objects."""
    with torch.device("meta"):
        model = SWEM(
            key_encoder=R18,
            memory=dict(type="SWEMMemory", num_bases=16, topl=8),
            key_channels=32,
        )
    model = model.double().to_empty(device="cpu").eval()
    fill(model)
    frames = video()
    ids = torch.zeros(60, 90, dtype=torch.long)
    ids[10:40, 8:40], ids[20:55, 50:80] = 1, 2

    def near(found, expected, tolerance=1e-9):
        expected = torch.as_tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(torch.as_tensor(found), expected, rtol=tolerance, atol=1e-8)

    seen = {}
    for part in ("key_proj", "key_comp", "key_encoder", "value_encoder", "fusion"):
        model.get_submodule(part).register_forward_hook(
            lambda module, args, output, part=part: seen.__setitem__(part, output)
        )
    session = VOSSession(model, output_size=(60, 90))
    session.memory.init(em_golden.initial_keys(2, channels=32, bases=16))
    assert torch.equal(session.step(frames[0], ids).long(), ids)
    for part, total, absolute in (
        ("key_proj", -219.69051604633523, 907.371254660069),
        ("key_comp", 4877.156556802696, 14920.290978692548),
        ("value_encoder", 50858.37136067107, 58423.15515138065),
    ):
        near([seen[part].sum(), seen[part].abs().sum()], (total, absolute))
    near(
        [f.sum() for f in seen["key_encoder"]],
        (37376.940334721556, 18763.191191409423, 6632.605438245304),
    )
    for t, (context, sums, pixel, areas, state) in GOLDEN.items():
        found = session.step(frames[t], last=t == 3)
        near([seen["fusion"].sum(), seen["fusion"].abs().sum()], context)
        near(session.probabilities.sum(dim=(1, 2)), sums)
        near(session.probabilities[:, 30, 45], pixel)
        assert found.flatten().long().bincount().tolist() == areas
        if state is not None:
            memory = session.memory
            near([memory.zeta.sum(), memory.kappa.abs().sum(), memory.nu.abs().sum()], state)
