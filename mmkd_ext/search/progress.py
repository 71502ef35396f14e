"""How far a search is, on terminals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import StreamHandler
from typing import TextIO

from mmengine.logging import MMLogger
from rich.progress import Progress

from mmkd_ext.frames.progress import bar_columns, error_console
from mmkd_ext.search.evolution import EvolutionSearch


@contextmanager
def progress_bar(search: EvolutionSearch, shown: bool) -> Iterator[Callable[[], None]]:
    """A progress bar on terminals; yields what brings it up to date."""
    console = error_console()
    with Progress(
        *bar_columns(),
        console=console,
        disable=not (shown and console.is_terminal),
    ) as bar:
        total = search.population * (search.max_epochs + 1)
        task = bar.add_task("search", total=total, state="")

        def show() -> None:
            first = search.top(1)
            state = f"best {first[0].score:.6g}" if first else ""
            bar.update(
                task,
                completed=len(search.evaluated),
                description=f"generation {search.generation}/{search.max_epochs}",
                state=state,
            )

        show()
        with _through(sys.stdout):
            yield show


@contextmanager
def _through(stream: TextIO) -> Iterator[None]:
    """Send the log's lines to a stream: while a bar is shown, stdout puts them above it."""
    handlers = [h for h in MMLogger.get_current_instance().handlers if type(h) is StreamHandler]
    before = [handler.setStream(stream) or stream for handler in handlers]
    try:
        yield
    finally:
        for handler, old in zip(handlers, before, strict=True):
            handler.setStream(old)
