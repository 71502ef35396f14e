"""Both elastic encoders of a flow network at once."""

from __future__ import annotations

from torch import nn

from .architecture import block_shapes
from .costs import encoder_params
from .elastic_encoder import ElasticFlowEncoder
from .genotype import Genotype
from .space import FlowNASSpace


def elastic_encoders(model: nn.Module) -> dict[str, ElasticFlowEncoder]:
    """Every elastic encoder of a model, under its dotted name.

    Raises:
        ValueError: There is none.
    """
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, ElasticFlowEncoder)
    }
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no ElasticFlowEncoder: its encoders are not searchable; "
            "build it with type='mmkd_ext.ElasticFlowEncoder' as feature and context encoder"
        )
    return found


def set_genotype(model: nn.Module, genotype: Genotype) -> None:
    """Let all elastic encoders of a model run as this genotype from now on.

    Raises:
        ValueError: The model has none, or the genotype is none of their space.
    """
    encoders = elastic_encoders(model).values()
    for encoder in encoders:  # all or none is set
        encoder.space.check(genotype)
    for encoder in encoders:
        encoder.set_genotype(genotype)


def rest_params(model: nn.Module) -> int:
    """Parameters of a model outside its elastic encoders: a space's ``rest_params``."""
    inside = {
        id(parameter)
        for encoder in elastic_encoders(model).values()
        for parameter in encoder.parameters()
    }
    return sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in inside)


def check_network(model: nn.Module, space: FlowNASSpace) -> None:
    """Make sure that a space's closed-form costs are those of this model.

    Raises:
        ValueError: Encoders of another space, or another number of parameters than the space says.
    """
    total = rest_params(model)
    for name, encoder in elastic_encoders(model).items():
        for what in ("choices", "strides", "stem_width"):
            ours, theirs = getattr(space, what), getattr(encoder.space, what)
            if ours != theirs:
                raise ValueError(
                    f"{name} was built with another search space: its {what} are {theirs}, those "
                    f"of the given space {ours}"
                )
        stages = block_shapes(space, space.max())
        total += encoder_params(
            stages, space.stem_width, encoder.output_dim, affine=encoder.norm == "batch"
        )
    if total != space.params(space.max()):
        raise ValueError(
            f"the largest network has {total:,} parameters, and {space.params(space.max()):,} in "
            f"the search space; outside its encoders it has {rest_params(model):,} "
            f"(rest_params={space.rest_params:,}), and the encoders give "
            f"{[encoder.output_dim for encoder in elastic_encoders(model).values()]} channels "
            f"(feature_dim={space.feature_dim}, context_dim={space.context_dim})"
        )
