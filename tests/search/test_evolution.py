"""The search itself, on spaces small enough to look at every member."""

from __future__ import annotations

import math
import random
import subprocess
import sys
from collections import Counter

import pytest

from mmkd_ext.search import EvolutionSearch, SearchSpace, pareto_front
from tests.search.toy import DigitSpace, EndedSpace, complete, loss


def genotypes(search):
    return [one.candidate.genotype["digits"] for one in search.evaluated]


def test_the_published_numbers_find_the_optimum_of_15625():
    space = DigitSpace()
    assert isinstance(space, SearchSpace)
    search = complete(EvolutionSearch(space))
    assert len(search.evaluated) == 50 + 20 * 50
    assert len(set(genotypes(search))) == 1050
    assert search.best.candidate.genotype == {"digits": (3, 1, 4, 1, 2, 2)}
    assert search.best.score == 0  # which is a score as any other
    by_hand = sorted(loss(one.candidate.genotype) for one in search.evaluated)
    assert [one.score for one in search.top(30)] == by_hand[:30]
    origins = Counter((one.candidate.generation, one.candidate.origin) for one in search.evaluated)
    assert origins[0, "random"] == 50
    assert (origins[1, "mutation"], origins[1, "crossover"]) == (25, 25)
    for generation in range(1, 21):
        each = [origins[generation, name] for name in ("mutation", "crossover", "random")]
        assert sum(each) == 50
        assert max(each[:2]) <= 25


@pytest.mark.parametrize("rule", ["less", "greater"])
def test_the_best_within_the_limits_is_found_and_nobody_outside_is_proposed(rule):
    space = DigitSpace()
    sign = 1 if rule == "less" else -1
    limits = dict(params=(9_000, 14_000), macs=(None, 13e6))
    search = EvolutionSearch(space, constraints=limits, input_size=(20, 50), rule=rule)
    complete(search, lambda genotype: sign * loss(genotype))
    within = [one for one in space.everything() if 9_000 <= space.params(one) <= 13_000]
    assert search.best.candidate.genotype == min(within, key=loss)
    assert {space.params(one.candidate.genotype) for one in search.evaluated} == {
        9_000, 10_000, 11_000, 12_000, 13_000
    }  # fmt: skip
    params = search.best.costs["params"]
    assert search.best.costs == {"params": params, "macs": params * 1000}


def test_the_course_depends_on_the_seed_alone():
    courses = []
    for noise in (1, 2):
        random.seed(noise)
        search = EvolutionSearch(DigitSpace(), max_epochs=4, seed=9)
        while candidates := search.ask():
            random.shuffle(candidates)  # told in any order
            for candidate in candidates:
                search.tell(candidate, loss(candidate.genotype))
                random.random()
        courses.append(genotypes(search))
    assert courses[0] == courses[1]
    assert genotypes(complete(EvolutionSearch(DigitSpace(), max_epochs=4, seed=8))) != courses[0]


def test_children_of_the_last_generation_count():
    search = EvolutionSearch(DigitSpace(), max_epochs=3)
    scores = iter(range(1000, 0, -1))
    complete(search, lambda genotype: next(scores))
    assert search.best.candidate.number == 199
    assert [one.candidate.number for one in search.top(3)] == [199, 198, 197]


def test_parents_are_the_best_of_all_generations():
    """With no mutation and one parent, every child of it is a copy, so nothing new is bred."""
    search = EvolutionSearch(
        DigitSpace(),
        top_k=1,
        mutation_prob=0.0,
        max_epochs=2,
        population=10,
        mutation=5,
        crossover=5,
    )
    complete(search)
    origins = Counter(one.candidate.origin for one in search.evaluated)
    assert origins == {"random": 30}
    # One gene anew in a copy of the best: children differ from it in few places.
    search = EvolutionSearch(
        DigitSpace(genes=40), top_k=1, mutation_prob=0.02, max_epochs=1, population=10, mutation=10,
        crossover=0,
    )  # fmt: skip
    first = search.ask()
    for candidate in first:
        search.tell(candidate, 7.0 if candidate.number == 4 else 8.0)
    for child in search.ask():
        pairs = zip(child.genotype["digits"], first[4].genotype["digits"], strict=True)
        assert child.origin == "random" or 1 <= sum(a != b for a, b in pairs) <= 8


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_ranks_last_with_a_warning_and_breeds_not(bad):
    search = EvolutionSearch(DigitSpace(), population=6, mutation=3, crossover=3, max_epochs=1)
    first = search.ask()
    for candidate in first[1:]:
        with pytest.warns(UserWarning, match=r"score .*(nan|inf); it ranks last"):
            search.tell(candidate, bad)
    search.tell(first[0], 1e30)
    assert search.best.candidate == first[0]
    assert [one.candidate.number for one in search.top(10)] == [0, 1, 2, 3, 4, 5]
    crossovers = [one for one in search.ask() if one.origin == "crossover"]
    assert not crossovers  # its only possible parents are the one finite candidate, twice
    assert pareto_front(search.evaluated, "params", "less") == [search.best]


