"""Recording module outputs and arguments: hooks that look at an armed flag.

Hooks are registered once, when the distiller is built (a hook added after a compiled call is
ignored by ``torch.compile``), and do nothing unless their recorder is armed. A deep copy of a
network (EMA) gets a copy of the recorder, which nobody arms, so it leaves no trace here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from .tap_spec import Structure, Tap, TapError, leaves, map_structure


class StopForward(BaseException):
    """Ends a forward after its last tap; a BaseException, so that no model swallows it."""


class _Hook:
    """A forward hook of one module. A class, so that deep copies copy its recorder too."""

    def __init__(self, recorder: Recorder, tap: Tap) -> None:
        self.recorder = recorder
        self.source, self.arg = tap.source, tap.arg

    def __call__(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if not self.recorder.armed:
            return
        if self.arg is None:
            self.recorder.record(self.source, output)
        else:
            self.recorder.record(self.source, bound_arguments(module, args, kwargs)[self.arg])


class _Boundary:
    """Stops at a module's end what its inside, being compiled, could not stop itself."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.recorder.armed and self.recorder.satisfied:
            raise StopForward


class Recorder:
    """The outputs, or arguments, of some modules of one network during one armed forward.

    Args:
        model: The network.
        sources: What to record, as :attr:`Tap.source` names it.
        side: What to call the network in messages, such as ``'student'``.
        handles: Receives the hooks' handles, for a recorder that is to be taken off again.
    """

    def __init__(
        self,
        model: nn.Module,
        sources: Iterable[str],
        side: str,
        handles: list[RemovableHandle] | None = None,
    ) -> None:
        self.model = model
        self.side = side
        self.armed = False
        self.outputs: dict[str, list[Any]] = {}
        self._versions: dict[str, list[dict[int, int]]] = {}  # per output: id of tensor -> version
        self._need: Mapping[str, int] | None = None
        self._tapped: dict[str, tuple[Tap, nn.Module]] = {}
        for source in dict.fromkeys(sources):
            handle = self._tap(Tap.parse(source))
            if handles is not None:
                handles.append(handle)

    def _tap(self, tap: Tap) -> RemovableHandle:
        module = self.model.get_submodule(tap.name)
        self._tapped[tap.source] = tap, module
        if tap.arg is not None:
            check_parameter(module, tap, self.side)
        return module.register_forward_hook(_Hook(self, tap), with_kwargs=True)

    def stop_after(self, modules: Iterable[nn.Module]) -> None:
        """Check for the stop at the end of these modules too (their insides are compiled)."""
        for module in modules:
            module.register_forward_hook(_Boundary(self))

    def record(self, source: str, value: Any) -> None:
        """Keep one value; stop the forward if it was the last one needed."""
        self.outputs.setdefault(source, []).append(value)
        if not torch.compiler.is_compiling():
            versions = {id(tensor): tensor._version for tensor in tensors_in(value)}
            self._versions.setdefault(source, []).append(versions)
        if self.satisfied and not torch.compiler.is_compiling():
            raise StopForward

    @property
    def sources(self) -> list[str]:
        """What is recorded."""
        return list(self._tapped)

    @property
    def satisfied(self) -> bool:
        """Whether every tap has fired as often as this forward needs; never without a need."""
        return self._need is not None and all(
            len(self.outputs.get(source, ())) >= count for source, count in self._need.items()
        )

    @contextmanager
    def arm(self, need: Mapping[str, int] | None = None) -> Iterator[Recorder]:
        """Record while inside; with ``need`` (firings by source) stop the forward once met.

        The outputs stay readable after the block, until ``clear()`` or the next arming.
        """
        self.clear()
        if not torch.compiler.is_compiling():
            for tap, module in self._tapped.values():
                if self.model.get_submodule(tap.name) is not module:
                    self._tap(tap)  # replaced since: SyncBN conversion puts new modules in
        self._need = need
        self.armed = True
        try:
            yield self
        except StopForward:
            pass
        finally:
            self.armed = False
            self._need = None

    def clear(self) -> None:
        """Forget every output."""
        self.outputs = {}
        self._versions = {}

    def firings(self, tap: Tap) -> list[Any]:
        """All outputs of a tap in order of firing.

        Raises:
            TapError: It never fired, has no such element, or was changed in place afterwards.
        """
        outputs = self.outputs.get(tap.source, [])
        if not outputs:
            _, module = self._tapped[tap.source]
            children = [name for name, _ in module.named_children()]
            inside = f" inside it ({', '.join(children[:8])})" if children else " near it"
            raise TapError(
                f"tap {str(tap)!r} of the {self.side} never fired: the forward went past the "
                "module's own call, as for a head of which only parts are called, a module that "
                "another mode of the forward uses, or one fused by efficient_conv_bn_eval; tap a "
                f"module{inside} that is called"
            )
        selected = [select(output, tap, self.side) for output in outputs]
        for value, versions in zip(selected, self._versions.get(tap.source, []), strict=False):
            if any(tensor._version != versions[id(tensor)] for tensor in tensors_in(value)):
                raise TapError(
                    f"tap {str(tap)!r} of the {self.side}: its value {describe(value)} was "
                    "changed in place after it fired (an in-place activation or addition); tap "
                    "the module that makes the change, or set inplace=False there"
                )
        return selected


