"""Sizes of a frame: what the network sees, and the way back."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmkd_ext.vos.frame_sizes import FrameSizes, network_size


@pytest.mark.parametrize(
    ("image", "size", "expected"),
    [
        ((480, 854), None, (480, 854)),
        ((480, 910), (480, 864), (480, 864)),
        ((720, 1280), 480, (480, 848)),  # 853.3: 5 above a multiple, down
        ((1080, 1440), 480, (480, 640)),
        ((1280, 720), 480, (848, 480)),
        ((488, 487), 480, (480, 480)),
        ((360, 472), 480, (368, 480)),  # smaller: 360 and 472 are 8 above a multiple, up
        ((10, 20), 480, (16, 16)),
    ],
)
def test_network_size(image, size, expected):
    assert network_size(image, size) == expected


@pytest.mark.parametrize("size", [0, 15, True, (480,), (480, 0), 480.0])
def test_a_size_that_is_none(size):
    with pytest.raises(ValueError, match=r"size is None, \(height, width\) or the short side"):
        network_size((480, 854), size)


def test_stretched_and_not_padded():
    """The published test: 480 x 864 whatever the video, predictions at the video's size."""
    sizes = FrameSizes.of((32, 64), (30, 50))
    image, masks = torch.randn(1, 3, 30, 50), torch.rand(1, 3, 30, 50)
    expected = F.interpolate(image, size=(32, 64), mode="bicubic", align_corners=False)
    assert torch.equal(sizes.image(image), expected)
    assert torch.equal(sizes.masks(masks, "nearest"), F.interpolate(masks, size=(32, 64)))
    assert sizes.class_masks(masks) is masks
    channels = masks.argmax(dim=1, keepdim=True)
    assert sizes.class_channels(channels) is channels
    logits = torch.randn(2, 1, 8, 16)
    expected = F.interpolate(logits, size=(30, 50), mode="bilinear", align_corners=False)
    assert torch.equal(sizes.logits(logits), expected)


def test_padded_with_background_and_cut_off_again():
    sizes = FrameSizes.of((30, 50), (30, 50))
    assert sizes.padded == (32, 64)
    image = torch.randn(1, 3, 30, 50)
    padded = sizes.image(image)
    assert padded.shape == (1, 3, 32, 64)
    assert torch.equal(padded[..., :30, :50], image)
    assert padded[..., 30:, :].count_nonzero() == padded[..., 50:].count_nonzero() == 0
    masks = torch.rand(1, 3, 30, 50)
    for found in (sizes.masks(masks, "bilinear"), sizes.class_masks(masks)):
        assert torch.equal(found[..., :30, :50], masks)
        for margin in (found[..., 30:, :], found[..., 50:]):
            assert margin[:, 0].min() == 1
            assert margin[:, 1:].count_nonzero() == 0
    logits = torch.randn(2, 1, 8, 16)
    whole = F.interpolate(logits, size=(32, 64), mode="bilinear", align_corners=False)
    assert torch.equal(sizes.logits(logits), whole[..., :30, :50])


def test_stretched_and_padded():
    sizes = FrameSizes.of((24, 40), (12, 20))
    assert sizes.image(torch.randn(1, 3, 12, 20)).shape == (1, 3, 32, 48)
    masks = torch.zeros(1, 2, 12, 20)
    masks[:, 0, :6], masks[:, 1, 6:] = 1, 1
    seen = sizes.masks(masks, "nearest")
    assert seen.shape == (1, 2, 32, 48)
    assert seen[0, 1, 12:24, :40].min() == 1
    assert seen[0, 1].sum() == 12 * 40
    assert torch.equal(seen.sum(dim=1), torch.ones(1, 32, 48))
    channels = sizes.class_channels(masks.argmax(dim=1, keepdim=True).float())
    assert torch.equal(channels[:, 0], seen.argmax(dim=1).float())
    # A ramp of logits arrives where it belongs.
    ramp = torch.arange(12.0).expand(1, 1, 8, 12)
    found = sizes.logits(ramp)[0, 0, 0]
    assert found.shape == (20,)
    centre = (torch.arange(20.0) + 0.5) * 2 / 4 - 0.5  # of an output pixel, in cells of stride 4
    torch.testing.assert_close(found[2:], centre[2:])
