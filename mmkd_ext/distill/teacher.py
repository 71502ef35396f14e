"""The teacher: a frozen network outside the module tree, run only as far as its last tap."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.model import ExponentialMovingAverage
from torch import Tensor, nn

from mmkd_ext.registry import MODELS
from mmkd_ext.text import listed

from .checkpoint import CheckpointError, non_finite_keys, read_checkpoint, weights_of
from .inputs import InputStats, renormalize
from .student_inputs import StudentInputs
from .tap_spec import TapError
from .taps import Recorder

_DTYPES = {"float32", "float64", "float16", "bfloat16"}


class Teacher:
    """A frozen network that is no part of the distiller's module tree.

    So it is in no ``state_dict``, optimizer, DDP bucket or EMA copy; a deep copy of the distiller
    shares it. Weights are read by ``load()``, when training starts, never to test or infer.

    Args:
        config: The teacher's config: a path, ``'pkg::folder/name.py'``, a model's own dict, or a
            whole config with ``model`` (and perhaps a top-level ``data_preprocessor``). Where it
            has no ``data_preprocessor``, the student's input is taken to fit as it is.
        checkpoint: Path or URL of its weights; ``None`` leaves it as initialised, said loudly.
        mode: ``'eval'``, or ``'train'`` for parity with published runs that left the teacher's
            batch norm and dropout in training mode.
        dtype: Its own precision, such as ``'bfloat16'`` (autocast) or ``'float32'`` (autocast off);
            ``None`` follows the surrounding autocast.
        compile: ``True`` or keyword arguments of ``torch.compile``, applied to each direct child.
        forward: Which entry to run it through: ``'tensor'``, or ``'loss'`` for modules that only
            the loss path calls.
        student_inputs: Arguments of its modules that are the student's, as taps: with
            ``'roi_head.bbox_roi_extractor(rois)'`` its second stage judges the student's regions.
        hint: Appended to the error for a missing checkpoint, such as the command that trains it.
        name: Its name in messages.
    """

    def __init__(
        self,
        config: str | dict | Config | nn.Module,
        checkpoint: str | None = None,
        mode: str = "eval",
        dtype: str | None = None,
        compile: bool | dict[str, Any] = False,
        forward: str = "tensor",
        student_inputs: str | Sequence[Any] | Mapping[str, str] = (),
        hint: str | None = None,
        name: str = "teacher",
    ) -> None:
        _choose("mode", mode, {"eval", "train"}, name)
        _choose("forward", forward, {"tensor", "loss"}, name)
        if dtype is not None:
            _choose("dtype", dtype, _DTYPES, name)
        self.name = name
        self.checkpoint = checkpoint
        self.mode = mode
        self.dtype = None if dtype is None else getattr(torch, dtype)
        self.compile = compile
        self.entry = forward
        self._inputs_wanted = student_inputs
        self.student_inputs: StudentInputs | None = None
        self.hint = hint
        if isinstance(config, nn.Module):
            model, self._has_preprocessor = config, hasattr(config, "data_preprocessor")
        else:
            model, self._has_preprocessor = build_model(config)
        self.model = self._freeze(model)
        self.recorder: Recorder | None = None
        self._loaded = False
        self._stats: tuple[InputStats | None, InputStats | None] | None = None
        self.seen: dict[str, int] = {}  # firings of a whole forward, where fewer than asked for
        if self.dtype == torch.float64:
            self.model.double()

    def _freeze(self, model: nn.Module) -> nn.Module:
        model.requires_grad_(False)
        model.train(self.mode == "train")  # of mmpretrain's backbones this returns nothing
        return model

    def __deepcopy__(self, memo: dict[int, Any]) -> Teacher:
        return self  # an EMA copy of the distiller needs no second teacher

    def apply_(self, function: Any) -> None:
        """What ``nn.Module._apply`` does to children: ``.to()``, ``.cuda()`` and their like."""
        if self.dtype is None:
            self.model._apply(function)
        else:  # follow the device, keep the teacher's own precision
            here = next(self.model.parameters(), torch.empty(0)).device
            self.model.to(function(torch.empty(0, device=here)).device)

    def watch(self, sources: Iterable[str], student: nn.Module) -> None:
        """Set the taps, once; then compile, so that the compiled code holds the hooks."""
        self.recorder = Recorder(self.model, sources, self.name)
        if self._inputs_wanted:
            if self.compile:
                raise ValueError(
                    f"{self.name}: student_inputs put other arguments into each call, which "
                    "compiled code does not allow; drop compile or student_inputs"
                )
            self.student_inputs = StudentInputs(self._inputs_wanted, student, self.model, self.name)
        if self.compile:
            options = {} if self.compile is True else dict(self.compile)
            for child in self.model.children():
                child.forward = torch.compile(child.forward, **options)
            self.recorder.stop_after(self.model.children())

    def load(self) -> None:
        """Read the weights, once.

        Raises:
            CheckpointError: No such file, unreadable, not a single matching key, other shapes, or
                weights that are not finite.
        """
        if self._loaded:
            return
        self._loaded = True
        if self.checkpoint is None:
            if hasattr(self.model, "init_weights"):
                self.model.init_weights()
            print_log(
                f"The {self.name} has NO CHECKPOINT: its weights are as initialised. Fine for a "
                "test or an ablation; for anything else give teacher=dict(checkpoint=...).",
                logger="current",
                level=30,
            )
        else:
            try:
                weights = weights_of(read_checkpoint(self.checkpoint))
            except CheckpointError as error:
                path = str(self.checkpoint)
                missing = "://" not in path and not Path(path).expanduser().exists()
                hint = f" {self.hint}" if self.hint and missing else ""
                raise CheckpointError(f"{self.name}: {error}{hint}") from None
            load_weights(self.model, weights, self.name, self.checkpoint)
        self._freeze(self.model)

    def prepare(
        self, inputs: Any, student_preprocessor: nn.Module | None, data_samples: Any = None
    ) -> Any:
        """The student's preprocessed batch, re-normalised for this teacher."""
        if self._stats is None:  # read once: on a GPU each reading waits for the device
            own = self.model.data_preprocessor if self._has_preprocessor else None
            self._stats = InputStats.of(student_preprocessor), InputStats.of(own)
        return renormalize(inputs, *self._stats, data_samples)

    @torch.compiler.disable  # a compiled training step would trace past the stop; see `compile`
    def run(
        self,
        inputs: Any,
        data_samples: Any,
        need: Mapping[str, int],
        student: Recorder,
    ) -> Recorder:
        """Run the frozen network until every tap has fired as often as ``need`` says.

        Args:
            inputs: What ``prepare`` returned.
            data_samples: The batch's samples (two-stage detectors read their meta information).
            need: Firings wanted by source; a module that fires fewer times is known from then
                on, so that later forwards stop early again.
            student: What the student's modules were called with, for ``student_inputs``.

        Returns:
            The recorder, holding the outputs until its ``clear()``.
        """
        self.load()
        if self.model.training != (self.mode == "train"):
            self.model.train(self.mode == "train")
        need = {name: min(count, self.seen.get(name, count)) for name, count in need.items()}
        finished = False
        given = nullcontext()
        if self.student_inputs is not None:
            given = self.student_inputs.given(student)
        with torch.no_grad(), self._precision(inputs), given, self.recorder.arm(need):
            try:
                self.model(self._cast(inputs), data_samples, mode=self.entry)
                finished = True
            except TapError:
                raise
            except Exception as error:
                silent = [name for name in need if name not in self.recorder.outputs]
                if not silent:
                    raise
                raise RuntimeError(
                    f"the {self.name}'s forward (mode={self.entry!r}) failed before its tap "
                    f"{silent[0]!r} fired: {type(error).__name__}: {error}"
                ) from error
        if finished:
            counts = {name: len(self.recorder.outputs.get(name, ())) for name in need}
            self.seen.update({n: c for n, c in counts.items() if 0 < c < need[n]})
        return self.recorder

    def predict(self, inputs: Any, data_samples: Any) -> Any:
        """The whole network's predictions, in its own precision, in the mode it stands in.

        Args:
            inputs: What ``prepare`` returned.
            data_samples: The batch's samples, which the network may write into.
        """
        with torch.no_grad(), self._precision(inputs):
            return self.model(self._cast(inputs), data_samples, mode="predict")

    def _precision(self, inputs: Any) -> Any:
        if self.dtype is None:
            return nullcontext()
        device = inputs.device.type if isinstance(inputs, Tensor) else "cuda"
        half = self.dtype in (torch.float16, torch.bfloat16)
        return torch.autocast(device, dtype=self.dtype if half else None, enabled=half)

    def _cast(self, inputs: Any) -> Any:
        if self.dtype == torch.float64 and isinstance(inputs, Tensor):
            return inputs.double()
        return inputs

    def update(self, student: nn.Module) -> None:
        """Called before every training forward; only an EMA teacher has work here."""


