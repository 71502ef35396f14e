"""The Distiller: a student, its teachers, and losses between their taps. It knows no task.

    config --> Runner --> Distiller -- student: its own loss, taps armed -------.
                              |------- teacher: frozen, stops at its last tap --|--> one loss dict
                              '------- losses: (student tap, teacher tap) ------'

Validation, test and inference are the student alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mmkd_ext.registry import MODELS

from .build import LossTerm, build_losses, plan_losses
from .checkpoint import install_reader
from .inherit import inherit_weights, inheritance
from .networks import build_student, build_teacher
from .optim import install as install_optimizer_view
from .passes import passes_of, train_in_passes
from .probe import untouched_random_state
from .schedule import Progress, factor_of
from .student_state import StudentState
from .tap_spec import TapError, leaves
from .taps import Recorder, check_gradient, describe, gather, tensors_in
from .teacher import EMATeacher, Teacher

install_optimizer_view()


@MODELS.register_module()
class Distiller(StudentState, BaseModel):
    """Trains a student with a teacher's help; everything else it does is the student's own.

    The student's children (``backbone``, ``head`` ...) are the distiller's own children, so every
    parameter has the name it has without us, in checkpoints, optimizers and hooks alike. The loss
    modules are the child ``distill``. Methods and attributes that the distiller lacks
    (``set_epoch``, ``get_layer_depth``, ``with_neck`` ...) are the student's.

    Args:
        student: Config of the student (any mm model), or a built one.
        losses: By name, the losses: ``dict(type=..., tap=..., schedule=..., teacher=..., <its
            arguments>)``. ``tap`` is described in :mod:`mmkd_ext.distill.tap_spec`, ``schedule``
            in :mod:`mmkd_ext.distill.schedule`; ``teacher`` names one of several.
        teacher: ``dict(config=..., checkpoint=...)`` and the other arguments of
            :class:`~mmkd_ext.distill.teacher.Teacher`; a config's path; a model's own dict; or
            ``dict(type='EMATeacher', momentum=...)``. ``None`` for self-distillation.
        teachers: Several, by name.
        student_loss_weight: Factor of the student's own losses (released KD: ``1 - alpha``).
        teacher_mode: ``'eval'`` or ``'train'``: the default ``mode`` of the teachers.
        inherit: Modules of the student that begin with the teacher's weights, such as
            ``['neck', 'bbox_head']``; ``dict(teacher='a', modules=[...])`` names one of several.
        data_preprocessor: The runner's top-level one; it is handed on to the student.
        input_shape: ``(C, H, W)`` of the blank image of the dry run that infers channels.

    Raises:
        TapError: A tap that cannot be resolved.
        KeyError: An unknown loss, teacher or model type.
        TypeError, ValueError: Arguments that do not fit.
    """

    def __init__(
        self,
        student: dict | nn.Module,
        losses: Mapping[str, Mapping[str, Any]],
        teacher: dict | nn.Module | None = None,
        teachers: Mapping[str, dict | nn.Module] | None = None,
        student_loss_weight: float = 1.0,
        teacher_mode: str = "eval",
        inherit: Sequence[str] | Mapping[str, Any] | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        input_shape: Sequence[int] = (3, 224, 224),
    ) -> None:
        install_reader()
        if teacher is not None and teachers:
            raise ValueError("give the Distiller `teacher` or `teachers`, not both")
        if student_loss_weight < 0:
            raise ValueError(f"student_loss_weight must be >= 0, not {student_loss_weight}")
        student = build_student(student, data_preprocessor)
        super().__init__(data_preprocessor=getattr(student, "data_preprocessor", None))
        self.student_loss_weight = student_loss_weight
        self._adopt(student)
        configs = dict(teachers or ({"teacher": teacher} if teacher is not None else {}))
        # Forked, so that the student starts from the weights it would have without us.
        with untouched_random_state():
            self.teachers: dict[str, Teacher] = {
                name: build_teacher(config, student, teacher_mode, name)
                for name, config in configs.items()
            }
            self.inherit = inheritance(inherit, list(self.teachers))
            if self.inherit and isinstance(self.teachers[self.inherit[0]], EMATeacher):
                raise ValueError(
                    "inherit: an EMA teacher begins as the student; there is nothing to inherit"
                )
            self.terms = plan_losses(losses, student, self.teachers)
            self.distill = build_losses(self.terms, student, self.teachers, input_shape)
        for name, member in self.teachers.items():
            member.watch(self._tap_sources(name), student)
        self.recorder = Recorder(student, self._tap_sources(None), "student")
        self._reported: set[str] = set()  # losses whose taps were described and checked
        self._shared_taps: dict[str, Any] | None = None  # of the teachers, see sharing_teachers

    def _tap_sources(self, teacher: str | None) -> list[str]:
        """What to record of the student (None) or in a teacher."""
        if teacher is None:
            members = [member.student_inputs for member in self.teachers.values()]
            given = [source for member in members if member for source in member.sources]
            return given + [tap.source for term in self.terms for tap in leaves(term.taps.student)]
        heard = [term for term in self.terms if term.teacher == teacher]
        return [tap.source for term in heard for tap in leaves(term.taps.teacher)]

    @property
    def teacher(self) -> nn.Module | None:
        """The single (or first) teacher's frozen network."""
        return next((member.model for member in self.teachers.values()), None)

    def init_weights(self) -> None:
        """Initialise the student, as without us; read the teachers' weights; let it inherit."""
        if hasattr(self.student, "init_weights"):
            self.student.init_weights()
        with untouched_random_state():
            for member in self.teachers.values():
                member.load()
        if self.inherit is not None:
            name, modules = self.inherit
            inherit_weights(self.student, self.teachers[name].model, modules, name)

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Mmengine's; in several passes where the student has several."""
        passes = passes_of(self.student)
        if passes is None:
            return super().train_step(data, optim_wrapper)
        return train_in_passes(self, passes, data, optim_wrapper)

    @contextmanager
    def sharing_teachers(self) -> Iterator[None]:
        """Run the teachers in the first loss forward inside, for all that follow.

        For several passes of the student over one batch; the others' taps fire as often.

        Raises:
            ValueError: A teacher is called with the student's arguments, which change.
        """
        for name, member in self.teachers.items():
            if member.student_inputs is not None:
                raise ValueError(
                    f"teacher {name!r}: student_inputs are those of one pass of the student, but "
                    "it has several passes a step; drop student_inputs"
                )
        self._shared_taps = {}
        try:
            yield
        finally:
            self._shared_taps = None

    def forward(
        self, inputs: Any, data_samples: list | None = None, mode: str = "tensor"
    ) -> dict[str, Tensor] | list | Tensor | tuple:
        """Mmengine's entry: ``'loss'`` distils, ``'predict'`` and ``'tensor'`` are the student's.

        Args:
            inputs: ``(N, C, H, W)`` from the data preprocessor, or what the student takes.
            data_samples: The batch's samples.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.
        """
        if mode == "loss":
            return self.loss(inputs, data_samples)
        return self.student(inputs, data_samples, mode=mode)

    def val_step(self, data: Any) -> list:
        """The student's own, if it has one."""
        return getattr(self.student, "val_step", super().val_step)(data)

    def test_step(self, data: Any) -> list:
        """The student's own, if it has one."""
        return getattr(self.student, "test_step", super().test_step)(data)

    def loss(self, inputs: Any, data_samples: list | None = None) -> dict[str, Any]:
        """The student's own losses, and the distillation losses under ``kd.``.

        Returns:
            The student's entries under their own names; ``kd.loss_<name>``, weighted and scheduled
            (``kd.loss_<name>_<term>`` where a loss has terms); ``kd.raw_<name>``, the same without
            weight and schedule, which is logged but not summed.
        """
        progress = Progress.current()
        factors = {term.name: factor_of(term.schedules, progress) for term in self.terms}
        active = [term for term in self.terms if factors[term.name] != 0]
        if self.training and torch.is_grad_enabled():
            for member in self.teachers.values():
                member.update(self.student)
        student = self.student if self._reported else self._uncompiled_student
        try:
            with self.recorder.arm():
                outputs = student(inputs, data_samples, mode="loss")
            results = self._weigh_student(outputs)
            student_taps = self.student_taps(active)
            teacher_taps = dict(self._shared_taps or {})
            if not teacher_taps:
                for name in self.teachers:
                    teacher_taps |= self.teacher_taps(name, active, inputs, data_samples)
            if self._shared_taps is not None:
                self._shared_taps = teacher_taps
        finally:
            self.forget_taps()
        for term in self.terms:
            if term in active:
                if term.name not in self._reported:
                    self._report(term, student_taps[term.name], teacher_taps.get(term.name))
                pair = student_taps[term.name], teacher_taps.get(term.name)
                results |= self._evaluate(term, *pair, data_samples, factors[term.name])
            else:
                # A switched-off loss keeps its parameters in the graph: DDP waits for each.
                idle = [p.sum() * 0 for p in self.distill[term.name].parameters()]
                if idle:
                    results[f"kd.loss_{term.name}"] = sum(idle)
        return results

    def parse_losses(self, losses: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """As mmengine's, but what is logged as ``loss`` is always the total.

        A student whose own loss is called ``loss`` (mmpretrain's are) would take its place; that
        one is logged as ``student.loss``.
        """
        total, log_vars = super().parse_losses(losses)
        if "loss" in losses:
            log_vars["student.loss"] = log_vars["loss"]
            log_vars["loss"] = total
        return total, log_vars

    def _weigh_student(self, outputs: dict[str, Any]) -> dict[str, Any]:
        if self.student_loss_weight == 1:
            return dict(outputs)
        return {
            key: _scaled(value, self.student_loss_weight) if "loss" in key else value
            for key, value in outputs.items()
        }

    def student_taps(self, terms: Sequence[LossTerm]) -> dict[str, Any]:
        """What the student's taps put out in the last armed forward, by loss name.

        Raises:
            TapError: A tap never fired, was changed in place, or carries no gradient (where
                gradients are enabled).
        """
        values = {}
        for term in terms:
            try:
                if torch.is_grad_enabled():
                    check_gradient(term.taps.student, self.recorder)
                values[term.name] = gather(term.taps.student, self.recorder)
            except TapError as error:
                raise TapError(f"losses[{term.name!r}]: {error}") from None
        return values

    def teacher_taps(
        self, name: str, terms: Sequence[LossTerm], inputs: Any, data_samples: list | None
    ) -> dict[str, Any]:
        """Run one teacher for those of ``terms`` that hear it; what its taps put out, by loss name.

        The student must have run: its firings say how far the teacher must.

        Args:
            name: Which teacher.
            terms: The losses at work; a teacher that none of them hears does not run.
            inputs: The student's preprocessed batch.
            data_samples: The batch's samples.

        Raises:
            TapError: A tap never fired, or less often than its partner in the student.
        """
        heard = [term for term in terms if term.teacher == name]
        if not heard:
            return {}
        wanted = {term.name: self._firings(term) for term in heard}
        need: dict[str, int] = {}
        for term in heard:
            for tap, count in zip(leaves(term.taps.teacher), wanted[term.name], strict=True):
                need[tap.source] = max(count, need.get(tap.source, 1))
        member = self.teachers[name]
        batch = member.prepare(inputs, self.data_preprocessor, data_samples)
        recorder = member.run(batch, data_samples, need, self.recorder)
        values = {}
        for term in heard:
            try:
                values[term.name] = gather(term.taps.teacher, recorder, wanted[term.name])
            except TapError as error:
                raise TapError(f"losses[{term.name!r}]: {error}") from None
        return values

    def forget_taps(self) -> None:
        """Let go of everything that was tapped."""
        self.recorder.clear()
        for member in self.teachers.values():
            member.recorder.clear()

    def _firings(self, term: LossTerm) -> list[int]:
        """For each teacher tap, how often its partner in the student fired."""
        counts = [len(self.recorder.firings(tap)) for tap in leaves(term.taps.student)]
        partners = leaves(term.taps.teacher)
        return counts if len(counts) == len(partners) else [max(counts)] * len(partners)

    def _evaluate(
        self, term: LossTerm, student: Any, teacher: Any, data_samples: Any, factor: float
    ) -> dict[str, Tensor]:
        module = self.distill[term.name]
        try:
            value = module(student, teacher, data_samples)
        except torch.OutOfMemoryError:
            raise
        except (TypeError, ValueError, RuntimeError) as error:
            kinds = (TypeError, ValueError, RuntimeError)
            kind = next(kind for kind in kinds if isinstance(error, kind))
            raise kind(
                f"{term.where}: {error} (student {describe(student)}, teacher {describe(teacher)})"
            ) from error
        weights = getattr(module, "loss_weight", 1.0)
        terms = value if isinstance(value, Mapping) else {"": value}
        results = {}
        for key, scalar in terms.items():
            if not isinstance(scalar, Tensor) or scalar.numel() != 1:
                raise TypeError(
                    f"{term.where}: {type(module).__name__} must return a scalar, or a dict of "
                    f"scalars, not {describe(scalar)}"
                )
            name = f"{term.name}_{key}" if key else term.name
            weight = weights.get(key, 1.0) if isinstance(weights, Mapping) else weights
            results[f"kd.loss_{name}"] = scalar * factor
            results[f"kd.raw_{name.replace('loss', 'l')}"] = scalar.detach() / (weight or 1.0)
        return results

    def _report(self, term: LossTerm, student: Any, teacher: Any) -> None:
        """Say once what the taps put out, and refuse a teacher whose output is not finite."""
        self._reported.add(term.name)
        if not all(torch.isfinite(tensor).all() for tensor in tensors_in(teacher)):
            raise ValueError(
                f"{term.where}: the teacher's output holds NaN or infinity; check its checkpoint, "
                "its input normalisation and its dtype"
            )
        extra = sum(p.numel() for p in self.distill[term.name].parameters())
        against = "" if teacher is None else f" against {describe(teacher)}"
        print_log(
            f"{term.where}: {describe(student)}{against}, {extra:,} parameters", logger="current"
        )

    @torch.compiler.disable
    def _uncompiled_student(self, *args: Any, **kwargs: Any) -> Any:
        """The first loss forward: in compiled code a change in place after a tap goes unseen."""
        stance = getattr(torch.compiler, "set_stance", None)  # torch >= 2.6
        with stance("force_eager") if stance else nullcontext():
            return self.student(*args, **kwargs)

    def get_layer_depth(self, param_name: str) -> tuple[int, int]:
        """The student's answer; loss modules count as its last layer (no decay of their rate)."""
        if param_name.startswith("distill."):
            first = next(iter(dict(self.student.named_parameters())))
            _, depth = self.student.get_layer_depth(first)
            return depth - 1, depth
        return self.student.get_layer_depth(param_name)

    def train(self, mode: bool = True) -> Distiller:
        """Through the student's own ``train``, which may keep parts of it in eval mode."""
        self.training = mode
        self.student.train(mode)
        self.distill.train(mode)
        return self


def _scaled(value: Any, factor: float) -> Any:
    return [item * factor for item in value] if isinstance(value, (list, tuple)) else value * factor
