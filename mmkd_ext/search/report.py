"""What a search found: the best as a file, a table, the Pareto front."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence

from mmkd_ext.atomic_file import atomic_write_text
from mmkd_ext.search.candidates import Evaluated
from mmkd_ext.search.constraints import number
from mmkd_ext.search.evolution import EvolutionSearch, Rule


def pareto_front(evaluated: Sequence[Evaluated], cost: str, rule: Rule) -> list[Evaluated]:
    """Those that nobody beats in score without costing more, by growing cost.

    Args:
        evaluated: Those without a finite score are left out.
        cost: Name of the cost.
        rule: Which score is better.
    """
    sign = 1 if rule == "less" else -1
    ranked = [one for one in evaluated if one.ranks and cost in one.costs]
    ranked.sort(key=lambda one: (one.costs[cost], sign * one.score, one.candidate.number))
    front: list[Evaluated] = []
    for one in ranked:
        if not front or sign * one.score < sign * front[-1].score:
            front.append(one)
    return front


def write_best(search: EvolutionSearch, path: str | os.PathLike) -> None:
    """Write the best candidate as JSON: its ``genotype``, score, metrics, costs and origin."""
    record = search.best.to_record()
    content = dict(genotype=record.pop("genotype"), **record, rule=search.rule)
    atomic_write_text(json.dumps(content, indent=2) + "\n", path)


def result_table(search: EvolutionSearch) -> str:
    """The best candidates as text, ``top_k`` of them, as wide as their metrics need."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    best = search.top(search.top_k)
    count = len(search.evaluated)
    table = Table(
        box=box.SIMPLE,
        title_justify="left",
        title=f"The best of {count} candidates ({search.limits})",
    )
    costs = list(dict.fromkeys(name for one in best for name in one.costs))
    metrics = list(dict.fromkeys(name for one in best for name in one.metrics))
    for heading in ("number", "score", *metrics, *costs, "generation"):
        table.add_column(heading, justify="right")
    table.add_column("origin")
    for one in best:
        table.add_row(
            str(one.candidate.number),
            f"{one.score:.6g}",
            *(f"{one.metrics[name]:.6g}" if name in one.metrics else "" for name in metrics),
            *(number(one.costs[name]) if name in one.costs else "" for name in costs),
            str(one.candidate.generation),
            one.candidate.origin,
        )
    console = Console(file=io.StringIO(), width=400)
    console.print(table)
    # Rich pads every line to the console's width; a log need not.
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()).rstrip()
