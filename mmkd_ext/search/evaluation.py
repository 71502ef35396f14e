"""What a candidate is worth: its metric on the data, and how far its features are off."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Number
from typing import Any, Protocol

import torch
from mmengine.evaluator import Evaluator
from torch import nn
from torch.utils.data import DataLoader

from mmkd_ext.distill.unwrap import student_of
from mmkd_ext.hooks.random_state import seed_generators
from mmkd_ext.search.calibration import Calibration
from mmkd_ext.search.candidates import Candidate
from mmkd_ext.search.evolution import EvolutionSearch
from mmkd_ext.search.measuring import measure_latency, measure_memory


class FeatureDistance(Protocol):
    """How far a candidate's features are from a teacher's; less is nearer.

    What the teacher says of a batch is the same for every candidate: an implementation computes it
    once, in :meth:`prepare`, and keeps it by the batch's index.
    """

    def prepare(self, model: nn.Module, dataloader: Iterable) -> None:
        """Called once, before the first candidate.

        Args:
            model: The runner's, without wrapper; forward hooks that are registered on it here see
                every candidate's forward.
            dataloader: Gives the same batches in the same order whenever it is gone through.
        """

    def __call__(self, model: nn.Module, batch_index: int, data_batch: Any) -> float:
        """The distance on one batch, right after the model has predicted it, without gradient.

        The candidate's distance is the mean over the batches.
        """

    def finish(self) -> None:
        """Called once, after the last candidate: hooks are taken off here."""


@dataclass
class Outcome:
    """What :meth:`EvolutionSearch.tell` takes of a candidate."""

    score: float | None
    metrics: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)


def metric_name(metrics: Iterable[str], wanted: str) -> str:
    """The full name of a metric, such as ``flow/EPE`` for ``EPE``.

    Raises:
        ValueError: There is none of that name, or several.
    """
    names = list(metrics)
    found = [wanted] if wanted in names else [n for n in names if n.endswith(f"/{wanted}")]
    if len(found) != 1:
        raise ValueError(
            f"metric={wanted!r}, but the evaluator gives {', '.join(names) or 'no numbers'}"
            + (f"; it may be one of {', '.join(found)}" if found else "")
        )
    return found[0]


class CandidateEvaluator:
    """Sets the network to a candidate, measures its costs and computes its score.

    The score is ``metric + distill_weight * distance``, or ``metric - distill_weight * distance``
    where greater scores are better. It depends on the candidate alone, since the global random
    generators are seeded anew for each.

    Args:
        model: The runner's, without wrapper. The network in it (a Distiller's student, or itself),
            or modules in that, have ``set_genotype(genotype)``.
        dataloader: Of the data that score; not shuffled.
        evaluator: Of the metric; nothing of it may be gathered from other processes, see
            :class:`mmkd_ext.search.alone.Alone`.
        search: Says which costs are measured, and what their limits are.
        metric: Its name among what the evaluator gives.
        distance: To a teacher's features, or None.
        distill_weight: Of the distance.
        calibration: Of batch norms, before a candidate runs, or None.
        latency_runs: Forward passes whose median time counts.
        latency_warmup: Forward passes before them.
        seed: Of the global generators.

    Raises:
        ValueError: Nothing has ``set_genotype``, or the data come in another order each time.
    """

    def __init__(
        self,
        model: nn.Module,
        dataloader: DataLoader,
        evaluator: Evaluator,
        search: EvolutionSearch,
        metric: str,
        distance: FeatureDistance | None = None,
        distill_weight: float = 1.0,
        calibration: Calibration | None = None,
        latency_runs: int = 10,
        latency_warmup: int = 3,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.elastic = elastic_modules(student_of(model))
        check_order(dataloader)
        self.dataloader = dataloader
        self.evaluator = evaluator
        self.search = search
        self.metric = metric
        self.distance = distance
        self.distill_weight = distill_weight
        self.calibration = calibration
        self.latency_runs = latency_runs
        self.latency_warmup = latency_warmup
        self.seed = seed
        self.device = next(model.parameters()).device
        self._first_batch: Any = None
        if distance is not None:
            model.eval()
            with torch.no_grad():
                distance.prepare(model, dataloader)

    @torch.no_grad()
    def __call__(self, candidate: Candidate) -> Outcome:
        """Evaluate; without score where a measured cost is outside its limits.

        Raises:
            ValueError: The evaluator does not give the metric.
        """
        seed_generators(self.seed)
        self.model.eval()
        self.set_genotype(candidate.genotype)
        if self.calibration is not None:
            self.calibration(self.model)
        costs = self._measured()
        if self.search.limits.broken(costs):
            return Outcome(None, costs=costs)
        distances = [self._predict(index, batch) for index, batch in enumerate(self.dataloader)]
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        metrics = {
            name: float(value) for name, value in metrics.items() if isinstance(value, Number)
        }
        score = metrics[metric_name(metrics, self.metric)]
        if self.distance is not None:
            metrics["distance"] = sum(distances) / len(distances)
            sign = 1 if self.search.rule == "less" else -1
            score += sign * self.distill_weight * metrics["distance"]
        return Outcome(score, metrics, costs)

    def set_genotype(self, genotype: Any) -> None:
        """Make the network, that is all its elastic modules, run as a genotype."""
        for module in self.elastic:
            module.set_genotype(genotype)

    def _predict(self, index: int, batch: Any) -> float:
        outputs = self.model.test_step(batch)
        self.evaluator.process(data_samples=outputs, data_batch=batch)
        return 0.0 if self.distance is None else float(self.distance(self.model, index, batch))

    def _measured(self) -> dict[str, float]:
        wanted = self.search.limits.measured
        if not wanted:
            return {}
        if self._first_batch is None:
            batch = next(iter(self.dataloader))
            self._first_batch = self.model.data_preprocessor(batch, False)

        def new_input() -> Any:
            return copy.deepcopy(self._first_batch)  # predictions are written into the samples

        def forward(batch: Any) -> Any:
            return self.model._run_forward(batch, mode="predict")

        costs = {}
        if "latency" in wanted:
            timing = (self.latency_runs, self.latency_warmup)
            costs["latency"] = measure_latency(forward, new_input, self.device, *timing)
        if "memory" in wanted:
            fixed = [*self.model.parameters(), *self.model.buffers()]
            costs["memory"] = measure_memory(forward, new_input, self.device, fixed)
        return costs


def check_order(dataloader: DataLoader) -> None:
    """Raise ValueError where a loader shuffles.

    Candidates must be compared on the same batches, and a teacher's outputs are kept by batch.
    """
    sampler = dataloader.sampler
    shuffles = isinstance(sampler, torch.utils.data.RandomSampler)
    if shuffles or getattr(sampler, "shuffle", False):
        raise ValueError(
            "EvolutionSearchLoop: the data loader shuffles; every candidate must see the same "
            "batches: set sampler=dict(type='DefaultSampler', shuffle=False)"
        )


def elastic_modules(network: nn.Module) -> list[nn.Module]:
    """The outermost modules that have ``set_genotype(genotype)``, perhaps the network itself.

    Raises:
        ValueError: There are none.
    """
    found: list[nn.Module] = []
    names: list[str] = []
    for name, module in network.named_modules():
        inside = any(name.startswith(f"{outer}." if outer else "") for outer in names)
        if hasattr(module, "set_genotype") and not inside:
            found.append(module)
            names.append(name)
    if not found:
        raise ValueError(
            f"EvolutionSearchLoop: neither {type(network).__name__} nor a module in it has "
            "set_genotype(genotype); only an elastic network can be searched"
        )
    return found