def select(output: Any, tap: Tap, side: str) -> Any:
    """The element of a module's output that the tap asks for."""
    if tap.index is None:
        return output
    if not isinstance(output, (list, tuple)):
        raise TapError(
            f"tap {str(tap)!r} of the {side}: the output is {describe(output)}, not a tuple or "
            f"list; write {tap.source!r}"
        )
    if not -len(output) <= tap.index < len(output):
        raise TapError(
            f"tap {str(tap)!r} of the {side}: the output has only {len(output)} elements "
            f"({describe(output)})"
        )
    return output[tap.index]


def gather(structure: Structure, recorder: Recorder, counts: Sequence[int] | None = None) -> Any:
    """The recorded values in the shape of ``structure``.

    Args:
        structure: The taps of one loss.
        recorder: Where their outputs are.
        counts: For each tap, in order, how many firings its partner had; ``None`` takes all there
            are. A tap that fired once serves all of its partner's firings; firings beyond the
            partner's were recorded for another loss.

    Returns:
        For each tap its output, or the list of its outputs where there are several.
    """
    wanted = iter(counts) if counts is not None else None

    def value(tap: Tap) -> Any:
        outputs = recorder.firings(tap)
        count = len(outputs) if wanted is None else next(wanted)
        if len(outputs) == 1:
            outputs = outputs * count
        if len(outputs) < count:
            raise TapError(
                f"tap {str(tap)!r} of the {recorder.side} fired {len(outputs)} times in one "
                f"forward, its partner {count} times: they do not pair up; tap modules that fire "
                "equally often (have both networks as many levels?)"
            )
        return outputs[0] if count == 1 else outputs[:count]

    return map_structure(value, structure)


def bound_arguments(module: nn.Module, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments of a module's call by parameter name, defaults included."""
    bound = inspect.signature(module.forward).bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def check_parameter(module: nn.Module, tap: Tap, side: str) -> None:
    """Refuse the name of an argument that a module's forward does not have.

    Raises:
        TapError: The message lists those it has.
    """
    parameters = inspect.signature(module.forward).parameters
    if tap.arg not in parameters:
        raise TapError(
            f"tap {str(tap)!r} of the {side}: the forward of {type(module).__name__} has no "
            f"parameter {tap.arg!r}, but {', '.join(parameters) or 'none'}"
        )


def tensors_in(value: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [tensor for item in value for tensor in tensors_in(item)]


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same nested tuples, lists and dicts with ``function(tensor)`` for each tensor."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: map_tensors(function, item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map_tensors(function, item) for item in value)
    return value


def describe(value: Any) -> str:
    """Shapes for a message: ``(2, 64, 8, 8)``, or those of the elements."""
    if isinstance(value, Tensor):
        return str(tuple(value.shape))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(describe, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {describe(item)}' for key, item in value.items())}}}"
    return type(value).__name__


def check_gradient(structure: Structure, recorder: Recorder) -> None:
    """Refuse student taps whose output carries no gradient; arguments are labels and their like."""
    taps = leaves(structure)
    for tap in [tap for tap in taps if tap.arg is None] or taps:
        for value in recorder.firings(tap):
            tensors = [t for t in tensors_in(value) if t.is_floating_point()]
            if not any(tensor.requires_grad for tensor in tensors):
                raise TapError(
                    f"tap {str(tap)!r} of the student: its output {describe(value)} carries no "
                    "gradient, so a loss on it would train nothing. The module is frozen, runs "
                    "under no_grad, or lies inside an activation-checkpointed region: tap a "
                    "trained module, or the output of the checkpointed region itself"
                )
