"""Pictures of a search: score against cost, and the best score by generation."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from mmkd_ext.atomic_file import atomic_write_bytes
from mmkd_ext.search.candidates import Evaluated
from mmkd_ext.search.evolution import EvolutionSearch
from mmkd_ext.search.report import pareto_front

# Okabe and Ito's colours, which stay apart for colour-blind eyes and in grey.
ORIGINS = {"random": "#999999", "mutation": "#0072B2", "crossover": "#E69F00"}
FRONT, BEST = "#009E73", "#D55E00"
TITLES = {
    "params": "parameters",
    "macs": "MACs",
    "latency": "latency (ms)",
    "memory": "peak memory (MiB)",
}


def draw_search(search: EvolutionSearch, folder: Path) -> list[Path]:
    """Write ``score_<cost>.png`` for each cost, and ``score_generation.png``.

    Where the space draws its networks, ``best_genotype.png`` is the best one.

    Args:
        search: With at least one finite score.
        folder: Where to.

    Returns:
        The files.
    """
    ranked = [one for one in search.evaluated if one.ranks]
    drawings = {"generation": _generations(search, ranked)}
    for cost in dict.fromkeys(name for one in ranked for name in one.costs):
        drawings[cost] = _costs(search, ranked, cost)
    files = []
    for name, drawing in drawings.items():
        files.append(folder / f"score_{name}.png")
        atomic_write_bytes(_png(drawing), files[-1])
    if hasattr(search.space, "draw"):
        files.append(folder / "best_genotype.png")
        search.space.draw(search.best.candidate.genotype, files[-1], search.input_size)
    return files


def _costs(search: EvolutionSearch, ranked: Sequence[Evaluated], cost: str) -> Figure:
    """All candidates, the Pareto front, the best and the limits."""
    drawing, axes = _panel()
    ranked = [one for one in ranked if cost in one.costs]
    for origin, colour in ORIGINS.items():
        members = [one for one in ranked if one.candidate.origin == origin]
        if members:
            costs, scores = _points(members, cost)
            axes.scatter(costs, scores, s=14, color=colour, alpha=0.7, lw=0, label=origin)
    front = pareto_front(ranked, cost, search.rule)
    costs, scores = _points(front, cost)
    axes.step(costs, scores, where="post", color=FRONT, lw=1.6, label="Pareto front")
    axes.scatter(costs, scores, s=16, color=FRONT, zorder=3)
    costs, scores = _points([search.best], cost)
    axes.scatter(costs, scores, s=110, color=BEST, marker="*", zorder=4, label="best")
    limit = search.limits.constraints.get(cost)
    ends = [value for value in (limit.low, limit.high) if math.isfinite(value)] if limit else []
    for value, label in zip(ends, ("limit", None), strict=False):
        axes.axvline(value, color="black", linestyle="--", lw=1, label=label)
    axes.set(xlabel=TITLES.get(cost, cost), ylabel=_score_title(search))
    if max(one.costs[cost] for one in ranked) >= 1000:
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.xaxis.set_major_locator(MaxNLocator(7))
    drawing.legend(loc="outside right upper", frameon=False, fontsize=9)
    return drawing


def _generations(search: EvolutionSearch, ranked: Sequence[Evaluated]) -> Figure:
    """Every score, the best so far, and the mean of the parents that the next one has."""
    drawing, axes = _panel()
    better = min if search.rule == "less" else max
    numbers = sorted({one.candidate.generation for one in ranked})
    best, parents = [], []
    for generation in numbers:
        scores = [one.score for one in ranked if one.candidate.generation <= generation]
        best.append(better(scores))
        top = sorted(scores, reverse=search.rule == "greater")[: search.top_k]
        parents.append(sum(top) / len(top))
    for origin, colour in ORIGINS.items():
        members = [one for one in ranked if one.candidate.origin == origin]
        if members:
            axes.scatter(
                [one.candidate.generation for one in members],
                [one.score for one in members],
                s=12,
                color=colour,
                alpha=0.6,
                lw=0,
                label=origin,
            )
    axes.plot(numbers, best, color=BEST, lw=1.8, label="best so far")
    label = f"mean of the best {search.top_k}"
    axes.plot(numbers, parents, color=FRONT, lw=1.4, linestyle="--", label=label)
    axes.set(xlabel="generation", ylabel=_score_title(search))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    drawing.legend(loc="outside right upper", frameon=False, fontsize=9)
    return drawing


def _points(members: Sequence[Evaluated], cost: str) -> tuple[list[float], list[float]]:
    return [one.costs[cost] for one in members], [one.score for one in members]


def _score_title(search: EvolutionSearch) -> str:
    return f"score ({'lower' if search.rule == 'less' else 'higher'} is better)"


def _panel() -> tuple[Figure, Axes]:
    # Outside pyplot, so that no display or global state is involved.
    drawing = Figure(figsize=(7.6, 4.2), dpi=110, layout="constrained", facecolor="white")
    return drawing, drawing.subplots()


def _png(drawing: Figure) -> bytes:
    with matplotlib.rc_context({"font.size": 10}):
        for axes in drawing.axes:
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(color="#e5e5e5", linewidth=0.8)
            axes.set_axisbelow(True)
        buffer = io.BytesIO()
        drawing.savefig(buffer, format="png")
    return buffer.getvalue()
