"""The unlearning loop: a student that starts as the teacher and follows an objective."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.config import CureConfig
from cure_core.encoders.embedding import Images, embed, module_device, take, teacher_views
from cure_core.html import table
from cure_core.objectives import Batch, Objective, Setup, UnlearningDivergedError, make_objective
from cure_core.preflight import (
    check_config,
    check_device,
    check_fits,
    check_output,
    check_path,
    check_sets,
    check_teacher,
    check_views,
    identity,
    term_weights,
)
from cure_core.runtime.distributed import gather, on_rank_zero, world_size, wrap_ddp
from cure_core.runtime.precision import autocast, descend, flush_denormals, gradient_scaler
from cure_core.runtime.progress import bar
from cure_core.runtime.randomness import forked, seeded
from cure_core.training.batches import draw_batches
from cure_core.training.batchnorm_recalibration import recalibrate_batchnorm
from cure_core.training.checkpoint import Checkpoint

__all__ = ["CureConfig", "UnlearningDivergedError", "UnlearningResult", "unlearn"]


@dataclass(frozen=True, eq=False, repr=False)
class UnlearningResult:
    """The student in eval mode, and how it came about.

    `history`: one row an epoch, every loss term a column; `summary`: what the objective chose, the
    numbers of clusters among them.
    """

    student: nn.Module
    history: pd.DataFrame
    summary: Mapping[str, float]
    config: CureConfig
    seconds: float

    def __repr__(self) -> str:
        facts = "".join(f", {name} {value:g}" for name, value in self.summary.items())
        return f"UnlearningResult({len(self.history)} epochs in {self.seconds:.0f} s{facts})"

    def _repr_html_(self) -> str:
        told = {"epochs": len(self.history), "took": f"{self.seconds:.1f} s"}
        told |= {name.replace("_", " "): f"{value:g}" for name, value in self.summary.items()}
        ends = self.history.iloc[[0, -1]] if len(self.history) > 1 else self.history
        losses = ends.to_html(index=False, float_format="{:.4f}".format, border=0)
        return table("UnlearningResult", told) + "First and last epoch:" + losses


@flush_denormals()
def unlearn(
    teacher: nn.Module,
    forget: Images,
    retain: Images,
    config: CureConfig | None = None,
    on_epoch: Callable[[nn.Module], Mapping[str, float]] | None = None,
    *,
    objective: str | Callable[[CureConfig], Objective] = "cure_plus",
    views: tuple[Tensor, Tensor] | None = None,
    checkpoint: str | Path | None = None,
    device: torch.device | str | None = None,
    progress: bool | None = None,
) -> UnlearningResult:
    """Make a copy of `teacher` forget the faces in `forget` and keep those in `retain`.

    `forget`, `retain`: uint8 images (N, 112, 112, 3), arrays, memory maps or data sets yielding
    such images and nothing else: no label is asked for. `on_epoch(student)` returns numbers by
    name, or None; they join the history, which is empty for a method that takes no step.
    `objective`: a name in `objectives.METHODS`, `objectives.build(name, **settings)` or a subclass
    of `Objective`. The default, "cure_plus", is ours and erases more than the paper's; for the
    paper's pass objective="cure".
    `views`: `teacher_views` of both sets, where they are known from another run on them.
    `checkpoint` names a file written every minute and after every epoch; where it exists, the run
    goes on from it and ends with the numbers an uninterrupted one would have had (CPU).
    All that is random follows from `config.seed`; torch's generators are left as they were.
    In a group of processes (`runtime.distributed`) all call this alike and share the work.
    Raises ValueError for an argument of the wrong type, an empty set, a forget set that is all
    retained, K out of range, views of other sets, embeddings that are not finite, or a checkpoint
    of another run; MemoryError, before anything is done, for what cannot fit; OSError where a
    checkpoint cannot be written; UnlearningDivergedError, which carries the last good student.
    Source: the student-teacher loop of CURE (arXiv:2509.19562), for any objective.
    """
    check_teacher(teacher)
    config = check_config(config)
    check_sets(forget, retain)
    goal = make_objective(objective, config)
    goal.check_sizes(len(forget), len(retain))
    weights = term_weights(goal, config)
    if views is not None:
        check_views(views, forget, retain)
    if on_epoch is not None and not callable(on_epoch):
        raise ValueError(f"on_epoch={on_epoch!r}; expected a function of the student, or None")
    checkpoint = check_path(checkpoint)
    device = check_device(device, teacher)
    check_output(teacher, forget)
    if weights:
        saves = checkpoint is not None and views is None
        check_fits(teacher, forget, retain, config, device, saves)

    def made_of() -> dict[str, object]:
        return identity(teacher, forget, retain, config, goal) if checkpoint is not None else {}

    keeper = Checkpoint(checkpoint, on_rank_zero(made_of), device)
    with seeded(config.seed, device), torch.inference_mode(False), torch.enable_grad():
        return _unlearn(
            teacher,
            forget,
            retain,
            config,
            on_epoch,
            goal,
            weights,
            views,
            keeper,
            device,
            progress,
        )


def _unlearn(
    teacher: nn.Module,
    forget: Images,
    retain: Images,
    config: CureConfig,
    on_epoch: Callable[[nn.Module], Mapping[str, float]] | None,
    goal: Objective,
    weights: Mapping[str, float],
    views: tuple[Tensor, Tensor] | None,
    keeper: Checkpoint,
    device: torch.device,
    progress: bool | None,
) -> UnlearningResult:
    began = time.perf_counter()
    trains_statistics = config.batchnorm == "train"
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    student = copy.deepcopy(teacher).to(device)
    student.to(memory_format=layout)  # type: ignore[call-overload]
    saved = keeper.load()
    rows: list[dict[str, float]] = saved["rows"] if saved else []
    epochs = range(len(rows), config.epochs if weights else 0)  # no terms, no steps
    targets: tuple[Tensor, ...] = ()
    if saved is None or epochs:
        known = views or keeper.views(
            lambda: (teacher_views(student, forget, device), teacher_views(student, retain, device))
        )
        targets = tuple(x.to(device) for x in known)
    optimiser = torch.optim.Adam(student.parameters(), lr=config.learning_rate)
    scaler = gradient_scaler(config.amp, device)
    generator = torch.Generator().manual_seed(config.seed)
    if saved is not None:
        student.load_state_dict(saved["student"])
        optimiser.load_state_dict(saved["optimiser"])
        scaler.load_state_dict(saved["scaler"])
        with forked(device):  # what an objective draws here was drawn before the generators' state
            goal.load_state(_moved(saved["objective"], device))
        generator.set_state(saved["generator"])
        began = time.perf_counter() - saved["seconds"]  # what was done again was counted then
    probe = take(forget, np.arange(min(64, len(forget)))).to(device)

    def begun() -> dict[str, Any]:
        """An epoch begun: the student and generator it begins with, steps done, sums of terms."""
        good = {name: tensor.clone() for name, tensor in student.state_dict().items()}
        return {"good": good, "generator": generator.get_state(), "step": 0, "sums": None}

    part = (saved["part"] if saved else None) or begun()

    def save() -> None:
        if keeper.path is None:
            return
        state = {
            "student": student.state_dict(),
            "optimiser": optimiser.state_dict(),
            "scaler": scaler.state_dict(),
            "objective": goal.state(),
            "generator": part["generator"],
            "rows": rows,
            "part": part if part["step"] else {},
            "seconds": time.perf_counter() - began,
        }
        keeper.save(state)

    def after_step(step: int, sums: Tensor) -> None:
        if keeper.due() and sums.isfinite().all() and _sound(student, probe):
            part.update(step=step, sums=sums)
            save()

    def embedded() -> Tensor:
        try:
            return embed(student, forget, device=device).to(device)
        except ValueError as error:
            raise UnlearningDivergedError(f"the student has diverged: {error}") from error

    with keeper:  # a signal waits until something is saved
        try:
            if saved is None:
                goal.start(Setup(student, forget, retain, targets[0], targets[1], device))
                if not _sound(student, probe):
                    raise UnlearningDivergedError("the student's embeddings are not finite")
                part = begun()
                if epochs:
                    goal.begin_epoch(0, embedded)
                save()  # K-means at scale is minutes of work
            forward: Callable[[Tensor], Tensor] = wrap_ddp(student, device, trains_statistics)
            forward = torch.compile(forward) if config.compile else forward
            for epoch in bar(epochs, "unlearning", progress, unit="epoch"):
                student.train(trains_statistics)
                sets, behind = (forget, retain), (part["step"], part["sums"])
                batches = draw_batches(sets, targets, config, generator, device, skip=part["step"])
                means, failed = run_epoch(
                    forward, goal, weights, optimiser, batches, config, scaler, behind, after_step
                )
                student.eval()
                if failed is not None:
                    raise UnlearningDivergedError(
                        f"the loss is not finite in epoch {epoch + 1}, by step {failed}"
                    )
                if not _sound(student, probe):
                    raise UnlearningDivergedError(
                        f"the student's embeddings are not finite after epoch {epoch + 1}"
                    )
                with forked(device):
                    watched = (on_epoch(student) if on_epoch else None) or {}
                # Before this epoch counts: where the student has collapsed, that is noticed here.
                if epoch + 1 < config.epochs:
                    goal.begin_epoch(epoch + 1, embedded)
                row = {"epoch": epoch + 1, **means}
                if taken := row.keys() & watched.keys():
                    raise ValueError(f"on_epoch names {', '.join(sorted(taken))}, a loss term")
                rows.append(row | {name: float(value) for name, value in watched.items()})
                part = begun()
                save()
        except UnlearningDivergedError as error:
            student.load_state_dict(part["good"])
            generator.set_state(part["generator"])
            hint = f"; lower learning_rate={config.learning_rate}" if weights else ""
            error.args = (f"{error}; the student of epoch {len(rows)} is kept{hint}",)
            error.student = _finish(teacher, student, retain, config, generator, len(rows))
            error.history = pd.DataFrame(rows)
            raise
    done = _finish(teacher, student, retain, config, generator, len(rows))
    if not _sound(done, probe):
        raise UnlearningDivergedError(
            "batch norm's statistics over the retain set are not finite; lower "
            f"learning_rate={config.learning_rate}",
            copy.deepcopy(teacher).eval(),
            pd.DataFrame(),
        )
    keeper.discard_views()
    seconds = time.perf_counter() - began
    return UnlearningResult(done, pd.DataFrame(rows), goal.summary(), config, seconds)


def run_epoch(
    forward: Callable[[Tensor], Tensor],
    objective: Objective,
    weights: Mapping[str, float],
    optimiser: torch.optim.Optimizer,
    batches: Iterator[tuple[Tensor, dict[str, Tensor]]],
    config: CureConfig,
    scaler: torch.amp.GradScaler | None = None,
    begun: tuple[int, Tensor | None] = (0, None),
    after_step: Callable[[int, Tensor], None] | None = None,
) -> tuple[dict[str, float], int | None]:
    """One pass over `batches`: the mean of each loss term, and the step that diverged, or None.

    `begun`: the steps that the epoch has behind it, and their sums; `after_step` is given both.
    Nothing in a step waits for the device; only the looks for divergence do.
    """
    device = optimiser.param_groups[0]["params"][0].device
    scaler = scaler or gradient_scaler(config.amp, device)
    names = [*weights, "loss", "gradient_norm"]
    weight = torch.tensor(list(weights.values()), device=device)
    step, done = begun
    sums = torch.zeros(len(names), device=device) if done is None else done.to(device)
    for images, known in batches:
        step += 1
        with autocast(config.amp, device):
            embeddings = forward(images)
        n = len(known["forget_index"])
        both = n + len(known["retain_index"])
        unit = F.normalize(gather(embeddings.float(), both), dim=1)
        terms = objective.terms(Batch(student_forget=unit[:n], student_retain=unit[n:], **known))
        # A term of weight 0 is watched, not followed: nothing is spent on its gradient.
        followed = [terms[k].mean() if w else terms[k].detach().mean() for k, w in weights.items()]
        values = torch.stack(followed)
        loss = (weight * values).sum()
        norm = descend(loss, optimiser, scaler, config.clip)
        sums += torch.cat([values.detach(), loss.detach()[None], norm[None]])
        if step % config.check_every == 0 and not sums.isfinite().all():
            return {}, step  # sums stay not finite from the first lapse
        if after_step is not None:
            after_step(step, sums)
    if not sums.isfinite().all():
        return {}, step
    return {name: total / step for name, total in zip(names, sums.tolist(), strict=True)}, None


def _finish(
    teacher: nn.Module,
    student: nn.Module,
    retain: Images,
    config: CureConfig,
    generator: torch.Generator,
    epochs: int,
) -> nn.Module:
    """The student that `epochs` have left, ready for use."""
    if epochs and config.batchnorm == "train" and len(retain) > 1:  # one sample has no variance
        recalibrate_batchnorm(student, retain, generator)
    if world_size() > 1:  # without the layers that only a group of processes has
        plain = copy.deepcopy(teacher).to(module_device(student))
        plain.load_state_dict(student.state_dict())
        student = plain
    # Contiguous, since safetensors refuses other memory layouts.
    student.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return student.eval()


def _sound(student: nn.Module, probe: Tensor) -> bool:
    """Whether some images still have finite embeddings: the last step's weights had no loss yet."""
    training = student.training
    with torch.inference_mode():
        sound = bool(student.eval()(probe).isfinite().all())
    student.train(training)
    return sound


def _moved(value: Any, device: torch.device) -> Any:
    """`value` with every tensor in it on `device`."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, list | tuple):
        return type(value)([_moved(item, device) for item in value])
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    return value
