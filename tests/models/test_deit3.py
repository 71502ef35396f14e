"""Our DeiT-III: mmpretrain's parameters, the architecture of the paper."""

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models.backbones.deit3 import DeiT3 as StockDeiT3

from mmkd_ext.models.deit3 import DeiT3

ARCH = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)

pytestmark = pytest.mark.filterwarnings("ignore:The `use_layer_scale`")


def backbone(cls=DeiT3):
    torch.manual_seed(0)
    model = cls(arch=dict(ARCH), img_size=32, patch_size=8, out_type="raw")
    model.eval()  # mmpretrain's backbones return None from it
    return model


def randomised(model):
    """Norms and layer scales away from their initial constants, so that each matters."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) - 0.5)
    return model


def paper_forward(model, images):
    """DeiT-III written out from its paper, on the model's parameters."""
    p = dict(model.named_parameters())
    heads, width = ARCH["num_heads"], ARCH["embed_dims"]

    def linear(x, name):
        return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])

    def norm(x, name):
        return F.layer_norm(x, (width,), p[f"{name}.weight"], p[f"{name}.bias"], eps=1e-6)

    kernel = p["patch_embed.projection.weight"]
    x = F.conv2d(images, kernel, p["patch_embed.projection.bias"], stride=8)
    x = x.flatten(2).transpose(1, 2) + p["pos_embed"]
    x = torch.cat([p["cls_token"].expand(len(x), -1, -1), x], dim=1)
    for i in range(ARCH["num_layers"]):
        at = f"layers.{i}"
        n, length = x.shape[:2]
        qkv = linear(norm(x, f"{at}.ln1"), f"{at}.attn.qkv")
        q, k, v = qkv.view(n, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(-2, -1) * (width // heads) ** -0.5).softmax(-1) @ v
        attention = linear(attention.transpose(1, 2).reshape(n, length, width), f"{at}.attn.proj")
        x = x + p[f"{at}.attn.gamma1.weight"] * attention
        hidden = F.gelu(linear(norm(x, f"{at}.ln2"), f"{at}.ffn.layers.0.0"))
        x = x + p[f"{at}.ffn.gamma2.weight"] * linear(hidden, f"{at}.ffn.layers.1")
    return norm(x, "ln1")


def test_it_computes_what_the_paper_says_with_every_parameter_in_use():
    model = randomised(backbone())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    (tokens,) = model(images)
    assert tokens.shape == (2, 17, 16)
    torch.testing.assert_close(tokens, paper_forward(model, images), rtol=1e-4, atol=1e-5)
    tokens.square().sum().backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None]
    assert not unused


def test_parameters_and_initial_weights_are_those_of_mmpretrain():
    ours, stock = backbone().state_dict(), backbone(StockDeiT3).state_dict()
    assert list(ours) == list(stock)
    assert all(torch.equal(ours[key], stock[key]) for key in stock)