class EMATeacher(Teacher):
    """A teacher that is the running average of the student (mean teacher).

    Its weights are training state: they are saved, under ``ema_teacher.<name>.``, and resumed.

    Args:
        student: The network to average; a deep copy of it is the teacher.
        momentum: Share of the *student* in each update, as in mmengine's ``EMAHook``: 0.001 keeps
            99.9 % of the teacher a step.
        mode, dtype, forward, student_inputs, name: As for :class:`Teacher`.
    """

    def __init__(
        self,
        student: nn.Module,
        momentum: float = 0.001,
        mode: str = "eval",
        dtype: str | None = None,
        forward: str = "tensor",
        student_inputs: str | Sequence[Any] | Mapping[str, str] = (),
        name: str = "teacher",
    ) -> None:
        if not 0 < momentum < 1:
            raise ValueError(f"{name}: momentum must lie between 0 and 1, not {momentum}")
        self.average = ExponentialMovingAverage(student, momentum=momentum)
        self._averaged: int | None = None  # state of the student's weights at the last update
        super().__init__(
            self.average.module,
            mode=mode,
            dtype=dtype,
            forward=forward,
            student_inputs=student_inputs,
            name=name,
        )

    def apply_(self, function: Any) -> None:
        """As for any teacher; the step count stays on the CPU, where reading it costs no wait."""
        self.model._apply(function)

    def load(self) -> None:
        """Nothing to read: the first update copies the student, or a resume restored it."""
        self._loaded = True

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Average the student in; the very first call copies it (mmengine's step 0).

        Once an optimizer step: forwards between which no parameter changed (accumulated
        gradients) count once.
        """
        state = sum(parameter._version for parameter in student.parameters())
        if state != self._averaged:
            self.average.update_parameters(student)
            self._averaged = state


def build_model(config: str | Mapping[str, Any] | Config) -> tuple[nn.Module, bool]:
    """Build the model of a config, whichever library's it is; its weights are not read.

    Args:
        config: As for :class:`Teacher`.

    Returns:
        The model, and whether the config says how its input is preprocessed. A model's own dict
        often does not (mmpretrain keeps that at the top level): its input is then the student's.

    Raises:
        FileNotFoundError: No such config.
        KeyError: The config holds no model, or names an unknown type.
    """
    where = repr(config) if isinstance(config, str) else "the teacher's config"
    if isinstance(config, str):
        from mmkd_ext.compat import resolve_config

        config = Config.fromfile(resolve_config(config))
    model, scope, preprocessor = config, None, None
    if "model" in config:
        model = config["model"]
        scope = config.get("default_scope")
        preprocessor = config.get("data_preprocessor")
    while "student" in model and "losses" in model:  # a distilled teacher: only its student runs
        preprocessor = model.get("data_preprocessor", preprocessor)
        model = model["student"]
    if "type" not in model:
        raise KeyError(f"{where} holds no model: neither `model` nor a `type`")
    model = copy.deepcopy(ConfigDict(model))
    if preprocessor is not None:
        model.setdefault("data_preprocessor", copy.deepcopy(preprocessor))
    if scope is not None:
        model.setdefault("_scope_", scope)
    return MODELS.build(model), model.get("data_preprocessor") is not None


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], name: str, origin: str) -> None:
    """Load a checkpoint's weights into a network, reporting what does not match.

    Raises:
        CheckpointError: No key matches, shapes differ, or a weight is not finite.
    """
    bad = non_finite_keys(weights)
    if bad:
        raise CheckpointError(
            f"{name}: {origin} holds NaN or infinite weights ({listed(bad)}); it would teach "
            "nothing but NaN: use a checkpoint of a training that did not diverge"
        )
    for prefix in ("module.", "student."):
        if weights and all(key.startswith(prefix) for key in weights):
            weights = {key[len(prefix) :]: value for key, value in weights.items()}
    own = model.state_dict()
    differing = [
        f"{key} is {tuple(weights[key].shape)}, the model wants {tuple(own[key].shape)}"
        for key in own
        if key in weights and isinstance(weights[key], Tensor)
        and weights[key].shape != own[key].shape
    ]  # fmt: skip
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        reason = listed(differing, 3) if differing else str(error)
        raise CheckpointError(
            f"{name}: {origin} is a checkpoint of another network: {reason}. Give the config that "
            "this checkpoint was trained with"
        ) from None
    if {name for name, _ in model.named_parameters()} <= set(missing):
        raise CheckpointError(
            f"{name}: not one key of {origin} matches the model (the file has "
            f"{listed(list(weights), 3)}; the model has {listed(list(own), 3)}). Give the config "
            "that this checkpoint was trained with"
        )
    print_log(
        f"{name}: {len(own) - len(missing)} of {len(own)} tensors read from {origin}",
        logger="current",
    )
    for keys, what in ((missing, "MISSING from the checkpoint"), (unexpected, "unexpected in it")):
        if keys:
            level = 30 if keys is missing else 20
            print_log(
                f"{name}: {len(keys)} keys {what}: {listed(keys)}", logger="current", level=level
            )


def _choose(what: str, value: str, allowed: set[str], name: str) -> None:
    if value not in allowed:
        raise ValueError(
            f"{name}: {what} must be one of {', '.join(sorted(allowed))}, not {value!r}"
        )
