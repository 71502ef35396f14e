"""A table of what a training step runs: parameters and MACs of student, teachers and losses."""

from __future__ import annotations

import copy
import io
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mmkd_ext.distill import Distiller
from mmkd_ext.distill.tap_spec import leaves

from .macs import MacCount, counting_macs
from .observing import parameters_of, preprocess, tap_values, undisturbed


@dataclass
class CostRow:
    """One network's or loss's cost.

    Attributes:
        name: What it is.
        parameters: All of them.
        trained: Those that the optimizer trains.
        macs: Multiply-accumulates of one forward of one image; None if they could not be counted.
        saved: Whether its weights are part of the student's file.
    """

    name: str
    parameters: int
    trained: int
    macs: float | None
    saved: bool = False


def count_costs(distiller: Distiller, batch: Any) -> tuple[list[CostRow], list[str]]:
    """Parameters and MACs of everything that a training step runs.

    Args:
        distiller: Left exactly as it is.
        batch: A raw batch, as the data loader yields it.

    Returns:
        The rows, and why something could not be counted, a line each.
    """
    counts: dict[str, MacCount] = {}
    remarks: list[str] = []

    @contextmanager
    def around(who: str) -> Any:
        with counting_macs() as counts[who]:
            yield

    images = 1
    with undisturbed(distiller):
        try:
            inputs, samples = preprocess(distiller, batch)
            images = len(inputs)
            values = tap_values(distiller, inputs, samples, around)
        except Exception as error:
            remarks.append(f"MACs: n/a, the networks could not be run on a batch: {_line(error)}")
            values = None
        for term, student, teacher in values.terms(distiller) if values else ():
            try:
                with around(f"losses.{term.name}"):
                    distiller.distill[term.name](student, teacher, copy.deepcopy(samples))
            except Exception as error:
                counts.pop(f"losses.{term.name}", None)
                remarks.append(f"MACs of the loss {term.name}: n/a: {_line(error)}")

    def macs(who: str) -> float | None:
        return counts[who].macs / images if values and who in counts else None

    rows = [
        CostRow(
            f"student ({type(distiller.student).__name__})",
            parameters_of(distiller.student),
            parameters_of(distiller.student, trained_only=True),
            macs("student"),
            saved=True,
        )
    ]
    for name, member in distiller.teachers.items():
        taps = _last_taps(distiller, name)
        rows.append(CostRow(f"{name}, to {taps}", parameters_of(member.model), 0, macs(name)))
    for name, module in distiller.distill.items():
        title = f"loss {name} ({type(module).__name__})"
        trained = parameters_of(module, trained_only=True)
        rows.append(CostRow(title, parameters_of(module), trained, macs(f"losses.{name}")))
    return rows, remarks


def cost_table(rows: list[CostRow], width: int = 110) -> str:
    """The rows as text, with what distillation adds in training as the last line."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, title="Cost of distillation")
    table.add_column("")
    for heading in ("parameters", "trained", "MACs/image, forward", "in student's file"):
        table.add_column(heading, justify="right")

    def add(row: CostRow, share: str = "") -> None:
        macs = "n/a" if row.macs is None else _short(row.macs) + share
        cells = [row.name, _short(row.parameters), _short(row.trained), macs]
        table.add_row(*cells, "yes" if row.saved else "no")

    student, *others = rows
    for row in rows:
        add(row)
    table.add_section()
    known = all(row.macs is not None for row in rows)
    total = CostRow(
        "distillation adds, in training",
        sum(row.parameters for row in others),
        sum(row.trained for row in others),
        sum(row.macs for row in others) if known else None,
    )
    share = f" (+{total.macs / student.macs:.0%})" if known and student.macs else ""
    add(total, share)
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue().rstrip()


def _last_taps(distiller: Distiller, teacher: str) -> str:
    """The taps at which this teacher stops, for a title."""
    names = [
        str(tap)
        for term in distiller.terms
        if term.teacher == teacher
        for tap in leaves(term.taps.teacher)
    ]
    names = list(dict.fromkeys(names))
    return ", ".join(names) if len(names) < 3 else f"{len(names)} taps"


def _short(number: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.4g} {unit}"
    return f"{number:.4g}"


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
