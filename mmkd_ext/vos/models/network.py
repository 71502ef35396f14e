"""The modules of SWEM and the steps of a frame, which training and streaming share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmkd_ext.precision import at_least_float32
from mmkd_ext.registry import MODELS, SCOPE

from ..frame_sizes import FrameSizes
from ..memory import VOSMemory, class_weights
from ..objects import ObjectIndex
from .aggregation import Aggregation
from .decoder import Decoder
from .fusion import Fusion
from .value_encoder import ValueEncoder


class FrameFeatures(NamedTuple):
    """What the key encoder makes of a frame.

    Attributes:
        key: (B, Ck, H / 16, W / 16), as the convolution leaves it.
        value: The frame's own value-like feature (B, Cv, H / 16, W / 16).
        f4, f8, f16: The encoder's maps.
    """

    key: Tensor
    value: Tensor
    f4: Tensor
    f8: Tensor
    f16: Tensor


class SWEMNetwork(BaseModel):
    """Encoders, fusion, decoder and aggregation, and how a frame passes through them.

    It holds no state of a video: that is the memory's, which :meth:`new_memory` makes. Its
    submodules fire once a frame and can be tapped: ``key_encoder`` (three maps), ``key_proj``,
    ``key_comp``, ``value_encoder``, ``fusion`` (context at stride 16), ``decoder.up_8_4`` (map at
    stride 4), ``decoder`` and ``aggregation`` (log-odds of background and objects). Through
    ``memorized`` go the masks that are memorised of a clip: with
    ``student_inputs='memorized(input)'`` a teacher memorises its student's masks.

    Args:
        key_encoder: Config of what gives the maps of stride 4, 8 and 16, such as
            :class:`~mmkd_ext.vos.models.trunk.ResNetTrunk` or a library's backbone.
        value_trunk: Arguments of the value encoder's trunk, a ResNet-18 with biases by default.
        memory: Config of the memory, ``'SWEMMemory'`` or ``'FrameMemory'``.
        key_channels: Ck.
        value_channels: Cv, and the width of the context.
        decoder_channels: Width of the decoder at strides 8 and 4.
        encoder_channels: Widths of the key encoder's maps; None asks its ``out_channels``.
        single_object: The value encoder does not see the other objects' masks.
        data_preprocessor, init_cfg: Of mmengine's ``BaseModel``.
    """

    def __init__(
        self,
        key_encoder: Mapping[str, Any],
        value_trunk: Mapping[str, Any],
        memory: Mapping[str, Any],
        key_channels: int,
        value_channels: int,
        decoder_channels: int,
        encoder_channels: Sequence[int] | None,
        single_object: bool,
        data_preprocessor: Any,
        init_cfg: Any,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.memory_cfg = dict(memory)
        similarity_channels = self.new_memory().similarity_channels
        self.key_encoder = build_part(key_encoder)
        widths = encoder_channels or getattr(self.key_encoder, "out_channels", None)
        if not isinstance(widths, Sequence) or len(widths) != 3:
            raise ValueError(
                f"SWEM: {type(self.key_encoder).__name__} does not say how wide its three maps "
                f"are; give encoder_channels=(f4, f8, f16), not {widths!r}"
            )
        f4, f8, f16 = widths
        self.key_proj = nn.Conv2d(f16, key_channels, 3, padding=1)
        nn.init.orthogonal_(self.key_proj.weight)
        nn.init.zeros_(self.key_proj.bias)
        self.key_comp = nn.Conv2d(f16, value_channels, 3, padding=1)
        self.value_encoder = ValueEncoder(f16, value_channels, value_trunk, single_object)
        self.fusion = Fusion(2 * value_channels + similarity_channels, value_channels)
        self.decoder = Decoder(value_channels, f8, f4, decoder_channels)
        self.aggregation = Aggregation()
        self.memorized = nn.Identity()

    def new_memory(self, seed: int | Sequence[int] | None = None) -> VOSMemory:
        """An empty memory, for one video or clip batch."""
        memory = build_part(self.memory_cfg)
        memory.reset(seed)
        return memory

    def encode(self, image: Tensor) -> FrameFeatures:
        """Key, value and maps of a normalised image (B, 3, H, W)."""
        f4, f8, f16 = self.key_encoder(image)
        return FrameFeatures(self.key_proj(f16), self.key_comp(f16), f4, f8, f16)

    def segment(
        self, features: FrameFeatures, memory: VOSMemory, sizes: FrameSizes, index: ObjectIndex
    ) -> Tensor:
        """Find the remembered objects in a frame.

        Returns:
            Log-odds (B, N + 1, *sizes.output), background first; float32 at least. Their softmax
            are the class probabilities.
        """
        readout, similarity = memory.read(features.key)
        context = self.fusion(
            index.gather(readout).to(features.value.dtype),
            index.expand(features.value),
            index.gather(similarity).to(features.value.dtype),
        )
        logits = self.decoder(context, features.f8, features.f4, index)
        logits = sizes.logits(at_least_float32(logits))
        return self.aggregation(index.scatter(logits).squeeze(2), index.valid)

    def memorize(
        self,
        memory: VOSMemory,
        image: Tensor,
        features: FrameFeatures,
        masks: Tensor,
        channels: Tensor,
        sizes: FrameSizes,
        index: ObjectIndex,
        given: bool,
    ) -> None:
        """Put a frame and its masks into the memory.

        Args:
            memory: Where to.
            image: The network's image (B, 3, *sizes.padded).
            features: Of that image.
            masks: Probabilities, or one-hot, (B, N + 1, *sizes.output), background first.
            channels: Where they are largest, (B, *sizes.output) int64.
            sizes: Of this frame.
            index: Which of the objects there are.
            given: The masks were given, and are no prediction: they are resized by nearest
                neighbour, and count at stride 16 as they are at the output's size.
        """
        seen = sizes.masks(masks, "nearest" if given else "bilinear")
        value = self.value_encoder(image, seen, features.f16, index)
        size = tuple(int(n) for n in features.key.shape[2:])
        # One map of numbers is resized, and not one map for each object.
        hard = F.interpolate(sizes.class_channels(channels[:, None].float()), size=size)[:, 0]
        hard = F.one_hot(hard.long(), masks.shape[1]).permute(0, 3, 1, 2)
        soft = sizes.class_masks(masks) if given else seen
        weights = class_weights(hard[:, 1:], soft.detach()[:, 1:], size)
        memory.memorize(features.key, value, weights)


def build_part(cfg: Mapping[str, Any]) -> Any:
    """Build from a config whose type may stand without our prefix, whatever the default scope."""
    return MODELS.build({"_scope_": SCOPE, **cfg})
