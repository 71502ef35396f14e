"""How much a search in a super-network is worth: inherited scores against training alone.

Found genotypes and random ones of the same budget are scored with the super-network's weights, by
the search's metric alone, and each is trained for itself, from scratch. The rank correlation of the
two, and what found genotypes gain over random ones, are written as a table. What is finished is
kept.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkd_ext.apis.errors import UserError, main_guard
from mmkd_ext.apis.options import CONFIG_HELP

if TYPE_CHECKING:
    from mmengine.config import Config

    from mmkd_ext.flow.nas import FlowNASSpace, Genotype
    from mmkd_ext.search.limits import Limits

RESULT, TABLE = "rank.json", "rank.md"
DRAWS = 100_000  # for the random genotypes of a budget


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line of ``flownas-rank``."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("config", help=f"{CONFIG_HELP}: that of the search")
    parser.add_argument("checkpoint", help="of the super-network")
    parser.add_argument(
        "--train-config",
        metavar="CONFIG",
        help="whose data and schedule train and test a genotype for itself, such as the "
        "super-network's, whose test data the search does not see (default: the search's)",
    )
    parser.add_argument(
        "--found", nargs="*", default=[], metavar="FILE", help="best_genotype.json of searches"
    )
    parser.add_argument(
        "--random", type=int, default=8, metavar="N", help="random genotypes (default: 8)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random genotypes (default: 0)")
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="of each training alone (default: the config's)"
    )
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/flownas_rank"))
    args = parser.parse_args(argv)
    if len(args.found) + args.random < 3:
        parser.error("a rank correlation takes three genotypes or more")
    return args


@main_guard
def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Score, train, compare."""
    args = parse_args(argv, prog)
    from mmkd_ext.apis import compare
    from mmkd_ext.apis.config import load_config
    from mmkd_ext.atomic_file import atomic_write_text
    from mmkd_ext.flow.nas.subnet import read_genotype

    cfg = load_config(args.config)
    search = cfg.get("test_cfg") or {}
    if not str(search.get("type")).endswith("EvolutionSearchLoop"):
        raise UserError(
            f"{args.config}: its test_cfg is no EvolutionSearchLoop, which says by what and within "
            "what budget is searched"
        )
    if search.get("calibration"):
        raise UserError(
            f"{args.config}: its search calibrates batch norms for each genotype, which is not "
            "done here; take a super-network of bn_mode='frozen01'"
        )
    scorer = Scorer(cfg, args.checkpoint)
    limits = budget(scorer.space, search)
    genotypes = {}
    for number, path in enumerate(args.found):
        genotype = scorer.space.check(read_genotype(path))
        costs = limits.costs(genotype)
        if broken := limits.broken(costs):
            raise UserError(
                f"{path}: its genotype has {broken} {costs[broken]:,}, but the search of "
                f"{args.config} wants {limits}; compare what one budget found"
            )
        genotypes[f"found{number}"] = genotype
    found = genotypes.values()
    genotypes |= random_genotypes(scorer.space, limits, args.random, args.seed, found)
    args.work_dir.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, genotype in genotypes.items():
        row = dict(
            name=name,
            genotype=genotype,
            params=scorer.space.params(genotype),
            inherited=scorer(genotype),
        )
        if not math.isfinite(row["inherited"]):
            raise UserError(f"the inherited score of {name} is {row['inherited']}: {genotype}")
        print(f"{name}: {row['params']:,} parameters, inherited {row['inherited']:.4f}", flush=True)
        rows.append(row)
    training = load_config(args.train_config) if args.train_config else cfg
    paths = [write_config(training, row, args.work_dir) for row in rows]
    options = ["--seeds", "0", "--work-dir", str(args.work_dir), "--metric", scorer.full_name]
    if args.epochs is not None:
        options += ["--epochs", str(args.epochs)]
    compare.main([*map(str, paths), *options])
    results = json.loads((args.work_dir / "results.json").read_text())["results"]
    alone = {result["config"]: result["test"][scorer.full_name] for result in results}
    for row in rows:
        row["alone"] = alone[row["name"]]
    summary = summarize(rows, search.get("rule", "less"))
    content = dict(metric=scorer.full_name, seed=args.seed, rows=rows, **summary)
    atomic_write_text(json.dumps(content, indent=2) + "\n", args.work_dir / RESULT)
    text = table(rows, summary, scorer.full_name)
    atomic_write_text(text, args.work_dir / TABLE)
    print(text)


