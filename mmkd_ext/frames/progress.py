"""A progress bar for whoever goes through frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def error_console() -> Any:
    """A rich console on stderr; stdout may be read by a program."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True)


def bar_columns() -> tuple[Any, ...]:
    """What a bar shows: a description, how far it is, what is left, and a state."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    return (
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}"),
    )


@contextmanager
def progress_bar(
    name: str, total: int | None, enabled: bool = True
) -> Iterator[Callable[[str], None]]:
    """A bar on terminals, and nothing elsewhere.

    Args:
        name: Stands before it.
        total: Number of steps, where it is known.
        enabled: False: no bar on terminals either.

    Yields:
        What takes it one step further, with a few words on how things stand.
    """
    from rich.progress import Progress

    console = error_console()
    with Progress(
        *bar_columns(),
        console=console,
        disable=not (enabled and console.is_terminal),
    ) as bar:
        task = bar.add_task(name, total=total, state="")
        yield lambda state: bar.update(task, advance=1, state=state)
