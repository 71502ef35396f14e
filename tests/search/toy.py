"""A search space whose every member can be looked at."""

from __future__ import annotations

import os
import signal
from itertools import pairwise, product

from mmkd_ext.search.evolution import EvolutionSearch
from mmkd_ext.search.history import History, replay
from mmkd_ext.search.space import space_signature


class DigitSpace:
    """Tuples of digits below ``base``; a digit costs its value and one more."""

    def __init__(self, genes=6, base=5):
        self.genes, self.base = genes, base
        self.draws = 0

    @property
    def size(self):
        return self.base**self.genes

    def sample(self, rng):
        self.draws += 1
        return self._genotype(rng.randrange(self.base) for _ in range(self.genes))

    def mutate(self, genotype, rng, prob):
        return self._genotype(
            rng.randrange(self.base) if rng.random() < prob else digit
            for digit in genotype["digits"]
        )

    def crossover(self, a, b, rng):
        pairs = zip(a["digits"], b["digits"], strict=True)
        return self._genotype(rng.choice(pair) for pair in pairs)

    def check(self, genotype):
        if len(genotype["digits"]) != self.genes or max(genotype["digits"]) >= self.base:
            raise ValueError(f"{genotype} is not of this space")

    def key(self, genotype):
        return genotype["digits"]

    def params(self, genotype):
        return 1000 * sum(digit + 1 for digit in genotype["digits"])

    def macs(self, genotype, input_size):
        height, width = input_size
        return self.params(genotype) * height * width

    def to_dict(self):
        return {"genes": self.genes, "base": self.base}

    def everything(self):
        return [self._genotype(digits) for digits in product(range(self.base), repeat=self.genes)]

    @staticmethod
    def _genotype(digits):
        return {"digits": tuple(digits)}


class EndedSpace(DigitSpace):
    """The same, and it knows its smallest and largest member."""

    def min(self):
        return self._genotype([0] * self.genes)

    def max(self):
        return self._genotype([self.base - 1] * self.genes)


def loss(genotype):
    """0 at (3, 1, 4, 1, 2, 2), unlike for all others, with terms that couple the digits."""
    digits, target = genotype["digits"], (3, 1, 4, 1, 2, 2)
    off = [digit - best for digit, best in zip(digits, target, strict=False)]
    coupled = sum(abs(a * b) for a, b in pairwise(off))
    return sum((place + 1) * x * x for place, x in enumerate(off)) / 7 + coupled / 3


def complete(search, score=loss, history=None):
    """Run a search to its end; the history gets every outcome."""
    while candidates := search.ask():
        for candidate in candidates:
            told = search.tell(candidate, score(candidate.genotype))
            if history is not None:
                history.append(told)
    return search


def resumed(path, score=loss, space=None, **settings):
    """A search in a file, from where it ended to its end."""
    search = EvolutionSearch(DigitSpace() if space is None else space, **settings)
    header = dict(space=space_signature(search.space), settings=search.settings)
    history = History(path, header)
    replay(search, history.open(), path)
    return complete(search, score, history)


KILLED = dict(constraints=dict(params=(None, 17_000)), seed=4, max_epochs=8)


def run_until(path, last):
    """What a process does that is killed while it evaluates candidate number ``last``."""
    left = iter(range(last, -1, -1))

    def deadly_loss(genotype):
        if next(left, 0) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(genotype)

    resumed(path, deadly_loss, **KILLED)
