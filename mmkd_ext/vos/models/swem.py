"""SWEM as an mmengine model: trained on clips, tested frame by frame.

Source: Lin et al., "SWEM: Towards Real-Time Video Object Segmentation with Sequential Weighted
Expectation-Maximization", CVPR 2022, arXiv:2208.10128.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from mmkd_ext.registry import MODELS

from ..augmented_session import Session, open_session
from ..frame_sizes import FrameSizes
from ..objects import ObjectIndex
from .clip import Clip, clip_iou
from .network import SWEMNetwork, build_part


class _Stream:
    """The video that is being tested; a copy of the model begins with none."""

    def __init__(self) -> None:
        self.video: str | None = None
        self.session: Session | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Stream:
        return _Stream()


@MODELS.register_module()
class SWEM(SWEMNetwork):
    """Semi-supervised video object segmentation with a memory of constant size.

    Args:
        key_encoder, value_trunk, memory, key_channels, value_channels, decoder_channels: See
            :class:`~mmkd_ext.vos.models.network.SWEMNetwork`. The defaults are the published
            network.
        encoder_channels, single_object: As there.
        loss_ce: Config of the main loss.
        loss_iou: Config of the auxiliary loss, or None.
        memory_masks: What is memorised of the frames between first and last in training: the
            network's own ``'predicted'`` probabilities, or the ``'ground_truth'``, which feeds a
            teacher and its student alike.
        test_cfg: ``size`` and ``mem_every`` of the :class:`~mmkd_ext.vos.session.VOSSession`;
            ``scales`` and ``flip`` of :class:`~mmkd_ext.vos.augmented_session.AugmentedSession`.
        seed: To it the checksum of a video's name is added; the memory draws from the sum.
        data_preprocessor, init_cfg: Of mmengine's ``BaseModel``.
    """

    def __init__(
        self,
        key_encoder: Mapping[str, Any] = {"type": "ResNetTrunk", "depth": 50},
        value_trunk: Mapping[str, Any] = {"depth": 18},
        memory: Mapping[str, Any] = {"type": "SWEMMemory"},
        key_channels: int = 128,
        value_channels: int = 512,
        decoder_channels: int = 256,
        encoder_channels: Sequence[int] | None = None,
        single_object: bool = False,
        loss_ce: Mapping[str, Any] = {"type": "BootstrappedCELoss"},
        loss_iou: Mapping[str, Any] | None = {"type": "SoftIoULoss"},
        memory_masks: Literal["predicted", "ground_truth"] = "predicted",
        test_cfg: Mapping[str, Any] | None = None,
        seed: int = 0,
        data_preprocessor: Any = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(
            key_encoder,
            value_trunk,
            memory,
            key_channels,
            value_channels,
            decoder_channels,
            encoder_channels,
            single_object,
            data_preprocessor,
            init_cfg,
        )
        if memory_masks not in ("predicted", "ground_truth"):
            raise ValueError(
                f"SWEM: memory_masks is 'predicted' or 'ground_truth', not {memory_masks!r}"
            )
        unknown = set(test_cfg or {}) - {"size", "mem_every", "scales", "flip"}
        if unknown:
            raise ValueError(
                f"SWEM: test_cfg has size, mem_every, scales and flip, not {sorted(unknown)}"
            )
        self.loss_ce = build_part(loss_ce)
        self.loss_iou = None if loss_iou is None else build_part(loss_iou)
        self.memory_masks = memory_masks
        self.test_cfg = dict(test_cfg or {})
        self.seed = seed
        self.new_session("")  # refuses wrong options before a video begins
        self._stream = _Stream()

    def forward(
        self, inputs: Any, data_samples: Sequence[Any] | None = None, mode: str = "tensor"
    ) -> dict[str, Tensor] | list[Any]:
        """Mmengine's entry.

        Args:
            inputs: Clips (B, T, 3, H, W), normalised; in mode 'predict' one frame, (1, 3, H, W) or
                a list of one (3, H, W).
            data_samples: :class:`~mmkd_ext.vos.structures.VOSDataSample`, one a clip or frame.
            mode: ``'loss'``; ``'tensor'``, which runs through the clip just so and returns the
                aggregated log-odds, a list of T - 1 tensors (B, N + 1, H, W); or ``'predict'``.
                Only ``'tensor'`` works without masks, for a dry run.

        Returns:
            Losses, log-odds, or the data samples with ``pred_mask``.

        Raises:
            ValueError: An unknown mode, or inputs that do not fit.
        """
        if mode == "predict":
            return self.predict(inputs, data_samples)
        if mode not in ("loss", "tensor"):
            raise ValueError(f"SWEM: mode is 'loss', 'tensor' or 'predict', not {mode!r}")
        clip = Clip.of(inputs, data_samples, needs_masks=mode == "loss")
        logits = self.run_clip(clip)
        return logits if mode == "tensor" else self.clip_losses(clip, logits)

    def run_clip(self, clip: Clip) -> list[Tensor]:
        """Give the first frame's masks and find the objects in the others.

        Each frame between is memorised with what ``memory_masks`` says; the predictions carry
        gradients through the whole clip.

        Returns:
            For frames 1 .. T - 1 the aggregated log-odds (B, N + 1, H, W).
        """
        size = tuple(clip.frames.shape[3:])
        sizes = FrameSizes.of(size, size, divisor=1)
        index = ObjectIndex(*clip.valid.shape, clip.valid, clip.frames.device)
        memory = self.new_memory(clip.seeds(self.seed))
        outputs: list[Tensor] = []
        for t in range(clip.length):
            image = clip.frames[:, t]
            features = self.encode(image)
            if t > 0:
                outputs.append(self.segment(features, memory, sizes, index))
            if t + 1 < clip.length:
                given = t == 0 or self.memory_masks == "ground_truth"
                masks = self.memorized(clip.masks(t) if given else outputs[-1].softmax(dim=1))
                channels = masks.detach().argmax(dim=1)
                self.memorize(memory, image, features, masks, channels, sizes, index, given)
        return outputs

    def clip_losses(self, clip: Clip, logits: Sequence[Tensor]) -> dict[str, Tensor]:
        """``loss_ce``, ``loss_iou`` and ``J``, the objects' mean IoU, of a clip's predictions."""
        scores, target = torch.stack(list(logits), dim=1), clip.ids[:, 1:]
        channels = clip.channels
        results = {"loss_ce": self.loss_ce(scores, target, channels)}
        if self.loss_iou is not None:
            results["loss_iou"] = self.loss_iou(scores, target, channels)
        results["J"] = clip_iou(scores, target, clip.valid)
        return results

    @torch.no_grad()
    def predict(self, inputs: Any, data_samples: Sequence[Any] | None) -> list[Any]:
        """Take the next frame of a video; frames come in order, one a call.

        A session begins at ``is_first``, where also another one ends, and is dropped at
        ``is_last``. Results do not depend on which videos came before.

        Returns:
            The data samples with ``pred_mask`` (ori_shape) uint8.

        Raises:
            ValueError: More than one frame, or a video that was not begun.
        """
        if data_samples is None or len(data_samples) != 1 or len(inputs) != 1:
            raise ValueError(
                "SWEM is tested frame by frame: a batch is one frame and its data sample, but got "
                f"{len(inputs)} frames and "
                f"{'no' if data_samples is None else len(data_samples)} data samples; set "
                "batch_size=1"
            )
        sample, stream = data_samples[0], self._stream
        video = str(sample.video)
        if sample.is_first:
            stream.video = video
            stream.session = self.new_session(video, output_size=tuple(sample.ori_shape[:2]))
        if stream.session is None or stream.video != video:
            raise ValueError(
                f"SWEM.predict: frame {getattr(sample, 'frame', '?')!r} of video {video!r} came "
                f"while {stream.video!r} was running; the sampler must hand whole videos, in "
                "order, to one process"
            )
        image = inputs[0]
        mask = sample.given_mask if "given_mask" in sample else None
        try:
            sample.pred_mask = stream.session.step(
                image.squeeze(0) if image.ndim == 4 else image, mask, last=bool(sample.is_last)
            )
        except ValueError as error:
            where = f"video {video!r}, frame {getattr(sample, 'frame', '?')!r}"
            raise ValueError(f"{where}: {error}") from error
        if sample.is_last:
            self._stream = _Stream()
        return list(data_samples)

    def new_session(self, video: str, **options: Any) -> Session:
        """A session of a video, as in testing.

        Args:
            video: Its name, from which the memory's seed follows.
            options: Of :func:`~mmkd_ext.vos.augmented_session.open_session`, in place of what
                ``test_cfg`` says.
        """
        seed = self.seed + zlib.crc32(video.encode())
        return open_session(self, **{**self.test_cfg, "seed": seed, **options})

    def train(self, mode: bool = True) -> SWEM:
        """Set the mode; training ends a video that was being tested."""
        if mode:
            self._stream = _Stream()
        return super().train(mode)
