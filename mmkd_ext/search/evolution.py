"""Evolutionary search under constraints: what to evaluate next, and what was best.

Source: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", ECCV
2020, arXiv:1904.00420, section 3.3, with the numbers of FlowNAS's published search
(arXiv:2207.01271).
"""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Literal

from mmkd_ext.search.candidates import Candidate, Evaluated, Origin
from mmkd_ext.search.constraints import Range
from mmkd_ext.search.limits import Limits, plain_numbers
from mmkd_ext.search.space import Genotype, SearchSpace, check_space

_REMEMBERED = 200_000  # genotypes outside the limits; a search must not fill the memory with them

Rule = Literal["less", "greater"]


class EvolutionSearch:
    """Propose genotypes that keep the constraints, and breed the best.

    Generation 0 is random. The parents of each of the next ``max_epochs`` generations are the
    ``top_k`` best of all that have been evaluated; children come by mutation of one parent and by
    crossover of two, and random genotypes fill up the population. No genotype is proposed twice.

    Evaluation is elsewhere::

        search = EvolutionSearch(space, constraints=dict(params=(None, 5e6)))
        while candidates := search.ask():
            for candidate in candidates:
                search.tell(candidate, score(candidate.genotype))
        print(search.best)

    What is asked depends on the arguments and on what has been told only: the generator is the
    search's own. So telling recorded outcomes again
    (:func:`mmkd_ext.search.history.replay`) brings it to the same state.

    Args:
        space: What is searched.
        constraints: Ranges of costs, both ends included: a method of the space (``params``,
            ``macs``), or ``latency`` (milliseconds) or ``memory`` (MiB), which are measured and
            told.
        input_size: ``(H, W)`` in pixels, for costs that depend on it.
        rule: Whether a ``'less'`` or a ``'greater'`` score is better.
        max_epochs: Generations after the random one.
        population: Candidates of a generation.
        top_k: Parents.
        mutation: Children by mutation in a generation.
        mutation_prob: With which each gene is drawn anew.
        crossover: Children by crossover in a generation.
        seed: Of the search's own generator.
        tries: Draws for each child that is wanted by mutation or crossover.
        random_tries: Draws for each random genotype that is wanted.

    Raises:
        ValueError: An argument makes no sense, the space lacks a method, or a limit is beyond the
            space's smallest or largest network.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        constraints: Mapping[str, Range] | None = None,
        input_size: tuple[int, int] | None = None,
        rule: Rule = "less",
        max_epochs: int = 20,
        population: int = 50,
        top_k: int = 10,
        mutation: int = 25,
        mutation_prob: float = 0.1,
        crossover: int = 25,
        seed: int = 0,
        tries: int = 10,
        random_tries: int = 1000,
    ) -> None:
        if rule not in ("less", "greater"):
            raise ValueError(f"EvolutionSearch: rule is 'less' or 'greater', not {rule!r}")
        numbers = dict(population=population, top_k=top_k, tries=tries, random_tries=random_tries)
        for name, value in numbers.items():
            if value < 1:
                raise ValueError(f"EvolutionSearch: {name} is 1 or more, not {value}")
        for name, value in dict(
            max_epochs=max_epochs, mutation=mutation, crossover=crossover
        ).items():
            if value < 0:
                raise ValueError(f"EvolutionSearch: {name} is 0 or more, not {value}")
        if not 0 <= mutation_prob <= 1:
            raise ValueError(f"EvolutionSearch: mutation_prob is in [0, 1], not {mutation_prob}")
        if mutation + crossover > population:
            raise ValueError(
                f"EvolutionSearch: {mutation} mutations and {crossover} crossovers are more than "
                f"a population of {population}"
            )
        check_space(space)
        self.space = space
        self.rule = rule
        self.max_epochs = max_epochs
        self.population = population
        self.top_k = top_k
        self.mutation = mutation
        self.mutation_prob = mutation_prob
        self.crossover = crossover
        self.seed = seed
        self.tries = tries
        self.random_tries = random_tries
        self.input_size = None if input_size is None else tuple(input_size)
        self.limits = Limits(space, constraints, self.input_size)
        self._rng = random.Random(seed)
        self._evaluated: dict[int, Evaluated] = {}
        self._waiting: dict[int, Candidate] = {}
        self._proposed: set[Hashable] = set()
        self._outside: set[Hashable] = set()  # genotypes that break a constraint
        self._number = 0
        self.generation = 0
        self.finished = False
        self.limits.check_ends(random.Random(seed), mutation_prob)
        self._begin_generation()

    @property
    def settings(self) -> dict[str, Any]:
        """All that the proposals depend on beside the space, as plain data."""
        names = ("rule", "max_epochs", "population", "top_k", "mutation", "mutation_prob")
        names += ("crossover", "seed", "tries", "random_tries", "input_size")
        return {name: getattr(self, name) for name in names} | dict(constraints=self.limits.ranges)

    @property
    def evaluated(self) -> list[Evaluated]:
        """All that has been told, in the order of proposals."""
        return [self._evaluated[place] for place in sorted(self._evaluated)]

    @property
    def best(self) -> Evaluated:
        """The best of all.

        Raises:
            ValueError: No candidate has a finite score.
        """
        for first in self.top(1):
            if first.ranks:
                return first
        raise ValueError(
            f"EvolutionSearch: none of {len(self._evaluated)} candidates has a finite score"
        )

    def top(self, count: int) -> list[Evaluated]:
        """The best first; what came earlier goes before its equals, NaN and infinity are last."""
        sign = 1 if self.rule == "less" else -1
        ranked = [one for one in self.evaluated if one.score is not None]
        ranked.sort(key=lambda one: (not one.ranks, sign * one.score if one.ranks else 0))
        return ranked[:count]

    def ask(self) -> list[Candidate]:
        """The candidates that are to be told next, all independent of each other; none at the end.

        Returns:
            The same ones until all have been told. Where measured costs were outside their limits,
            others of the same generation follow.

        Raises:
            ValueError: In all tries no genotype met the constraints.
        """
        while not self._waiting and not self.finished:
            for candidate in self._propose():
                self._waiting[candidate.number] = candidate
            if not self._waiting:
                self._end_generation()
        return list(self._waiting.values())

    def tell(
        self,
        candidate: Candidate,
        score: float | None,
        metrics: Mapping[str, float] | None = None,
        costs: Mapping[str, float] | None = None,
    ) -> Evaluated:
        """Take the outcome of a candidate.

        Args:
            candidate: One of those that were asked.
            score: Any number; NaN and infinity rank last. None only if a measured cost is outside
                its limits.
            metrics: To be kept with it.
            costs: Those that were measured; all that are limited must be there.

        Raises:
            ValueError: The candidate was not asked for, or a measured cost or the score is missing.
        """
        if self._waiting.get(candidate.number) != candidate:
            raise ValueError(f"EvolutionSearch: nobody asked for candidate {candidate.number}")
        costs = {**candidate.costs, **plain_numbers(costs or {})}
        missing = [name for name in self.limits.measured if name not in costs]
        if missing:
            raise ValueError(
                f"EvolutionSearch: candidate {candidate.number} lacks a measured {missing[0]}"
            )
        rejected = self.limits.broken(costs)
        if score is None and rejected is None:
            raise ValueError(f"EvolutionSearch: candidate {candidate.number} has no score")
        score = None if rejected or score is None else float(score)
        told = Evaluated(candidate, score, plain_numbers(metrics or {}), costs, rejected)
        if score is not None and not told.ranks:
            warnings.warn(
                f"EvolutionSearch: candidate {candidate.number} has the score {score}; it ranks "
                f"last: {candidate.genotype}",
                stacklevel=2,
            )
        del self._waiting[candidate.number]
        self._evaluated[candidate.number] = told
        self.limits.note({name: costs[name] for name in self.limits.measured})
        if rejected is None:
            self._accepted[candidate.origin] += 1
        else:
            self._rejections += 1
        return told

    def _begin_generation(self) -> None:
        self._accepted: Counter[str] = Counter()
        self._rejections = 0
        self._parents = [one.candidate.genotype for one in self.top(self.top_k) if one.ranks]
        self._tries = dict(
            mutation=self.tries * self.mutation,
            crossover=self.tries * self.crossover,
            random=self.random_tries * self.population,
        )

    def _propose(self) -> list[Candidate]:
        """What the generation still lacks, as far as it can be found."""
        if self._rejections >= self.tries * self.population:
            return []  # each cost an evaluation's time: measured limits nearly nobody keeps
        found: list[Candidate] = []
        if self._parents:
            rng, parents = self._rng, self._parents
            found += self._draw(
                "mutation",
                self.mutation - self._accepted["mutation"],
                lambda: self.space.mutate(rng.choice(parents), rng, self.mutation_prob),
            )
            found += self._draw(
                "crossover",
                self.crossover - self._accepted["crossover"],
                lambda: self.space.crossover(rng.choice(parents), rng.choice(parents), rng),
            )
        missing = self.population - self._accepted.total() - len(found)
        found += self._draw("random", missing, lambda: self.space.sample(self._rng))
        return found

    def _draw(self, origin: Origin, wanted: int, make: Callable[[], Genotype]) -> list[Candidate]:
        found: list[Candidate] = []
        while len(found) < wanted and self._tries[origin] > 0 and not self._exhausted:
            self._tries[origin] -= 1
            genotype = make()
            costs = self._new_costs(genotype)
            if costs is not None:
                found.append(Candidate(self._number, genotype, self.generation, origin, costs))
                self._number += 1
        return found

    def _new_costs(self, genotype: Genotype) -> dict[str, float] | None:
        """The costs of a genotype that is legal, new and within the limits; else None."""
        try:
            self.space.check(genotype)
        except ValueError:
            return None  # not every crossover of two legal parents need be legal
        key = self.space.key(genotype)
        if key in self._proposed or key in self._outside:
            return None
        costs = self.limits.costs(genotype)
        self.limits.note(costs)
        if self.limits.broken(costs) is None:
            self._proposed.add(key)
            return costs
        if len(self._outside) < _REMEMBERED:
            self._outside.add(key)
        return None

    @property
    def _exhausted(self) -> bool:
        return len(self._proposed) + len(self._outside) >= self.space.size

    def _end_generation(self) -> None:
        accepted = self._accepted.total()
        if accepted == 0 and self.generation == 0:
            raise ValueError(self._impossible())
        if accepted < self.population and not self._exhausted:
            warnings.warn(
                f"EvolutionSearch: generation {self.generation} has {accepted} candidates instead "
                f"of {self.population}: hardly any "
                f"other genotype meets {self.limits}",
                stacklevel=3,
            )
        self.finished = accepted == 0 or self._exhausted or self.generation == self.max_epochs
        if not self.finished:
            self.generation += 1
            self._begin_generation()

    def _impossible(self) -> str:
        drawn = self.random_tries * self.population - self._tries["random"]
        measured = f", {self._rejections} of which were measured" if self._rejections else ""
        return (
            f"EvolutionSearch: none of {drawn} genotypes drawn{measured} meets {self.limits}; "
            f"seen were {self.limits.seen}. Change the limits, or the space."
        )
