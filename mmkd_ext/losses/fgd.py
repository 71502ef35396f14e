"""Focal and global distillation of detectors.

Source: Yang et al., "Focal and Global Knowledge Distillation for Detectors", CVPR 2022,
arXiv:2111.11837. The global context block is that of Cao et al., "GCNet", arXiv:1904.11492.

Shapes: N batch, C channels of the teacher's map (and of the student's behind ``align``), H and W
height and width in cells.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmkd_ext.registry import MODELS

from .aligned_maps import AlignedMapLoss
from .base import run_module
from .boxes import box_masks, boxes_from_samples
from .checks import check_maps, check_temperature
from .maps import Resize, sse_per_sample


def fgd_attention(feature: Tensor, temperature: float = 0.5) -> tuple[Tensor, Tensor]:
    r"""Where, and in which channels, a map is large in magnitude.

    .. math:: A^S = H W\, \mathrm{softmax}_{h, w}\!\Big(\frac1{C T} \sum_c |F_c|\Big), \qquad
        A^C = C\, \mathrm{softmax}_c\!\Big(\frac1{H W T} \sum_{h, w} |F_{h, w}|\Big)

    Args:
        feature: F, (N, C, H, W).
        temperature: T > 0.

    Returns:
        Spatial attention (N, 1, H, W) and channel attention (N, C, 1, 1), each of mean 1.
    """
    batch, channels, height, width = feature.shape
    magnitude = feature.abs()
    spatial = F.softmax(magnitude.mean(dim=1).flatten(1) / temperature, dim=1)
    channel = F.softmax(magnitude.mean(dim=(2, 3)) / temperature, dim=1)
    return (
        height * width * spatial.view(batch, 1, height, width),
        channels * channel.view(batch, channels, 1, 1),
    )


def fgd_focal_loss(
    student_map: Tensor,
    teacher_map: Tensor,
    foreground: Tensor,
    scale: Tensor,
    temperature: float = 0.5,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""The three terms of focal distillation, unweighted.

    With M the foreground, S the scale and the attention A of both networks,

    .. math:: L_{fg} = \frac1N \sum M S A_t^S A_t^C (T - F)^2, \quad
        L_{bg} = \frac1N \sum (1 - M) S A_t^S A_t^C (T - F)^2, \quad
        L_{at} = \frac1N \sum |A_t^S - A_s^S| + |A_t^C - A_s^C|

    Args:
        student_map: F, (N, C, H, W), behind ``align``.
        teacher_map: T, (N, C, H, W), taken as constant.
        foreground: M, (N, H, W) bool, see :func:`box_masks`.
        scale: S, (N, H, W).
        temperature: Temperature of :func:`fgd_attention`.

    Returns:
        Foreground, background and attention term, scalars.

    Raises:
        ValueError: The shapes differ.
    """
    check_maps("fgd_focal_loss", student_map, teacher_map)
    cells = (student_map.shape[0], *student_map.shape[2:])
    if foreground.shape != cells or scale.shape != cells:
        raise ValueError(
            f"fgd_focal_loss: foreground {tuple(foreground.shape)} and scale {tuple(scale.shape)} "
            f"must be {cells} for maps {tuple(student_map.shape)}"
        )
    batch, teacher_map = student_map.shape[0], teacher_map.detach()
    spatial, channel = fgd_attention(teacher_map, temperature)
    spatial_student, channel_student = fgd_attention(student_map, temperature)
    error = (channel * (teacher_map - student_map).square()).sum(dim=1)
    error = error * spatial.squeeze(1) * scale / batch
    attention = (spatial - spatial_student).abs().sum() + (channel - channel_student).abs().sum()
    return (error * foreground).sum(), (error * ~foreground).sum(), attention / batch


