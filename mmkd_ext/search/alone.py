"""Doing something whole in one process of many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as torch_dist


class Alone:
    """A context in which a process is the only one: its rank is 0, the world's size 1.

    Each process evaluates another candidate on all the data, but samplers, metrics and
    synchronised batch norms talk to the whole world, each in a way of its own. Here the default
    process group is, for a while, a group of this process alone, so all of them work unchanged:
    what asks torch or mmengine for rank and size, and what communicates without naming a group.

    All processes of the world must make this object at the same time.
    """

    def __init__(self) -> None:
        many = torch_dist.is_available() and torch_dist.is_initialized()
        many = many and torch_dist.get_world_size() > 1
        self._group = torch_dist.new_subgroups(group_size=1)[0] if many else None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Be alone inside of it."""
        if self._group is None:
            yield
            return
        world = torch_dist.group.WORLD
        torch_dist.group.WORLD = self._group
        try:
            yield
        finally:
            torch_dist.group.WORLD = world