def test_no_finite_score_at_all_is_an_error_when_the_best_is_asked_for():
    search = EvolutionSearch(DigitSpace(), population=2, mutation=1, crossover=1, max_epochs=0)
    with pytest.warns(UserWarning, match="ranks last"):
        complete(search, lambda genotype: math.nan)
    with pytest.raises(ValueError, match="none of 2 candidates has a finite score"):
        _ = search.best


@pytest.mark.parametrize("genes", [1, 2, 3])
def test_a_small_space_ends_once_all_have_been_seen(genes):
    space = DigitSpace(genes, base=4)
    search = complete(EvolutionSearch(space))
    assert sorted(genotypes(search)) == [one["digits"] for one in space.everything()]
    assert search.finished
    assert search.ask() == []


def test_a_small_rest_within_the_limits_ends_too():
    space = DigitSpace(3, base=4)
    search = EvolutionSearch(space, constraints=dict(params=(None, 4_000)))
    complete(search)
    assert sorted(genotypes(search)) == [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]


def test_a_search_of_which_hardly_anything_is_legal_goes_on_with_fewer():
    space = DigitSpace(genes=8, base=10)  # nine of 10^8 cost no more than 9000
    limits = dict(params=(None, 12_000))
    search = EvolutionSearch(space, constraints=limits, population=20, mutation=10, crossover=10,
                             max_epochs=2, random_tries=100)  # fmt: skip
    with pytest.raises(ValueError, match="none of 2000 genotypes drawn meets params <= 12,000"):
        search.ask()
    assert space.draws == 2000
    search = EvolutionSearch(space, constraints=dict(params=(None, 24_000)), population=20,
                             mutation=10, crossover=10, max_epochs=2, random_tries=10)  # fmt: skip
    with pytest.warns(UserWarning, match="generation 0 has .* instead of 20: hardly any other"):
        complete(search)
    assert len(search.evaluated) > 20


def test_a_budget_nobody_meets_says_what_was_seen():
    space = DigitSpace()
    search = EvolutionSearch(space, constraints=dict(params=(None, 5_500)), population=10,
                             mutation=5, crossover=5, random_tries=200)  # fmt: skip
    rng, twin = random.Random(0), DigitSpace()
    drawn = [twin.params(twin.sample(rng)) for _ in range(2000)]
    seen = f"params from {min(drawn):,} to {max(drawn):,}"
    with pytest.raises(ValueError, match=f"2000 genotypes drawn meets params <= 5,500; .* {seen}"):
        search.ask()
    assert space.draws == 2000


def test_a_budget_below_the_smallest_network_is_refused_at_once():
    space = EndedSpace()
    with pytest.raises(ValueError, match="even the space's smallest network has params 6,000"):
        EvolutionSearch(space, constraints=dict(params=(None, 5_999)))
    with pytest.raises(ValueError, match="even the space's largest network has macs 30,000,000"):
        EvolutionSearch(space, constraints=dict(macs=(4e7, None)), input_size=(10, 100))
    assert space.draws == 0
    EvolutionSearch(space, constraints=dict(params=(6_000, 6_000)))


def test_the_smallest_network_need_not_be_the_cheapest():
    class Shortcuts(EndedSpace):
        def params(self, genotype):
            return super().params(genotype) + 5_000 * (genotype["digits"][0] == 0)

    search = EvolutionSearch(Shortcuts(), constraints=dict(params=(None, 9_000)))
    assert all(one.costs["params"] <= 9_000 for one in search.ask())