class ContextBlock(nn.Module):
    r"""Add to every cell what the whole map says: the relation of FGD's global distillation.

    .. math:: R(F) = F + W_2\, \mathrm{ReLU}\Big(\mathrm{LN}\Big(W_1 \sum_p
        \mathrm{softmax}_p(W_k F)_p\, F_p\Big)\Big)

    with W_k: C -> 1, W_1: C -> C / 2 and W_2: C / 2 -> C. W_2 starts at zero, R as the identity.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // 2, 1)
        # Without a bias, which a softmax would not feel.
        self.mask = nn.Conv2d(channels, 1, kernel_size=1, bias=False)
        self.transform = nn.Sequential(
            nn.Conv2d(channels, hidden, kernel_size=1),
            nn.LayerNorm([hidden, 1, 1]),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, kernel_size=1),
        )
        nn.init.kaiming_normal_(self.mask.weight, mode="fan_in", nonlinearity="relu")
        nn.init.zeros_(self.transform[-1].weight)
        nn.init.zeros_(self.transform[-1].bias)

    def forward(self, feature: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        weights = F.softmax(self.mask(feature).flatten(2), dim=2)
        context = torch.matmul(feature.flatten(2), weights.transpose(1, 2))
        return feature + self.transform(context.unsqueeze(3))


@MODELS.register_module()
class FGDLoss(AlignedMapLoss):
    r"""Focal and global distillation of one level of a detector's feature pyramid.

    Returns four terms: ``foreground``, ``background`` and ``attention``, see
    :func:`fgd_focal_loss`, and ``context``, with a :class:`ContextBlock` R of each network, both
    trained:

    .. math:: L = \alpha L_{fg} + \beta L_{bg} + \gamma L_{at}
        + \lambda \frac1N \sum (R_t(T) - R_s(A(S)))^2

    A is the 1 x 1 ``align`` convolution (only if the channels differ). All are sums over cells (and
    channels) divided by the batch size N: they grow with the map, choose the weights accordingly.

    Student and teacher tap: (N, C_s, H, W) and (N, C_t, H, W), such as
    'neck.fpn_convs.{0-4}.conv'. Uses the ground-truth boxes of the data samples, see
    :func:`boxes_from_samples`, on the map as :func:`box_masks` says. Padding, and an image without
    boxes, are background.

    Args:
        student_channels: C_s; inferred by a Distiller.
        teacher_channels: C_t; inferred by a Distiller.
        alpha: Weight of the foreground. Published, here and below, in this order: 1e-3 (RetinaNet,
            GFL), 1.6e-3 (RepPoints; FCOS, with a temperature of 0.8), 5e-5 (two-stage).
        beta: Weight of the background. Published: 5e-4, 8e-4, 2.5e-5.
        gamma: Weight of the attention. Published: 5e-4, 8e-4, 5e-5.
        lambda_: Weight of the context. Published: 5e-6, 8e-6, 5e-7.
        temperature: T of the attention. Published: 0.5.
        resize: Whose map to interpolate where sizes differ (after ``align``); None makes a
            difference an error.
    """

    def __init__(
        self,
        student_channels: int | None = None,
        teacher_channels: int | None = None,
        alpha: float = 1e-3,
        beta: float = 5e-4,
        gamma: float = 5e-4,
        lambda_: float = 5e-6,
        temperature: float = 0.5,
        resize: Resize = None,
    ) -> None:
        weights = {"foreground": alpha, "background": beta, "attention": gamma, "context": lambda_}
        super().__init__(student_channels, teacher_channels, weights, resize)
        check_temperature(self.name, temperature)
        self.temperature = temperature
        self.student_context = ContextBlock(teacher_channels)
        self.teacher_context = ContextBlock(teacher_channels)

    def compute(self, student: Tensor, teacher: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """All terms of one firing."""
        student, teacher = self.matched(student, teacher)
        foreground, background, attention = fgd_focal_loss(
            student, teacher, *self._masks(data_samples, student), self.temperature
        )
        context = sse_per_sample(
            run_module(self.student_context, student), run_module(self.teacher_context, teacher)
        )
        return {
            "foreground": foreground,
            "background": background,
            "attention": attention,
            "context": context,
        }

    def _masks(self, data_samples: Any, like: Tensor) -> tuple[Tensor, Tensor]:
        """Foreground and scale of the batch, (N, H, W) each."""
        try:
            images = boxes_from_samples(data_samples)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None
        if len(images) != like.shape[0]:
            raise ValueError(
                f"{self.name}: {len(images)} data samples, but maps of batch size {like.shape[0]} "
                f"{tuple(like.shape)}; tap a module that sees every image once"
            )
        masks = [
            box_masks(boxes.to(like), image_shape, tuple(like.shape[2:]))
            for boxes, image_shape in images
        ]
        foreground, scale = zip(*masks, strict=True)
        return torch.stack(foreground), torch.stack(scale)
