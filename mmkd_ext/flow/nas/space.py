"""The search space of FlowNAS: which genotypes there are, and what they cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from random import Random
from typing import Any

from torch import nn

from mmkd_ext.registry import MODELS

from .architecture import block_shapes
from .costs import encoder_macs, encoder_params, published_encoder_params
from .genotype import GENES, Genotype

Choices = Sequence[Sequence[int]]


@MODELS.register_module()
class FlowNASSpace:
    """Encoders of six stages of inverted residual blocks behind a fixed stem.

    Without arguments it is the published space of 80,621,568 genotypes. A genotype is a dict of
    four tuples, ``width, kernel_size, depth, expand_ratio``, with one number a stage; lists, as
    JSON gives them, are taken, too. Both encoders of a network, that of the features and that of
    the context, have the same genotype.

    A space can be pickled, compared with ``==``, and is built again from :meth:`to_dict`.

    Args:
        widths: Choices of the channels, for every stage. So are the other three.
        kernel_sizes: Choices of the depthwise kernel, odd.
        depths: Choices of the number of blocks.
        expand_ratios: Choices of the channels within a block, as a multiple of its input's.
        strides: Of the first block of every stage, 1 or 2. The stem has stride 2, all together 8.
        stem_width: Channels of the stem.
        feature_dim: Channels that the feature encoder gives (``output_dim``).
        context_dim: Channels that the context encoder gives: hidden state and context.
        rest_params: Parameters of the flow network outside its encoders; the default is RAFT's
            update block. :func:`rest_params` counts those of a network.

    Raises:
        ValueError: Choices that make no network.
    """

    def __init__(
        self,
        widths: Choices = (
            (56, 64),
            (64, 72),
            (88, 96),
            (96, 104, 112),
            (112, 120, 128),
            (128, 136),
        ),
        kernel_sizes: Choices = ((3, 5),) * 6,
        depths: Choices = ((1, 2), (1, 2, 3), (1, 2, 3), (1, 2, 3), (2, 3, 4), (1, 2)),
        expand_ratios: Choices = ((1,), (1, 2, 4), (4, 5, 6), (4, 5, 6), (6,), (6,)),
        strides: Sequence[int] = (1, 1, 2, 1, 2, 1),
        stem_width: int = 64,
        feature_dim: int = 256,
        context_dim: int = 256,
        rest_params: int = 3_120_960,
    ) -> None:
        given = (widths, kernel_sizes, depths, expand_ratios)
        names = ("widths", "kernel_sizes", "depths", "expand_ratios")
        self.strides = tuple(strides)
        if math.prod(self.strides) != 4 or not {1, 2} >= set(self.strides):
            raise ValueError(
                "FlowNASSpace: strides are 1 or 2 and multiply to 4, so that, behind the stem of "
                f"stride 2, features have an eighth of the image size; not {self.strides}"
            )
        self.choices = {
            gene: _checked_choices(name, value, len(self.strides))
            for gene, name, value in zip(GENES, names, given, strict=True)
        }
        if any(kernel % 2 == 0 for stage in self.choices["kernel_size"] for kernel in stage):
            raise ValueError(f"FlowNASSpace: kernel_sizes are odd, not {kernel_sizes!r}")
        for name, value, least in (
            ("stem_width", stem_width, 1),
            ("feature_dim", feature_dim, 1),
            ("context_dim", context_dim, 1),
            ("rest_params", rest_params, 0),
        ):
            if not _is_integer(value) or value < least:
                raise ValueError(f"FlowNASSpace: {name} is an integer >= {least}, not {value!r}")
        self.stem_width = stem_width
        self.feature_dim = feature_dim
        self.context_dim = context_dim
        self.rest_params = rest_params

    @classmethod
    def of(cls, space: FlowNASSpace | Mapping[str, Any] | None) -> FlowNASSpace:
        """A space as it is, one built from a config, or the published one for ``None``."""
        if space is None or isinstance(space, Mapping):
            return MODELS.build({"type": "mmkd_ext.FlowNASSpace", **(space or {})})
        return space

    @property
    def size(self) -> int:
        """Number of genotypes."""
        return math.prod(len(stage) for stages in self.choices.values() for stage in stages)

    def sample(self, rng: Random) -> Genotype:
        """A genotype, all alike likely."""
        return self._each(lambda _gene, _stage, choices: rng.choice(choices))

    def mutate(self, genotype: Genotype, rng: Random, prob: float = 0.1) -> Genotype:
        """Draw every number anew with probability ``prob``; the same may be drawn again."""
        genotype = self.check(genotype)
        return self._each(
            lambda gene, stage, choices: (
                rng.choice(choices) if rng.random() < prob else genotype[gene][stage]
            )
        )

    def crossover(self, a: Genotype, b: Genotype, rng: Random) -> Genotype:
        """Every number from one of two parents, from each with probability 1/2."""
        parents = (self.check(a), self.check(b))
        return self._each(lambda gene, stage, _choices: rng.choice(parents)[gene][stage])

    def max(self) -> Genotype:
        """The largest network."""
        return self._each(lambda _gene, _stage, choices: max(choices))

    def min(self) -> Genotype:
        """The smallest network."""
        return self._each(lambda _gene, _stage, choices: min(choices))

    def check(self, genotype: Mapping[str, Sequence[int]]) -> Genotype:
        """The genotype in its canonical form, tuples in the order of the genes.

        Raises:
            ValueError: It is none of this space.
        """
        if not isinstance(genotype, Mapping) or set(genotype) != set(GENES):
            raise ValueError(f"a genotype is a dict of {', '.join(GENES)}; this is {genotype!r}")
        for gene, stages in self.choices.items():
            values = genotype[gene]
            if not isinstance(values, Sequence) or len(values) != len(stages):
                raise ValueError(
                    f"genotype: {gene} has one number for each of {len(stages)} stages; "
                    f"this is {values!r}"
                )
            for stage, (value, choices) in enumerate(zip(values, stages, strict=True)):
                if not _is_integer(value) or value not in choices:
                    raise ValueError(
                        f"genotype: {gene} of stage {stage + 1} is one of "
                        f"{', '.join(map(str, choices))} in this space, not {value!r}"
                    )
        return {gene: tuple(genotype[gene]) for gene in GENES}

    def key(self, genotype: Genotype) -> tuple[int, ...]:
        """All numbers in a row, in the order of the genes: hashable, and one for each genotype."""
        return tuple(value for values in self.check(genotype).values() for value in values)

    def params(self, genotype: Genotype) -> int:
        """Parameters of the whole flow network that is exported."""
        return self._params(encoder_params, genotype)

    def published_params(self, genotype: Genotype) -> int:
        """Parameters of the whole flow network as the authors count them.

        Shortcut convolutions that no image passes are included; the expansion of stage 2 is left
        out where its ratio is 1.
        """
        return self._params(published_encoder_params, genotype)

    def macs(self, genotype: Genotype, image_size: tuple[int, int]) -> int:
        """Multiply-accumulates of the encoders in one flow estimation.

        Two images pass the feature encoder, and one the context encoder. Correlation, update block
        and upsampling are the same for every genotype and are not counted.

        Args:
            genotype: Of this space.
            image_size: (H, W) in pixels, counted as padded to multiples of 8.
        """
        features = self.encoder_macs(genotype, image_size, self.feature_dim)
        return 2 * features + self.encoder_macs(genotype, image_size, self.context_dim)

    def encoder_macs(
        self, genotype: Genotype, image_size: tuple[int, int], output_dim: int = 256
    ) -> int:
        """Multiply-accumulates of one encoder with one image."""
        stages = block_shapes(self, self.check(genotype))
        return encoder_macs(stages, self.stem_width, output_dim, image_size)

    def draw(
        self, genotype: Genotype, path: str | PathLike, input_size: tuple[int, int] | None = None
    ) -> None:
        """Draw a genotype, see :func:`~mmkd_ext.flow.nas.drawing.draw_genotype`."""
        from .drawing import draw_genotype  # a second, of matplotlib

        draw_genotype(genotype, self, path, input_size)

    def check_network(self, model: nn.Module) -> None:
        """Make sure that these costs are those of a model, see :func:`.network.check_network`.

        Raises:
            ValueError: They are not.
        """
        from .network import check_network

        check_network(model, self)

    def to_dict(self) -> dict[str, Any]:
        """The constructor's arguments; JSON takes them."""
        return {
            "widths": self.choices["width"],
            "kernel_sizes": self.choices["kernel_size"],
            "depths": self.choices["depth"],
            "expand_ratios": self.choices["expand_ratio"],
            "strides": self.strides,
            "stem_width": self.stem_width,
            "feature_dim": self.feature_dim,
            "context_dim": self.context_dim,
            "rest_params": self.rest_params,
        }

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FlowNASSpace) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(tuple(self.to_dict().values()))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.to_dict().items())
        return f"FlowNASSpace({arguments})"

    def _params(self, count: Callable[..., int], genotype: Genotype) -> int:
        stages = block_shapes(self, self.check(genotype))
        features = count(stages, self.stem_width, self.feature_dim, affine=False)
        context = count(stages, self.stem_width, self.context_dim, affine=True)
        return features + context + self.rest_params

    def _each(self, value: Callable[[str, int, tuple[int, ...]], int]) -> Genotype:
        return {
            gene: tuple(value(gene, stage, choices) for stage, choices in enumerate(stages))
            for gene, stages in self.choices.items()
        }


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _checked_choices(name: str, value: Choices, stages: int) -> tuple[tuple[int, ...], ...]:
    if not isinstance(value, Sequence) or len(value) != stages:
        raise ValueError(
            f"FlowNASSpace: {name} has choices for each of {stages} stages, as strides has; "
            f"not {value!r}"
        )
    for choices in value:
        if (
            not isinstance(choices, Sequence)
            or not choices
            or not all(_is_integer(choice) and choice >= 1 for choice in choices)
            or len(set(choices)) != len(choices)
        ):
            raise ValueError(
                f"FlowNASSpace: {name} has, for each stage, distinct integers >= 1; not {choices!r}"
            )
    return tuple(tuple(choices) for choices in value)
