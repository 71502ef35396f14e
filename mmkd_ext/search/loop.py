"""The search as a loop of mmengine's Runner."""

from __future__ import annotations

import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, broadcast_object_list
from mmengine.evaluator import Evaluator
from mmengine.runner import BaseLoop, Runner
from mmengine.utils import get_object_from_string
from torch import nn
from torch.utils.data import DataLoader

from mmkd_ext.distill.unwrap import student_of, unwrapped
from mmkd_ext.registry import LOOPS, MODELS
from mmkd_ext.search.alone import Alone
from mmkd_ext.search.calibration import Calibration
from mmkd_ext.search.candidates import Candidate
from mmkd_ext.search.evaluation import (
    CandidateEvaluator,
    FeatureDistance,
    Outcome,
    check_order,
    elastic_modules,
)
from mmkd_ext.search.evolution import EvolutionSearch
from mmkd_ext.search.history import History, replay
from mmkd_ext.search.progress import progress_bar
from mmkd_ext.search.report import result_table, write_best
from mmkd_ext.search.space import SearchSpace, space_signature

HISTORY, BEST = "search_history.jsonl", "best_genotype.json"
_OF_WORKERS = ("num_workers", "persistent_workers", "prefetch_factor", "pin_memory")


@LOOPS.register_module()
class EvolutionSearchLoop(BaseLoop):
    """Search the best sub-network of a trained elastic network, under constraints.

    A search is a long test: it needs a checkpoint, data and a metric, but no optimizer. So it is
    the config's ``test_cfg``, with ``test_dataloader`` and ``test_evaluator``, and is started, and
    after a kill continued, by ``python -m mmkd_ext test CONFIG CHECKPOINT``::

        test_cfg = dict(
            type='mmkd_ext.EvolutionSearchLoop',
            space=dict(type='mmkd_ext.FlowNASSpace'),
            metric='EPE',
            constraints=dict(params=(None, 5.2e6)),
        )

    The work folder gets ``search_history.jsonl`` (a line for each candidate), in the end
    ``best_genotype.json`` and the pictures ``score_*.png``. A search that finds its history goes on
    where it ended, and ends where an unbroken one ends.

    With several processes, each evaluates other candidates on all the data; history and result are
    those of one process. Latencies should be measured by one process alone.

    Args:
        runner: Its model is in eval mode while this runs.
        dataloader: Of the data that score, not shuffled, or its config.
        evaluator: Of the metric, or its config.
        metric: The score's name among what the evaluator gives.
        space: A :class:`mmkd_ext.search.SearchSpace`, the config of one that is registered in
            ``MODELS``, or None for the attribute ``space`` of the network.
        constraints: See :class:`EvolutionSearch`, as for the arguments up to ``seed``.
        input_size: ``(H, W)`` in pixels, for costs that depend on it.
        rule: ``'less'`` or ``'greater'``.
        max_epochs: Generations.
        population: Candidates of each.
        top_k: Parents.
        mutation: Children by mutation.
        mutation_prob: Of each gene.
        crossover: Children by crossover.
        seed: Of the search's own generator.
        distance: A :class:`FeatureDistance`, or its config for ``MODELS``.
        distill_weight: Of the distance; it is in another unit than the metric.
        calibration: ``dict(batches=..., dataloader=...)``: take statistics of batch norms from so
            many batches of a loader, by default the search's own, for each candidate. With
            ``calibrating`` a function, or its dotted name, that makes of the model the context in
            which they run (``'mmkd_ext.flow.nas.calibrating'``).
        latency_runs: Forward passes of the first batch whose median time is the latency.
        latency_warmup: Forward passes before them.

    Raises:
        ValueError: An argument makes no sense.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        *,
        metric: str,
        space: SearchSpace | dict | None = None,
        constraints: Mapping[str, Sequence[float | None] | float] | None = None,
        input_size: tuple[int, int] | None = None,
        rule: str = "less",
        max_epochs: int = 20,
        population: int = 50,
        top_k: int = 10,
        mutation: int = 25,
        mutation_prob: float = 0.1,
        crossover: int = 25,
        seed: int = 0,
        distance: FeatureDistance | dict | None = None,
        distill_weight: float = 1.0,
        calibration: dict | None = None,
        latency_runs: int = 10,
        latency_warmup: int = 3,
    ) -> None:
        self._alone = Alone()
        with self._alone():  # samplers ask for rank and size when they are made
            super().__init__(runner, dataloader)
            self._calibration = self._build_calibration(calibration)
        if not isinstance(evaluator, Evaluator):
            evaluator = runner.build_evaluator(evaluator)
        self.evaluator = evaluator
        self.evaluator.dataset_meta = getattr(self.dataloader.dataset, "metainfo", None)
        self.network = student_of(runner.model)
        self.space = self._space(space)
        self._new_search = functools.partial(
            EvolutionSearch,
            self.space,
            constraints=constraints,
            input_size=input_size,
            rule=rule,
            max_epochs=max_epochs,
            population=population,
            top_k=top_k,
            mutation=mutation,
            mutation_prob=mutation_prob,
            crossover=crossover,
            seed=seed,
        )
        self.search = self._new_search()
        # What a score depends on beside the candidate, as far as it can be told in plain data.
        self._scoring = dict(
            metric=metric,
            distill_weight=distill_weight if distance else None,
            distance=_named(distance),
            calibration=_named(calibration),
            samples=len(self.dataloader.dataset),
            config=_digest(runner.cfg),
            latency=[latency_runs, latency_warmup] if "latency" in (constraints or {}) else None,
        )
        self.metric = metric
        self.distance = MODELS.build(distance) if isinstance(distance, dict) else distance
        self.distill_weight = distill_weight
        self.latency = dict(latency_runs=latency_runs, latency_warmup=latency_warmup)

    def run(self) -> dict[str, float]:
        """Search, or go on with it.

        Returns:
            The best candidate's ``search/score``, ``search/<cost>`` and metrics.

        Raises:
            ValueError: The history is another search's or corrupt, or no genotype meets the
                constraints.
        """
        runner, folder = self.runner, Path(self.runner.work_dir)
        self.search = self._new_search()
        runner.call_hook("before_test")
        runner.call_hook("before_test_epoch")
        history = History(folder / HISTORY, self._header())
        replay(self.search, self._on_main(history.open), history.path)
        known = len(self.search.evaluated)
        with self._alone():
            evaluate = CandidateEvaluator(
                unwrapped(runner.model),
                self.dataloader,
                self.evaluator,
                self.search,
                self.metric,
                self.distance,
                self.distill_weight,
                self._calibration,
                seed=self.search.seed,
                **self.latency,
            )
        if known:
            runner.logger.info(f"the search goes on after {known} candidates of {history.path}")
        begin = time.perf_counter()
        with progress_bar(self.search, runner.rank == 0) as show, self._finishing():
            while candidates := self.search.ask():
                for outcome, candidate in self._evaluated(candidates, evaluate):
                    told = self.search.tell(
                        candidate, outcome.score, outcome.metrics, outcome.costs
                    )
                    if runner.rank == 0:
                        history.append(told)
                    show()
                self._log_generation(candidates[0].generation)
        evaluate.set_genotype(self.search.best.candidate.genotype)
        new, seconds = len(self.search.evaluated) - known, time.perf_counter() - begin
        if new:
            runner.logger.info(f"{new} candidates, {60 * new / seconds:.1f} a minute")
        if runner.rank == 0:
            self._report(folder)
        metrics = self._result()
        runner.call_hook("after_test_epoch", metrics=metrics)
        runner.call_hook("after_test")
        return metrics

    @contextmanager
    def _finishing(self) -> Iterator[None]:
        try:
            yield
        finally:
            if self.distance is not None:
                self.distance.finish()

    def _evaluated(
        self, candidates: Sequence[Candidate], evaluate: Callable[[Candidate], Outcome]
    ) -> Iterator[tuple[Outcome, Candidate]]:
        """Outcomes in the order of the candidates, of which each process takes every n-th.

        Raises:
            RuntimeError: Another process failed; without this one would wait for it forever.
        """
        world, rank = self.runner.world_size, self.runner.rank
        for start in range(0, len(candidates), world):
            chunk = candidates[start : start + world]
            outcome, error = None, None
            if rank < len(chunk):
                try:
                    with self._alone():
                        outcome = evaluate(chunk[rank])
                except Exception as failure:
                    if world == 1:
                        raise
                    error = failure
            gathered = all_gather_object((outcome, error and f"{type(error).__name__}: {error}"))
            if error is not None:
                raise error
            for place, (_, text) in enumerate(gathered):
                if text is not None:
                    raise RuntimeError(f"the search failed in process {place}: {text}")
            yield from zip((outcome for outcome, _ in gathered), chunk, strict=False)

    def _on_main(self, read: Callable[[], list]) -> list:
        """What the main process reads, in all; they all raise what it raises."""
        result: list[Any] = [None, None]
        if self.runner.rank == 0:
            try:
                result[0] = read()
            except (ValueError, OSError) as error:
                result[1] = error
        broadcast_object_list(result)
        if result[1] is not None:
            raise result[1]
        return result[0]

    def _space(self, space: SearchSpace | dict | None) -> SearchSpace:
        if isinstance(space, dict):
            space = MODELS.build(space)
        if space is None:
            space = getattr(elastic_modules(self.network)[0], "space", None)
            if space is None:
                raise ValueError(
                    f"EvolutionSearchLoop: {type(self.network).__name__} has no attribute space; "
                    "give space=dict(type=...)"
                )
        if hasattr(space, "check_network"):
            space.check_network(self.network)
        return space

    def _build_calibration(self, calibration: dict | None) -> Calibration | None:
        if calibration is None:
            return None
        options = dict(calibration)
        loader = options.pop("dataloader", None)
        if isinstance(loader, dict):
            # Workers that persist do not begin anew: augmentations would depend on the number of
            # candidates that this process has calibrated.
            loader = dict(loader, persistent_workers=False)
            loader = self.runner.build_dataloader(loader, seed=self.runner.seed)
        loader = self.dataloader if loader is None else loader
        check_order(loader)
        if loader is not self.dataloader and getattr(loader, "persistent_workers", False):
            raise ValueError(
                "EvolutionSearchLoop: the loader of the calibration has persistent_workers, whose "
                "augmentations go on from candidate to candidate; build it without"
            )
        if isinstance(options.get("calibrating"), str):
            options["calibrating"] = get_object_from_string(options["calibrating"])
        return Calibration(loader, **options)

    def _header(self) -> dict[str, Any]:
        weights = weights_digest(unwrapped(self.runner.model))
        return dict(
            space=space_signature(self.space),
            settings={**self.search.settings, **self._scoring, "weights": weights},
        )

    def _log_generation(self, generation: int) -> None:
        first = self.search.top(1)
        best = f"best score {first[0].score:.6g}" if first else "none within the limits"
        count = len(self.search.evaluated)
        self.runner.logger.info(
            f"generation {generation}/{self.search.max_epochs}: {count} candidates, {best}"
        )

    def _report(self, folder: Path) -> None:
        from mmkd_ext.search.pictures import draw_search  # a second, of matplotlib

        self.runner.logger.info("\n" + result_table(self.search))
        write_best(self.search, folder / BEST)
        files = draw_search(self.search, folder)
        names = ", ".join(file.name for file in files)
        self.runner.logger.info(f"{folder}: {BEST}, {HISTORY}, {names}")

    def _result(self) -> dict[str, float]:
        best = self.search.best
        costs = {f"search/{name}": value for name, value in best.costs.items()}
        return {"search/score": best.score, **costs, **best.metrics}


def weights_digest(model: nn.Module) -> str:
    """A fingerprint of parameters and buffers: scores of other weights must not be mixed."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _digest(cfg: Any) -> str:
    """A fingerprint of what a config says of scores; how data are read in parallel does not."""
    parts = {key: cfg.get(key) for key in ("model", "data_preprocessor", "test_evaluator")}
    loader = cfg.get("test_dataloader") or {}
    if isinstance(loader, Mapping):
        loader = {key: value for key, value in loader.items() if key not in _OF_WORKERS}
    text = json.dumps(_named({**parts, "test_dataloader": loader}), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _named(part: Any) -> Any:
    """A config as plain data; of an object, its class, and of a checkpoint that is here, a hash."""
    if part is None or isinstance(part, (str, int, float, bool)):
        return part
    if isinstance(part, Mapping):
        named = {str(key): _named(value) for key, value in part.items()}
        file = named.get("checkpoint")
        if isinstance(file, str) and Path(file).is_file():
            digest = hashlib.sha256(Path(file).read_bytes())
            named["checkpoint"] = f"{file} {digest.hexdigest()[:16]}"
        return named
    if isinstance(part, (list, tuple)):
        return [_named(value) for value in part]
    return getattr(part, "__qualname__", type(part).__qualname__)