class Scorer:
    """Scores genotypes as their search does, but by its metric alone."""

    def __init__(self, cfg: Config, checkpoint: str) -> None:
        from mmengine.evaluator import Evaluator
        from mmengine.runner import Runner

        from mmkd_ext.distill.inference import network_for_inference
        from mmkd_ext.search.evaluation import CandidateEvaluator
        from mmkd_ext.search.evolution import EvolutionSearch

        network, _ = network_for_inference(cfg, checkpoint, None, "flownas-rank")
        self.space: FlowNASSpace = network.space
        loader = dict(cfg.test_dataloader, num_workers=0, persistent_workers=False)
        evaluators = cfg.test_evaluator
        self.metric = cfg.test_cfg.metric
        self.evaluate = CandidateEvaluator(
            network,
            Runner.build_dataloader(loader, seed=0),
            Evaluator([evaluators] if isinstance(evaluators, Mapping) else evaluators),
            EvolutionSearch(self.space),
            self.metric,
        )
        self.full_name = ""

    def __call__(self, genotype: Genotype) -> float:
        """The metric of a genotype."""
        from mmkd_ext.search.candidates import Candidate
        from mmkd_ext.search.evaluation import metric_name

        outcome = self.evaluate(Candidate(0, genotype, 0, "random", {}))
        self.full_name = metric_name(outcome.metrics, self.metric)
        return outcome.score


def budget(space: FlowNASSpace, search: Mapping[str, Any]) -> Limits:
    """The limits of a search.

    Raises:
        UserError: Some are of costs that are measured: random genotypes could not keep them.
    """
    from mmkd_ext.search.limits import Limits

    limits = Limits(space, search.get("constraints"), search.get("input_size"))
    if limits.measured:
        raise UserError(
            f"the search limits the {limits.measured[0]}, which is measured; genotypes are "
            "compared within limits of costs in closed form, such as params and macs"
        )
    return limits


def random_genotypes(
    space: FlowNASSpace,
    limits: Limits,
    count: int,
    seed: int,
    others: Iterable[Genotype] = (),
) -> dict[str, Genotype]:
    """Different random genotypes within the budget of a search, by name; none of ``others``."""
    generator = random.Random(seed)
    taken = {space.key(genotype) for genotype in others}
    found: dict[Any, Genotype] = {}
    for _ in range(DRAWS):
        if len(found) == count:
            break
        genotype = space.sample(generator)
        costs = limits.costs(genotype)
        if limits.broken(costs) is None and space.key(genotype) not in taken:
            found[space.key(genotype)] = genotype
    else:
        raise UserError(f"{DRAWS} draws gave {len(found)} genotypes within {limits}, not {count}")
    return {f"random{i}": genotype for i, genotype in enumerate(found.values())}


def write_config(cfg: Config, row: Mapping[str, Any], folder: Path) -> Path:
    """The config that trains one genotype for itself, from scratch; its path."""
    from mmkd_ext.atomic_file import atomic_write_text
    from mmkd_ext.flow.nas.subnet import subnet_config

    plain = subnet_config(cfg, row["genotype"], "")
    plain.load_from = None
    path = folder / f"{row['name']}.py"
    text = plain.pretty_text
    if not path.is_file() or path.read_text() != text:
        atomic_write_text(text, path)
    return path


def summarize(rows: Sequence[Mapping[str, Any]], rule: str) -> dict[str, Any]:
    """Rank correlation, and means of found and random genotypes."""
    from scipy.stats import spearmanr

    inherited, alone = ([row[key] for row in rows] for key in ("inherited", "alone"))
    correlation = spearmanr(inherited, alone)
    if not math.isfinite(correlation.statistic):
        raise UserError("all scores are equal; there is no rank correlation")
    summary: dict[str, Any] = dict(
        rule=rule, spearman=float(correlation.statistic), p_value=float(correlation.pvalue)
    )
    for origin in ("found", "random"):
        values = [row["alone"] for row in rows if row["name"].startswith(origin)]
        if values:
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            summary[origin] = dict(mean=statistics.mean(values), sd=spread, count=len(values))
    return summary


def table(rows: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], metric: str) -> str:
    """All of it as Markdown."""
    lines = [
        f"| Genotype | Parameters | {metric}, inherited weights | {metric}, trained alone |",
        "|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: row["inherited"]):
        lines.append(
            f"| {row['name']} | {row['params']:,} | {row['inherited']:.3f} | {row['alone']:.3f} |"
        )
    lines += ["", f"Spearman's rank correlation of {len(rows)}: {summary['spearman']:.2f} "
              f"(p = {summary['p_value']:.3f})."]  # fmt: skip
    for origin in ("found", "random"):
        if origin in summary:
            one = summary[origin]
            lines.append(
                f"Trained alone, {origin}: {one['mean']:.3f} ± {one['sd']:.3f} ({one['count']})."
            )
    return "\n".join([*lines, ""])
