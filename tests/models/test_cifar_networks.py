"""The networks of the CIFAR literature: sizes as published, maps as promised, clear errors."""

import pytest
import torch
from mmengine.logging import MMLogger

from mmkd_ext.models import MobileNetV1, ResNetCifar, WideResNet

X4 = (32, 64, 128, 256)


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_resnet_20_has_the_size_of_the_paper():
    # Table 6 of arXiv:1512.03385: 0.27 M and 0.85 M with a 10-way head; ours has 1x1 convolutions
    # and norms in its two widening shortcuts, which are 64 * 32 + 32 * 16 + 192 weights more.
    shortcuts = 64 * 32 + 32 * 16 + 2 * (64 + 32)
    assert round((parameters(ResNetCifar(20)) - shortcuts + 650) / 1e6, 2) == 0.27
    assert round((parameters(ResNetCifar(56)) - shortcuts + 650) / 1e6, 2) == 0.85


def test_wide_resnets_have_the_size_of_the_paper():
    # Table 4 of arXiv:1605.07146, with a 10-way head: WRN-40-1 0.6 M, WRN-40-2 2.2 M; table 9 of
    # the distillation literature's networks, WRN-16-2, 0.7 M.
    assert round((parameters(WideResNet(40, 1)) + 650) / 1e6, 1) == 0.6
    assert round((parameters(WideResNet(40, 2)) + 1290) / 1e6, 1) == 2.2
    assert round((parameters(WideResNet(16, 2)) + 1290) / 1e6, 1) == 0.7


def test_mobilenet_v1_has_the_size_of_the_paper():
    # Table 8 of arXiv:1704.04861: 4.2 M with a 1000-way head, at a width of 1, and 1.3 M at 0.5.
    assert round((parameters(MobileNetV1()) + 1025 * 1000) / 1e6, 1) == 4.2
    assert round((parameters(MobileNetV1(0.5)) + 513 * 1000) / 1e6, 1) == 1.3


@pytest.mark.parametrize(
    ("network", "channels"),
    [
        (ResNetCifar(8, X4, out_indices=(0, 1, 2)), (64, 128, 256)),
        (WideResNet(10, 2, out_indices=(0, 1, 2)), (32, 64, 128)),
    ],
    ids=["resnet", "wrn"],
)
def test_maps_have_strides_1_2_4(network, channels):
    maps = network(torch.rand(2, 3, 32, 48))
    assert [tuple(m.shape) for m in maps] == [
        (2, c, 32 // s, 48 // s) for c, s in zip(channels, (1, 2, 4), strict=True)
    ]
    assert maps[-1].min() >= 0  # both end rectified


def test_mobilenet_v1_halves_five_times():
    maps = MobileNetV1(out_indices=range(5)).eval()(torch.rand(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (64, 32, 48),
        (128, 16, 24),
        (256, 8, 12),
        (512, 4, 6),
        (1024, 2, 3),
    ]


def test_a_residual_block_adds_its_input():
    torch.manual_seed(0)
    block = ResNetCifar(8).eval().layer1[0]
    x = torch.rand(1, 16, 8, 8)
    with torch.no_grad():
        block.bn2.weight.zero_()
        assert torch.equal(block(x), x)
        wide = WideResNet(10).eval().layer1[0]
        wide.conv2.weight.zero_()
        assert torch.equal(wide(x - 0.5), x - 0.5)


def test_weights_are_drawn_as_said():
    MMLogger.get_instance("mmengine").setLevel("ERROR")
    torch.manual_seed(0)
    network = ResNetCifar(8, X4)
    network.init_weights()
    weight = network.layer3[0].conv2.weight  # fan out 256 * 9
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.02)


def test_mobilenet_v1_freezes_what_it_is_told():
    network = MobileNetV1(frozen_stages=2).train()
    frozen = {name.split(".")[0] for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {"conv1", "layer1", "layer2"}
    norm = network.layer1[0][0][1]
    before = norm.running_mean.clone()
    network(torch.rand(2, 3, 32, 32))
    assert torch.equal(norm.running_mean, before)
    assert network.layer3[0][0][1].training
    assert not MobileNetV1(norm_eval=True).train().layer3[0][0][1].training


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ResNetCifar(18), "ResNetCifar: depth is 6n + 2 with n >= 1, but got 18"),
        (lambda: WideResNet(4), "WideResNet: depth is 6n + 4 with n >= 1, but got 4"),
        (lambda: ResNetCifar(8, (16, 32, 64)), "stem and three stages"),
        (lambda: ResNetCifar(8, out_indices=(3,)), "out_indices are of 0, 1, 2"),
        (lambda: WideResNet(10, 0), "stem and three stages"),
        (lambda: MobileNetV1(out_indices=(5,)), "out_indices are of 0..4"),
        (lambda: MobileNetV1(frozen_stages=6), "frozen_stages is -1..5"),
    ],
)
def test_bad_arguments(build, words):
    with pytest.raises(ValueError, match=words.replace("+", r"\+")):
        build()


def test_mobile_networks_keep_more_of_a_small_image():
    from mmkd_ext.models.cifar_mobile import (
        MobileNetV2Cifar,
        ShuffleNetV1Cifar,
        ShuffleNetV2Cifar,
    )

    x = torch.rand(2, 3, 32, 32)
    shapes = {
        ShuffleNetV1Cifar(groups=3): (2, 960, 4, 4),
        ShuffleNetV2Cifar(): (2, 1024, 4, 4),
        MobileNetV2Cifar(widen_factor=0.5): (2, 1280, 2, 2),
    }
    for network, shape in shapes.items():
        assert tuple(network(x)[-1].shape) == shape, type(network).__name__
