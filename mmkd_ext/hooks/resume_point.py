"""Which checkpoint a run starts from, and whether it can be used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmkd_ext.distill.checkpoint import CheckpointError, broken_part, is_readable, read_checkpoint

RECORD = "last_checkpoint"


@dataclass
class Choice:
    """The checkpoint to load (None: there is none, or leave it to mmengine) and what to say."""

    path: str | None = None
    warnings: list[str] = field(default_factory=list)


def check_explicit(path: str, resume: bool) -> Choice:
    """Verify a checkpoint that the user named.

    Raises:
        CheckpointError: It cannot be read, or not be resumed from.
    """
    # Addresses are verified when they are loaded, so as not to download twice; folders are the
    # sharded checkpoints of other strategies.
    if "://" in path or (resume and Path(path).expanduser().is_dir()):
        return Choice()
    if not resume:
        if (reason := is_readable(path)) is not None:
            raise CheckpointError(reason)
        return Choice()
    reason, checkpoint = _read_for_resume(path)
    if reason is not None:
        raise CheckpointError(reason)
    if "optimizer" not in checkpoint:
        return Choice(
            warnings=[
                f"Checkpoint {path} holds no optimizer state (a `best` checkpoint?): "
                "training goes on from its epoch with a fresh optimizer."
            ]
        )
    return Choice()


def choose_latest(folders: Sequence[Path], templates: Sequence[str]) -> Choice:
    """The newest checkpoint that reads.

    ``last_checkpoint`` in the first folder names the newest, unless the run died between writing
    a checkpoint and writing that name, or folder or file have been moved.

    Args:
        folders: Where to look; the first is the work directory.
        templates: File names with ``{}`` for the step, the run's own first.

    Raises:
        CheckpointError: There are checkpoints, or there should be one, and none can be used.
    """
    record = folders[0] / RECORD
    named = record.read_text().strip() if record.is_file() else ""
    newest = _locate(named, folders)
    if newest is not None and newest.is_dir():
        return Choice()
    candidates = _candidates(newest, folders, templates)
    if not candidates:
        if named:
            raise CheckpointError(
                f"Cannot resume: {record} names {named}, which does not exist, and there is no "
                f"other checkpoint in {_list(folders)}. Delete {record} to start from scratch."
            )
        return Choice(
            warnings=[f"Nothing to resume in {_list(folders)}: the run starts from scratch."]
        )
    warnings = []
    if named and newest is None:
        warnings.append(
            f"{record} names {named}, which does not exist: "
            f"resuming from what is in {_list(folders)}."
        )
    reasons = []
    for path in candidates:
        reason, _ = _read_for_resume(path)
        if reason is not None:
            reasons.append(reason)
            continue
        if reasons:
            warnings.append(
                f"FALLING BACK to the earlier checkpoint {path}: {candidates[0]} cannot be "
                f"resumed from. {' '.join(reasons)}"
            )
        return Choice(str(path), warnings)
    raise CheckpointError(
        f"Cannot resume: none of the {len(candidates)} checkpoint(s) in {_list(folders)} can be "
        f"used. {' '.join(reasons[:3])} Remove them to start from scratch."
    )


def _locate(named: str, folders: Sequence[Path]) -> Path | None:
    if not named:
        return None
    path = Path(named)
    # A work directory that was moved or copied still holds the file under its name.
    for place in (path, *(folder / path.name for folder in folders)):
        if place.exists():
            return place
    return None


def _candidates(
    newest: Path | None, folders: Sequence[Path], templates: Sequence[str]
) -> list[Path]:
    """Checkpoints in the order in which to try them."""
    templates = list(dict.fromkeys(templates))
    if newest is None:
        numbered = [entry for template in templates for entry in _numbered(folders, template)]
        return [path for path, _ in numbered]
    ahead, behind, others = [], [], []
    written = newest.stat().st_mtime
    for template in templates:
        number = _step(newest.name, template)
        for path, step in _numbered([newest.parent, *folders], template):
            if number is None:
                others.append(path)
            elif step < number:
                behind.append(path)
            elif step > number and path.stat().st_mtime > written:
                # The run died after writing it, before naming it in `last_checkpoint`. (A higher
                # number on an older file is left over from some run before this one.)
                ahead.append(path)
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return list(dict.fromkeys([*ahead, newest, *behind, *others]))


def _numbered(folders: Sequence[Path], template: str) -> list[tuple[Path, int]]:
    """Files of the folders that fit the template, with their step, highest step first."""
    entries = [entry for folder in folders if folder.is_dir() for entry in folder.iterdir()]
    steps = [(entry, _step(entry.name, template)) for entry in dict.fromkeys(entries)]
    found = [(entry, step) for entry, step in steps if step is not None and entry.is_file()]
    return sorted(found, key=lambda pair: pair[1], reverse=True)


def _step(name: str, template: str) -> int | None:
    before, _, after = template.partition("{}")
    found = re.fullmatch(re.escape(before) + r"(\d+)" + re.escape(after), name)
    return int(found[1]) if found else None


def _read_for_resume(path: str | Path) -> tuple[str | None, dict]:
    """A checkpoint, and why it cannot be resumed from (or None)."""
    try:
        checkpoint = read_checkpoint(path)
    except CheckpointError as error:
        return str(error), {}
    if (broken := broken_part(path)) is not None:
        return broken, {}
    meta = checkpoint.get("meta")
    progress = isinstance(meta, dict) and "epoch" in meta and "iter" in meta
    if not progress or "message_hub" not in checkpoint:  # mmengine's resume needs all three
        return (
            f"Checkpoint {path} holds weights but no training progress, so it cannot be resumed "
            "from; to start a new run with these weights use `load_from` without `resume`.",
            checkpoint,
        )
    return None, checkpoint


def _list(folders: Sequence[Path]) -> str:
    return " and ".join(str(folder) for folder in dict.fromkeys(folders))
