"""Ground-truth labels, hard or mixed, in the forms that the logit losses need.

A *hard* target is (N,) class indices. A *soft* target is (N, C) label weights, as Mixup and CutMix
make them: a row sums to 1 and has one or two non-zero entries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

SoftPolicy = Literal["argmax", "top2", "mix"]


def labels_from_samples(data_samples: Any, num_classes: int) -> Tensor:
    """Labels of a batch of data samples.

    Args:
        data_samples: A sequence of N samples with ``gt_score`` (num_classes,), as there is after
            Mixup and CutMix, or else ``gt_label`` (one class index), as attributes or keys; or the
            labels themselves as one tensor.
        num_classes: C, the width of the logits.

    Returns:
        (N, C) label weights if the samples have ``gt_score``, else (N,) int64 class indices.

    Raises:
        ValueError: There are no labels, more than one per image, or scores of another width.
    """
    if isinstance(data_samples, Tensor):
        return data_samples
    if data_samples is None or not isinstance(data_samples, Sequence) or not len(data_samples):
        raise ValueError(
            "this loss needs labels, but there are no data samples; is the batch unlabelled?"
        )
    scores = [field_of(sample, "gt_score") for sample in data_samples]
    if all(score is not None for score in scores):
        if any(tuple(score.shape) != (num_classes,) for score in scores):
            shapes = sorted({tuple(score.shape) for score in scores})
            raise ValueError(
                f"gt_score has shape {shapes[0] if len(shapes) == 1 else shapes}, but the logits "
                f"have {num_classes} classes; correct num_classes of the head or data_preprocessor"
            )
        return torch.stack(scores)
    labels = [field_of(sample, "gt_label") for sample in data_samples]
    if any(label is None for label in labels):
        raise ValueError(
            "this loss needs labels, but a data sample has neither gt_label nor gt_score"
        )
    labels = [torch.as_tensor(label).reshape(-1) for label in labels]
    if any(label.numel() != 1 for label in labels):
        raise ValueError("this loss needs one label per image; multi-label data is not supported")
    return torch.cat(labels).long()


def is_soft(target: Tensor) -> bool:
    """Whether the target is (N, C) label weights rather than (N,) class indices."""
    return target.ndim == 2


def hard_labels(target: Tensor) -> Tensor:
    """(N,) class indices: the target's own, or the class of largest weight."""
    return target.argmax(dim=1) if is_soft(target) else target.long()


def labels_by_policy(
    target: Tensor, dtype: torch.dtype, policy: SoftPolicy
) -> tuple[Tensor, Tensor]:
    """The labels that a target means to a loss, largest weight first.

    Args:
        target: (N,) class indices or (N, C) label weights.
        dtype: Dtype of the weights to return.
        policy: What a soft target means. ``'argmax'``: its largest class, weight 1. ``'top2'``: its
            two largest with their weights. ``'mix'``: the same, but the weights sum to 1. A hard
            target means its label with weight 1 in any case.

    Returns:
        Weights (N, K) and class indices (N, K), K is 1 or 2.
    """
    if not is_soft(target) or policy == "argmax":
        labels = hard_labels(target)[:, None]
        return torch.ones_like(labels, dtype=dtype), labels
    values, labels = target.topk(2, dim=1)
    values = values.to(dtype)
    if policy == "mix":
        values = values / values.sum(dim=1, keepdim=True)
    return values, labels


def distribution(target: Tensor, num_classes: int, dtype: torch.dtype) -> Tensor:
    """(N, C) label weights: the target's own, or one-hot rows."""
    if is_soft(target):
        return target.to(dtype)
    return torch.nn.functional.one_hot(target.long(), num_classes).to(dtype)


def without_columns(logits: Tensor, labels: Tensor) -> Tensor:
    """Remove columns, each row its own, keeping the order of the rest.

    Built from indices and not from a boolean mask, whose data-dependent shape would make an
    accelerator wait for the host once a call.

    Args:
        logits: (N, C).
        labels: (N, K) distinct columns to remove from each row.

    Returns:
        (N, C - K).
    """
    rest = logits.shape[1] - labels.shape[1]
    index = torch.arange(rest, device=logits.device).expand(logits.shape[0], rest)
    for column in labels.sort(dim=1).values.split(1, dim=1):
        index = index + (index >= column)
    return logits.gather(1, index)


def field_of(sample: Any, name: str) -> Any:
    """A data sample's field, an attribute or a key; None if it has none."""
    if isinstance(sample, Mapping):
        return sample.get(name)
    return getattr(sample, name, None)
