"""The unlearning loop: a student that starts as the teacher and follows an objective."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.config import CureConfig
from cure_core.encoders.embedding import NotFiniteError, embed, module_device, teacher_views
from cure_core.encoders.images import Images
from cure_core.html import table
from cure_core.objectives import Batch, Objective, Setup, UnlearningDivergedError
from cure_core.preflight import CheckedArguments, check_arguments, run_identity
from cure_core.runtime.amp import autocast, gradient_scaler
from cure_core.runtime.denormals import flush_denormals
from cure_core.runtime.distributed import gather, on_rank_zero, world_size, wrap_ddp
from cure_core.runtime.randomness import forked, seeded
from cure_core.training.batches import draw_batches, epoch_steps
from cure_core.training.batchnorm_recalibration import recalibrate_batchnorm
from cure_core.training.checkpoint import Checkpoint
from cure_core.training.loop import DivergedError, Loop, Stateful
from cure_core.training.optimiser_step import optimiser_step

__all__ = ["CureConfig", "UnlearningDivergedError", "UnlearningResult", "unlearn"]


@dataclass(frozen=True, eq=False, repr=False)
class UnlearningResult:
    """The student in eval mode, and how it was made.

    `history`: one row per epoch, a column per loss term; `summary`: what the objective chose, such
    as the numbers of clusters.
    """

    student: nn.Module
    history: pd.DataFrame
    summary: Mapping[str, float]
    config: CureConfig
    seconds: float

    def __repr__(self) -> str:
        chosen = "".join(f", {name} {value:g}" for name, value in self.summary.items())
        return f"UnlearningResult({len(self.history)} epochs in {self.seconds:.0f} s{chosen})"

    def _repr_html_(self) -> str:
        rows = {"epochs": len(self.history), "took": f"{self.seconds:.1f} s"}
        rows |= {name.replace("_", " "): f"{value:g}" for name, value in self.summary.items()}
        ends = self.history.iloc[[0, -1]] if len(self.history) > 1 else self.history
        losses = ends.to_html(index=False, float_format="{:.4f}".format, border=0)
        return table("UnlearningResult", rows) + "First and last epoch:" + losses


@flush_denormals()
def unlearn(
    teacher: nn.Module,
    forget: Images,
    retain: Images,
    config: CureConfig | None = None,
    on_epoch: Callable[[nn.Module], Mapping[str, float] | None] | None = None,
    *,
    objective: str | Callable[[CureConfig], Objective] = "cure_plus",
    views: tuple[Tensor, Tensor] | None = None,
    checkpoint: str | Path | None = None,
    device: torch.device | str | None = None,
    progress: bool | None = None,
) -> UnlearningResult:
    """Make a copy of `teacher` forget the faces in `forget` and keep those in `retain`.

    `forget`, `retain`: uint8 images (N, H, W, 3) of the size that the teacher takes, arrays, memory
    maps or data sets yielding such images and nothing else: no labels are needed.
    `on_epoch(student)` returns numbers by name, or None; they join the history, which is empty for
    a method that takes no step.
    `objective`: a name in `objectives.METHODS`, `objectives.build(name, **settings)` or a subclass
    of `Objective`. The default, "cure_plus", is ours and erases more than the paper's; for the
    paper's pass objective="cure".
    `views`: `teacher_views` of both sets, if they are known from another run on them.
    `checkpoint` names a file written every minute and after every epoch; if it exists, the run
    resumes from it and ends with the numbers an uninterrupted one would have had (CPU).
    All randomness follows from `config.seed`; torch's generators are left unchanged.
    In a process group (`runtime.distributed`) all processes make the same call and share the work.
    Raises ValueError for an argument of the wrong type, an empty set, a forget set that is all
    retained, K out of range, views of other sets, embeddings that are not finite, or a checkpoint
    of another run; MemoryError, before any work, for what cannot fit; OSError if a checkpoint
    cannot be written; UnlearningDivergedError, which carries the last good student.
    Source: the student-teacher loop of CURE (arXiv:2509.19562), for any objective.
    """
    checked = check_arguments(
        teacher, forget, retain, config, objective, views, checkpoint, device, on_epoch
    )
    config, method, device = checked.config, checked.objective, checked.device
    sets = checked.forget, checked.retain
    epochs = method.passes(config) if checked.weights else 0  # no loss terms, no steps
    with seeded(config.seed, device), torch.inference_mode(False), torch.enable_grad():
        student = _student(teacher, config, device)
        per_epoch = epoch_steps((len(sets[0]), len(sets[1])), config, method.shows_forget)
        step = UnlearningStep(student, method, checked.weights, config, device, epochs * per_epoch)
        loop = _make_loop(step, teacher, checked)
        resumed = loop.resume()
        if views is None and (not resumed or len(loop.history) < epochs):
            views = loop.checkpoint.views(lambda: _teacher_views(teacher, checked))
        device_views = tuple(view.to(device) for view in views or ())

        def embed_forget() -> Tensor:
            try:
                return embed(student, checked.forget, device=device).to(device)
            except NotFiniteError as error:
                raise DivergedError(f"the student has diverged: {error}") from error

        with loop:
            try:
                if not resumed:
                    method.start(Setup(student, *sets, device_views[0], device_views[1], device))
                    loop.check_networks()
                    loop.start_epoch()
                    if epochs:
                        method.begin_epoch(0, embed_forget)
                    loop.save()  # K-means at scale takes minutes
                step.prepare()
                for epoch in loop.epochs(epochs, "unlearning", progress):
                    student.train(config.batchnorm == "train")
                    batches = draw_batches(
                        sets,
                        device_views,
                        config,
                        loop.generator,
                        device,
                        loop.step,
                        method.shows_forget,
                    )
                    for images, known in batches:
                        loop.add(step(images, known))
                    student.eval()
                    row = {"epoch": epoch + 1, **step.means(loop.totals(), loop.step)}
                    row |= _measure(student, on_epoch, row, device)
                    if epoch + 1 < epochs:  # before this epoch counts: it may find a collapse
                        method.begin_epoch(epoch + 1, embed_forget)
                    loop.end_epoch(row)
            except DivergedError as error:
                loop.roll_back()
                start = student if loop.history else _student(teacher, config, device)
                last_good = _finish(start, teacher, checked, loop)
                raise _divergence(error, last_good, loop, checked) from error.__cause__
        student = _finish(student, teacher, checked, loop)
        if problem := loop.problem():
            raise UnlearningDivergedError(
                f"{problem} with batch norm's statistics of the retain set; lower "
                f"learning_rate={config.learning_rate}",
                copy.deepcopy(teacher).eval(),
                pd.DataFrame(),
            )
    loop.checkpoint.discard_views()
    history = pd.DataFrame(loop.history)
    return UnlearningResult(student, history, method.summary(), config, loop.seconds)


class UnlearningStep:
    """One step of unlearning: a batch in, the loss terms, their sum and the gradient norm out.

    `steps`: how many there will be, for a method that changes the learning rate.
    Nothing in a step waits for the device.
    """

    def __init__(
        self,
        student: nn.Module,
        objective: Objective,
        weights: Mapping[str, float],
        config: CureConfig,
        device: torch.device,
        steps: int = 0,
    ) -> None:
        self.student, self.objective, self.config, self.device = student, objective, config, device
        self.optimiser: torch.optim.Optimizer = torch.optim.Adam(
            student.parameters(), lr=float(objective.config.learning_rate)
        )
        self.schedule = objective.schedule(self.optimiser, steps) if steps else None
        self.scaler = gradient_scaler(config.amp, device)
        self.weights = dict(weights)
        self._weight_vector = torch.tensor(list(weights.values()), device=device)
        self._forward: Callable[[Tensor], Tensor] = student

    def prepare(self) -> None:
        """Wrap the student for a process group and compile it, if the config says so."""
        self._forward = wrap_ddp(self.student, self.device, self.config.batchnorm == "train")
        if self.config.compile:
            self._forward = torch.compile(self._forward)

    def __call__(self, images: Tensor, known: Mapping[str, Tensor]) -> Tensor:
        """Train on a batch of `draw_batches`; returns the losses (n,) in the order of `means`."""
        with autocast(self.config.amp, self.device):
            embeddings = self._forward(images)
        n = len(known["forget_index"])
        both = n + len(known["retain_index"])
        unit = F.normalize(gather(embeddings.float(), both), dim=1)
        batch = Batch(student_forget=unit[:n], student_retain=unit[n:], **known)
        terms = self.objective.terms(batch)
        # A term of weight 0 is only reported: no gradient is computed for it.
        values = torch.stack(
            [
                terms[name].mean() if weight else terms[name].detach().mean()
                for name, weight in self.weights.items()
            ]
        )
        loss = (self._weight_vector * values).sum()
        norm = optimiser_step(loss, self.optimiser, self.scaler, self.config.clip)
        if self.schedule is not None:
            self.schedule.step()
        return torch.cat([values.detach(), loss.detach()[None], norm[None]])

    def means(self, totals: Sequence[float], steps: int) -> dict[str, float]:
        """The mean of each loss term, of the loss and of the gradient norm over `steps`."""
        names = [*self.weights, "loss", "gradient_norm"]
        return {name: total / steps for name, total in zip(names, totals, strict=True)}


def _student(teacher: nn.Module, config: CureConfig, device: torch.device) -> nn.Module:
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    return copy.deepcopy(teacher).to(device).to(memory_format=layout)  # type: ignore[call-overload]


def _teacher_views(teacher: nn.Module, checked: CheckedArguments) -> tuple[Tensor, Tensor]:
    encoder = _student(teacher, checked.config, checked.device)  # same device and layout, same bits
    return teacher_views(encoder, checked.forget), teacher_views(encoder, checked.retain)


def _make_loop(step: UnlearningStep, teacher: nn.Module, checked: CheckedArguments) -> Loop:
    parts: dict[str, Stateful] = {
        "student": step.student,
        "optimiser": step.optimiser,
        "scaler": step.scaler,
        "objective": checked.objective,
    }
    if step.schedule is not None:
        parts["schedule"] = step.schedule
    run = on_rank_zero(lambda: run_identity(teacher, checked) if checked.checkpoint else {})
    return Loop(
        parts,
        torch.Generator().manual_seed(checked.config.seed),
        Checkpoint(checked.checkpoint, run, checked.device),
        checked.device,
        problem=lambda: _problem(step.student, checked.probe),
        check_every=checked.config.check_every,
        fallback=step.student,
    )


def _problem(student: nn.Module, probe: Tensor) -> str | None:
    training = student.training
    with torch.inference_mode():
        finite = bool(student.eval()(probe).isfinite().all())
    student.train(training)
    return None if finite else "the student's embeddings are not finite"


def _measure(
    student: nn.Module,
    on_epoch: Callable[[nn.Module], Mapping[str, float] | None] | None,
    row: Mapping[str, float],
    device: torch.device,
) -> dict[str, float]:
    """What `on_epoch` returns. Raises ValueError if it has a name that `row` has."""
    with forked(device):
        measured = (on_epoch(student) if on_epoch else None) or {}
    if shared := row.keys() & measured.keys():
        raise ValueError(f"on_epoch names {', '.join(sorted(shared))}, a loss term")
    return {name: float(value) for name, value in measured.items()}


def _divergence(
    error: DivergedError, student: nn.Module, loop: Loop, checked: CheckedArguments
) -> UnlearningDivergedError:
    """The error, of the class that the objective raised, with the last good student."""
    kept = f"the student of epoch {len(loop.history)} is kept"
    hint = f"; lower learning_rate={checked.config.learning_rate}" if checked.weights else ""
    if not isinstance(error, UnlearningDivergedError):
        error = UnlearningDivergedError(str(error)).with_traceback(error.__traceback__)
    error.args = (f"{error}; {kept}{hint}",)
    error.student, error.history = student, pd.DataFrame(loop.history)
    return error


def _finish(
    student: nn.Module, teacher: nn.Module, checked: CheckedArguments, loop: Loop
) -> nn.Module:
    """The student of the epochs in `loop.history`, ready for use."""
    trained = len(loop.history) > 0 and checked.config.batchnorm == "train"
    if trained and len(checked.retain) > 1:  # one sample has no variance
        recalibrate_batchnorm(student, checked.retain, loop.generator)
    if world_size() > 1:  # without the layers of a process group
        plain = copy.deepcopy(teacher).to(module_device(student))
        plain.load_state_dict(student.state_dict())
        student = plain
    # Contiguous, since safetensors refuses other memory layouts.
    student.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return student.eval()
