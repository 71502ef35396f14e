"""The super-network of FlowNAS: RAFT with elastic encoders, and how all of it is trained at once.

How the authors train theirs is not published. What stands here is our reconstruction: the sandwich
rule of Yu et al., "BigNAS", ECCV 2020, arXiv:2003.11142, and Wang et al., "AttentiveNAS", CVPR
2021, arXiv:2011.09011, whose layers the published code has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from random import Random
from typing import Any, Literal

from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from torch import Tensor

from mmkd_ext.distill.passes import passes_of, refuse_single_pass, train_in_passes
from mmkd_ext.registry import MODELS

from ..models.raft import RAFT
from .genotype import Genotype
from .network import check_network, rest_params, set_genotype
from .space import FlowNASSpace


@MODELS.register_module()
class FlowNASSupernet(RAFT):
    """RAFT whose two encoders run as any genotype of a space, one and the same for both.

    In each training step the largest, the smallest and some random networks see the batch, each
    with a backward pass of its own, and one optimizer step follows (the sandwich rule; our
    reconstruction). The random ones depend on seed and iteration alone: they are the same in every
    process, and after a resume. With several processes the config needs
    ``model_wrapper_cfg=dict(type='mmkd_ext.PassesDataParallel')``. It trains with and without a
    Distiller around it.

    Outside of training it runs as the genotype that was set; at first the largest.

    Args:
        space: Of the encoders: a :class:`FlowNASSpace`, its config, or None for the published one.
            A config without ``rest_params`` gets this network's.
        bn_mode: Of the context encoder's batch norms, see
            :class:`~mmkd_ext.flow.nas.elastic_encoder.ElasticFlowEncoder`. With ``'calibrated'``
            nothing but a search with ``calibration`` and an export can evaluate it: validation
            during training has to be switched off.
        random_subnets: Number of random networks in each step.
        seed: Of their generator.
        **raft: Of :class:`~mmkd_ext.flow.models.raft.RAFT`, but for the encoders.

    Raises:
        ValueError: Arguments that do not fit; the space counts other parameters than there are.
    """

    def __init__(
        self,
        space: FlowNASSpace | Mapping[str, Any] | None = None,
        bn_mode: Literal["frozen01", "batch", "calibrated"] = "frozen01",
        random_subnets: int = 2,
        seed: int = 0,
        **raft: Any,
    ) -> None:
        if isinstance(random_subnets, bool) or not isinstance(random_subnets, int):
            raise ValueError(
                f"FlowNASSupernet: random_subnets is an integer, not {random_subnets!r}"
            )
        if random_subnets < 0:
            raise ValueError(f"FlowNASSupernet: random_subnets is 0 or more, not {random_subnets}")
        counted = isinstance(space, Mapping) and "rest_params" not in space
        if bn_mode == "calibrated" and raft.get("freeze_bn"):
            raise ValueError(
                "FlowNASSupernet: bn_mode='calibrated' learns with the statistics of the batch, "
                "which freeze_bn=True forbids; take bn_mode='frozen01'"
            )
        space = FlowNASSpace.of(space)
        encoder = {"type": "mmkd_ext.ElasticFlowEncoder", "space": space, "bn_mode": bn_mode}
        super().__init__(
            feature_encoder={**encoder, "norm": "instance", "output_dim": space.feature_dim},
            context_encoder={**encoder, "norm": "batch", "output_dim": space.context_dim},
            **raft,
        )
        if counted:
            space = FlowNASSpace(**{**space.to_dict(), "rest_params": rest_params(self)})
        check_network(self, space)
        self.space = space
        self.random_subnets, self.seed = random_subnets, seed
        self._in_pass = False

    @property
    def genotype(self) -> Genotype:
        """The one that runs."""
        return self.feature_encoder.genotype

    def set_genotype(self, genotype: Genotype) -> None:
        """Let both encoders run as this genotype from now on.

        Raises:
            ValueError: It is none of the space.
        """
        set_genotype(self, genotype)

    def sandwich(self, iteration: int) -> dict[str, Genotype]:
        """The genotypes of a training step, by name."""
        random = Random(f"{self.seed}-{iteration}")
        names = [f"random{number}" for number in range(self.random_subnets)]
        return {
            "max": self.space.max(),
            "min": self.space.min(),
            **{name: self.space.sample(random) for name in names},
        }

    def student_passes(self) -> dict[str, AbstractContextManager]:
        """The passes of the next step, see :mod:`mmkd_ext.distill.passes`."""
        iteration = MessageHub.get_current_instance().get_info("iter", 0) or 0
        return {name: self._as(one) for name, one in self.sandwich(int(iteration)).items()}

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """One step in all passes."""
        return train_in_passes(self, passes_of(self), data, optim_wrapper)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "tensor") -> Any:
        """As RAFT's, with the genotype that runs.

        Raises:
            RuntimeError: A distributed training forward outside of the passes of a step.
        """
        if mode == "loss":
            refuse_single_pass(self, self._in_pass)
        return super().forward(inputs, data_samples, mode)

    @contextmanager
    def _as(self, genotype: Genotype) -> Iterator[None]:
        before = self.genotype
        self.set_genotype(genotype)
        self._in_pass = True
        try:
            yield
        finally:
            self._in_pass = False
            self.set_genotype(before)
