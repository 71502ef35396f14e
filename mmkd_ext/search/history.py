"""The record of a search: one line of JSON for each evaluated candidate, safe against a kill."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmkd_ext.search.candidates import Evaluated, outcome_of
from mmkd_ext.search.evolution import EvolutionSearch

FORMAT = 1


class History:
    """A file of JSON lines: a header that says what is searched and how, then the candidates.

    A line is on the disk before the search goes on. A process that is killed leaves at most a last
    line without its end; that one is dropped, and its candidate evaluated again.

    Args:
        path: Of the file; its folder is made.
        header: Plain data, the same whenever the search goes on.
    """

    def __init__(self, path: str | os.PathLike, header: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.header = json.loads(_line({"format": FORMAT, **header}))

    def open(self) -> list[dict[str, Any]]:
        """The records so far; a file with the header alone is made where there is none.

        Raises:
            ValueError: A line is corrupt, or the header says something else than ours.
        """
        lines = self._whole_lines()
        if not lines:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write(self.header)
            return []
        records = [self._parsed(number, line) for number, line in enumerate(lines, start=1)]
        changes = list(_differences(records[0], self.header))
        if changes:
            raise ValueError(
                f"{self.path} is the history of another search: {'; '.join(changes[:5])}. Search "
                "as it was, or remove the file (or choose another work_dir) to begin anew."
            )
        return records[1:]

    def append(self, told: Evaluated) -> None:
        """Write a line and wait until it is on the disk."""
        self._write(told.to_record())

    def _write(self, record: Mapping[str, Any]) -> None:
        with open(self.path, "ab") as file:
            file.write(_line(record))
            file.flush()
            os.fsync(file.fileno())

    def _whole_lines(self) -> list[bytes]:
        """All lines that have an end; what follows the last one is cut off the file."""
        if not self.path.exists():
            return []
        content = self.path.read_bytes()
        *lines, rest = content.split(b"\n")
        if rest:
            warnings.warn(
                f"{self.path}: line {len(lines) + 1} is incomplete, as a killed process leaves it; "
                "it is dropped",
                stacklevel=3,
            )
            os.truncate(self.path, len(content) - len(rest))
        return lines

    def _parsed(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            record = json.loads(line)
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are such
            raise ValueError(
                f"{self.path}, line {number} is corrupt: {error}. Mend it, or remove it and all "
                "that follow: they are evaluated again."
            ) from error
        if not isinstance(record, dict):
            raise ValueError(f"{self.path}, line {number} is corrupt: {record!r} is no record")
        return record


def replay(
    search: EvolutionSearch, records: Sequence[Mapping[str, Any]], path: str | os.PathLike
) -> None:
    """Tell a new search what has been recorded, which brings it to where it was.

    Args:
        search: That nothing has been told yet.
        records: Of :meth:`History.open`.
        path: Of the file, for messages.

    Raises:
        ValueError: A record is no candidate that the search asks for; with its line.
    """
    for number, record in enumerate(records, start=2):
        place = record.get("number")
        candidate = next((one for one in search.ask() if one.number == place), None)
        try:
            if candidate is None:
                raise ValueError(f"the search does not ask for candidate {place!r} here")
            outcome = outcome_of(record)
            expected = dict(
                genotype=candidate.genotype,
                generation=candidate.generation,
                origin=candidate.origin,
            )
            changes = _differences(
                {name: record.get(name) for name in expected}, json.loads(_line(expected))
            )
            costs = {name: outcome["costs"].get(name) for name in candidate.costs}
            for change in (*changes, *_differences(costs, dict(candidate.costs))):
                raise ValueError(f"the search asks for another candidate here ({change})")
            search.tell(candidate, **outcome)
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number} is corrupt: {error}. Mend it, or remove it and all that "
                "follow: they are evaluated again."
            ) from error


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, allow_nan=False).encode() + b"\n"


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Where plain data differ, in words."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            name = f"{path}.{key}" if path else str(key)
            yield from _differences(old.get(key), new.get(key), name)
    elif old != new:
        yield f"{path} was {json.dumps(old)}, is {json.dumps(new)}"