def measured(search, latency):
    told = []
    while candidates := search.ask():
        for candidate in candidates:
            costs = {"latency": latency(candidate)}
            score = None if search.limits.broken(costs) else loss(candidate.genotype)
            told.append(search.tell(candidate, score, costs=costs))
    return told


def test_who_breaks_a_measured_limit_is_replaced_in_its_generation():
    search = EvolutionSearch(DigitSpace(), constraints=dict(latency=(None, 3.5)), max_epochs=3)
    told = measured(search, lambda candidate: 1 + candidate.genotype["digits"][0])
    fast = [one for one in told if one.rejected is None]
    slow = [one for one in told if one.rejected]
    assert {one.candidate.genotype["digits"][0] for one in fast} == {0, 1, 2}
    assert len(slow) > 20
    assert {one.rejected for one in slow} == {"latency"}
    assert {one.score for one in slow} == {None}
    ranking = {one.candidate.number for one in search.top(1000)}
    assert ranking == {one.candidate.number for one in fast}
    count = Counter(one.candidate.generation for one in fast)
    assert count == {0: 50, 1: 50, 2: 50, 3: 50}
    assert search.best.candidate.genotype["digits"][0] == 2


def test_a_measured_limit_that_nobody_keeps_ends_after_a_bounded_number():
    search = EvolutionSearch(DigitSpace(), constraints=dict(latency=2.0), population=4, mutation=2,
                             crossover=2)  # fmt: skip
    with pytest.raises(ValueError, match=r"40 of which were measured meets latency <= 2; seen .* "
                       "latency from 5 to 5"):  # fmt: skip
        measured(search, lambda candidate: 5.0)


def test_tell_takes_only_what_was_asked_and_whole():
    search = EvolutionSearch(DigitSpace(), constraints=dict(memory=9.0))
    first, second = search.ask()[:2]
    with pytest.raises(ValueError, match="candidate 0 lacks a measured memory"):
        search.tell(first, 1.0)
    with pytest.raises(ValueError, match="candidate 0 has no score"):
        search.tell(first, None, costs={"memory": 3.0})
    search.tell(first, 1.0, costs={"memory": 3.0})
    with pytest.raises(ValueError, match="nobody asked for candidate 0"):
        search.tell(first, 1.0, costs={"memory": 3.0})
    search.tell(second, 1.0, costs={"memory": math.nan})
    assert search.evaluated[1].rejected == "memory"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(rule="lower"), "rule is 'less' or 'greater'"),
        (dict(population=40), "25 mutations and 25 crossovers are more than a population of 40"),
        (dict(population=0), "population is 1 or more"),
        (dict(max_epochs=-1), "max_epochs is 0 or more"),
        (dict(mutation_prob=2), r"mutation_prob is in \[0, 1\]"),
        (dict(constraints=dict(weights=(0, 1))), "DigitSpace has no method weights"),
        (dict(constraints=dict(params=(5, 1))), r"params=\(5, 1\) is empty"),
        (dict(constraints=dict(params=(1, 2, 3))), "is no range"),
        (dict(constraints=dict(params=(None, None))), "is no range"),
        (dict(constraints=dict(macs=(0, 1))), r"give input_size=\(H, W\)"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        EvolutionSearch(DigitSpace(), **settings)


def test_a_space_that_lacks_a_method_is_refused():
    class Half:
        sample = mutate = crossover = params = None

    with pytest.raises(ValueError, match="Half is no search space: it lacks size, check, key; see"):
        EvolutionSearch(Half())


def test_the_pareto_front_is_what_nobody_beats():
    search = complete(EvolutionSearch(DigitSpace(), max_epochs=3))
    all_of_them = search.evaluated
    unbeaten = [
        one
        for one in all_of_them
        if not any(
            other.costs["params"] <= one.costs["params"]
            and other.score <= one.score
            and (other.costs["params"], other.score) != (one.costs["params"], one.score)
            for other in all_of_them
        )
    ]
    front = pareto_front(all_of_them, "params", "less")
    points = {(one.costs["params"], one.score) for one in unbeaten}
    assert [(one.costs["params"], one.score) for one in front] == sorted(points)
    assert front[-1].score == search.best.score


def test_the_search_itself_needs_no_torch():
    code = (
        "import sys; from mmkd_ext.search import EvolutionSearch, History, pareto_front; "
        "sys.exit('torch' in sys.modules or 'mmengine' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
