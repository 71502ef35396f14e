"""RAFT as an mmengine model, composed of torchvision's modules.

Source: Teed and Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020,
arXiv:2003.12039.

Shapes: B pairs, H, W = padded height and width, h, w = H / 8, W / 8.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import Tensor, nn
from torchvision.models.optical_flow._utils import make_coords_grid
from torchvision.models.optical_flow.raft import (
    FlowHead,
    MotionEncoder,
    RecurrentBlock,
    UpdateBlock,
)

from mmkd_ext.registry import MODELS

from ..data_preprocessor import FlowDataPreprocessor, unpad
from ..structures import FlowDataSample
from ..truth import stack_truth
from ..warm_start import forward_project
from .encoders import RAFTEncoder
from .state_dict import rename

TEST_CFG = ("iters", "warm_start")


class _Stream:
    """Where the sequence stands that is being tested; a copy of the model begins with none."""

    def __init__(self) -> None:
        self.sequence: str | None = None
        self.index = -1
        self.flow: Tensor | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _Stream:
        return _Stream()


@MODELS.register_module()
class RAFT(BaseModel):
    """Recurrent all-pairs field transforms; the defaults are the large network.

    Parameters have torchvision's names (``upsampler`` is its ``mask_predictor``). State dicts of
    torchvision and of the original load as well.

    Taps: ``feature_encoder`` and its parts (both images in one batch, the first ones first),
    ``context_encoder`` (first images), ``update_block.recurrent_block`` (hidden state, once an
    iteration), ``predictions`` (a tuple of all flows).

    Args:
        feature_encoder: Config of a module (N, 3, H, W) -> (N, C, h, w) with ``output_dim``.
        context_encoder: The same; its channels are the first hidden state, then the context.
        correlation: Config of a :class:`~mmkd_ext.flow.models.correlation.Correlation`.
        hidden_channels: Of the hidden state.
        motion_encoder: ``corr_layers``, ``flow_layers`` and ``out_channels`` of torchvision's.
        recurrent_kernels: Height and width of each convolutional GRU's kernels, one or two GRUs.
        flow_head_channels: Of the hidden layer that predicts the update.
        upsampler: Config of a module (flow, hidden) -> flow.
        loss: Config of the training loss.
        iters: Iterations in training.
        freeze_bn: Batch norms keep their statistics, also in training mode: as published, in every
            stage after FlyingChairs.
        test_cfg: ``iters`` of tests (default: as in training), and ``warm_start``: begin with the
            flow of the pair before, projected forward, where that is the same sequence's.
        data_preprocessor: Config or module; by default a
            :class:`~mmkd_ext.flow.data_preprocessor.FlowDataPreprocessor`.
        init_cfg: Of mmengine's ``BaseModel``.

    Raises:
        ValueError: Arguments that do not fit one another.
    """

    def __init__(
        self,
        feature_encoder: Mapping[str, Any] = {"type": "mmkd_ext.RAFTEncoder"},
        context_encoder: Mapping[str, Any] = {"type": "mmkd_ext.RAFTEncoder", "norm": "batch"},
        correlation: Mapping[str, Any] = {"type": "mmkd_ext.Correlation"},
        hidden_channels: int = 128,
        motion_encoder: Mapping[str, Any] = {},
        recurrent_kernels: Sequence[Sequence[int]] = ((1, 5), (5, 1)),
        flow_head_channels: int = 256,
        upsampler: Mapping[str, Any] = {"type": "mmkd_ext.ConvexUpsampler"},
        loss: Mapping[str, Any] = {"type": "mmkd_ext.SequenceLoss"},
        iters: int = 12,
        freeze_bn: bool = False,
        test_cfg: Mapping[str, Any] | None = None,
        data_preprocessor: Any = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(data_preprocessor or FlowDataPreprocessor(), init_cfg)
        unknown = set(test_cfg or {}) - set(TEST_CFG)
        if unknown:
            raise ValueError(f"RAFT: test_cfg has {' and '.join(TEST_CFG)}, not {sorted(unknown)}")
        self.test_cfg = {"iters": iters, "warm_start": False, **(test_cfg or {})}
        for name, value in (("iters", iters), ("test_cfg.iters", self.test_cfg["iters"])):
            _check_iters(name, value)
        self.feature_encoder = MODELS.build(feature_encoder)
        self.context_encoder = MODELS.build(context_encoder)
        self.correlation = MODELS.build({"dim": self.feature_encoder.output_dim, **correlation})
        context_channels = self.context_encoder.output_dim - hidden_channels
        if context_channels < 1:
            raise ValueError(
                f"RAFT: of the context encoder's {self.context_encoder.output_dim} channels "
                f"{hidden_channels} are the hidden state; none is left for the context"
            )
        motion = MotionEncoder(in_channels_corr=self.correlation.out_channels, **motion_encoder)
        recurrent = RecurrentBlock(
            input_size=motion.out_channels + context_channels,
            hidden_size=hidden_channels,
            kernel_size=tuple(tuple(kernel) for kernel in recurrent_kernels),
            padding=tuple(tuple(side // 2 for side in kernel) for kernel in recurrent_kernels),
        )
        self.update_block = UpdateBlock(
            motion_encoder=motion,
            recurrent_block=recurrent,
            flow_head=FlowHead(in_channels=hidden_channels, hidden_size=flow_head_channels),
        )
        self.upsampler = MODELS.build({"in_channels": hidden_channels, **upsampler})
        self.predictions = nn.Identity()  # a place to tap all flows at
        self.loss = MODELS.build(loss)
        self.iters, self.freeze_bn = iters, freeze_bn
        self._stream = _Stream()
        self._warned = False  # that a sequence had gaps
        self.register_load_state_dict_pre_hook(_translate)

    def forward(
        self, inputs: Tensor, data_samples: Sequence[Any] | None = None, mode: str = "tensor"
    ) -> dict[str, Tensor] | tuple[Tensor, ...] | list[FlowDataSample]:
        """Mmengine's entry.

        Args:
            inputs: (B, 2, 3, H, W), normalised; H and W are multiples of 8.
            data_samples: :class:`~mmkd_ext.flow.structures.FlowDataSample`, one a pair; with
                ground truth in mode ``'loss'``.
            mode: ``'tensor'``, ``'loss'`` or ``'predict'``.

        Returns:
            All flows, (B, 2, H, W) each, the last one the best; or ``loss_flow`` and ``epe`` (of
            the last flow, in pixels); or the samples with ``pred_flow`` and ``pred_flow_low``.

        Raises:
            ValueError: An unknown mode, or inputs that do not fit.
        """
        if mode == "predict":
            return self.predict(inputs, data_samples)
        if mode not in ("loss", "tensor"):
            raise ValueError(f"RAFT: mode is 'loss', 'tensor' or 'predict', not {mode!r}")
        flows, _ = self.estimate(inputs, self.iters if self.training else self.test_cfg["iters"])
        return flows if mode == "tensor" else self.losses(flows, data_samples)

    def estimate(
        self, inputs: Tensor, iters: int, start: Tensor | None = None, last_only: bool = False
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Estimate flow from the first images to the second.

        Args:
            inputs: (B, 2, 3, H, W), normalised.
            iters: Number of iterations.
            start: (B, 2, h, w) to begin with; None: 0.
            last_only: Upsample only the last flow.

        Returns:
            The flows (B, 2, H, W), and the last one before upsampling, (B, 2, h, w). Flow is kept
            in float32 at least, also under autocast.
        """
        _check_inputs(inputs)
        images = inputs.unbind(1)
        features = self.feature_encoder(torch.cat(images))
        volume = self.correlation(*features.chunk(2))
        sides = (self.update_block.hidden_state_size, self.context_encoder.output_dim)
        hidden, context = self.context_encoder(images[0]).split(
            [sides[0], sides[1] - sides[0]], dim=1
        )
        hidden, context = hidden.tanh(), context.relu()
        origin = make_coords_grid(len(inputs), *features.shape[2:], device=inputs.device)
        origin = origin.to(torch.promote_types(inputs.dtype, torch.float32))
        if start is not None and start.shape != origin.shape:
            raise ValueError(
                f"RAFT: the start is {tuple(origin.shape)}, an eighth of the padded images, not "
                f"{tuple(start.shape)}"
            )
        flow = torch.zeros_like(origin) if start is None else start.to(origin)
        flows = []
        for number in range(1, iters + 1):
            flow = flow.detach()  # as published: each iteration learns for itself
            found = volume.lookup(origin + flow)
            hidden, update = self.update_block(hidden, context, found, flow)
            flow = flow + update
            if number == iters or not last_only:
                flows.append(self.upsampler(flow, hidden))
        return self.predictions(tuple(flows)), flow

    def losses(
        self, flows: Sequence[Tensor], data_samples: Sequence[Any] | None
    ) -> dict[str, Tensor]:
        """``loss_flow``, and for the log ``epe``, the last flow's, in pixels; 0 where none is.

        A sample's flow may be unknown everywhere, not absent.
        """
        target, valid = stack_truth(data_samples, flows[-1])
        with torch.no_grad():
            error = (flows[-1] - target).norm(dim=1)
            epe = torch.where(valid, error, 0.0).sum() / valid.sum().clamp(min=1)
        return {"loss_flow": self.loss(flows, target, valid), "epe": epe}

    @torch.no_grad()
    def predict(
        self, inputs: Tensor, data_samples: Sequence[Any] | None = None
    ) -> list[FlowDataSample]:
        """Predict each pair's flow, in the images' own size.

        With ``warm_start`` pairs come one by one, in order; a sequence's first begins with 0.

        Returns:
            The samples with ``pred_flow`` (2, H, W) and ``pred_flow_low`` (2, h, w).

        Raises:
            ValueError: Several pairs at once, with ``warm_start``.
        """
        if data_samples is None:
            data_samples = [FlowDataSample() for _ in inputs]
        warm = self.test_cfg["warm_start"]
        start = self._start(data_samples) if warm else None
        flows, low = self.estimate(inputs, self.test_cfg["iters"], start, last_only=True)
        for sample, flow, small in zip(data_samples, flows[-1], low, strict=True):
            sample.pred_flow = unpad(flow, sample.get("pad", (0, 0, 0, 0)))
            sample.pred_flow_low = small
        if warm:
            stream, sample = self._stream, data_samples[0]
            stream.sequence, stream.index, stream.flow = sample.sequence, sample.index, low[0]
        return list(data_samples)

    def train(self, mode: bool = True) -> RAFT:
        """Set the mode; frozen batch norms stay in eval mode, and a sequence in test ends."""
        super().train(mode)
        if self.freeze_bn:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        self._stream = _Stream()
        return self

    def _start(self, data_samples: Sequence[Any]) -> Tensor | None:
        known = all("sequence" in sample and "index" in sample for sample in data_samples)
        if len(data_samples) != 1 or not known:
            raise ValueError(
                "RAFT: with warm_start a batch is one pair whose sample says `sequence` and "
                f"`index`, but got {len(data_samples)}; set batch_size=1 and "
                "sampler=dict(type='mmkd_ext.FlowSequenceSampler')"
            )
        sample, stream = data_samples[0], self._stream
        if stream.sequence != sample.sequence or sample.index != stream.index + 1:
            if sample.index > 0 and not self._warned:
                self._warned = True
                print_log(
                    f"RAFT: warm_start, but pair {sample.index} of {sample.sequence} came without "
                    "the pair before it and begins with 0; pairs come in order with "
                    "sampler=dict(type='mmkd_ext.FlowSequenceSampler')",
                    logger="current",
                    level=logging.WARNING,
                )
            return None
        return forward_project(stream.flow)[None]


def _check_iters(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"RAFT: {name} is an integer >= 1, not {value!r}")


def _check_inputs(inputs: Tensor) -> None:
    shape = tuple(inputs.shape)
    if len(shape) != 5 or shape[1:3] != (2, 3) or shape[3] % 8 or shape[4] % 8:
        raise ValueError(
            "RAFT: inputs are pairs of normalised images (B, 2, 3, H, W) whose sides are multiples "
            f"of 8, but got {shape}; FlowDataPreprocessor makes them so"
        )


def _translate(module: RAFT, state: dict[str, Any], prefix: str, *_: Any) -> None:
    convolutions = None
    if isinstance(module.feature_encoder, RAFTEncoder):
        block = module.feature_encoder.layer1[0]
        convolutions = 3 if hasattr(block, "convnormrelu3") else 2
    rename(state, prefix, convolutions)
