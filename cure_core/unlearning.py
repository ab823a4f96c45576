"""The unlearning loop: a student that starts as the teacher and follows an objective."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.checkpoint import load_checkpoint, save_checkpoint
from cure_core.config import CureConfig
from cure_core.embedding import (
    Images,
    content_digest,
    embed,
    mirrored,
    module_device,
    raw_embeddings,
    take,
)
from cure_core.files import digest
from cure_core.memory import keep_freed_memory
from cure_core.objectives import Batch, Cure, Objective, Setup
from cure_core.progress import bar
from cure_core.rich import table
from cure_core.settling import settle_batchnorm

__all__ = ["CureConfig", "UnlearningDivergedError", "UnlearningResult", "unlearn"]


@dataclass(frozen=True, repr=False)
class UnlearningResult:
    """The student in eval mode, and how it came about.

    `history`: one row an epoch, every loss term a column; `facts`: what the objective chose, the
    numbers of clusters among them.
    """

    student: nn.Module
    history: pd.DataFrame
    facts: Mapping[str, float]
    config: CureConfig
    seconds: float

    def __repr__(self) -> str:
        facts = "".join(f", {name} {value:g}" for name, value in self.facts.items())
        return f"UnlearningResult({len(self.history)} epochs in {self.seconds:.0f} s{facts})"

    def _repr_html_(self) -> str:
        told = {"epochs": len(self.history), "took": f"{self.seconds:.1f} s"}
        told |= {name.replace("_", " "): f"{value:g}" for name, value in self.facts.items()}
        ends = self.history.iloc[[0, -1]] if len(self.history) > 1 else self.history
        losses = ends.to_html(index=False, float_format="{:.4f}".format, border=0)
        return table("UnlearningResult", told) + "First and last epoch:" + losses


class UnlearningDivergedError(FloatingPointError):
    """The loss or gradient is no longer finite; `student` and `history` are the last good ones."""

    def __init__(self, message: str, student: nn.Module, history: pd.DataFrame) -> None:
        super().__init__(message)
        self.student, self.history = student, history


def unlearn(
    teacher: nn.Module,
    forget: Images,
    retain: Images,
    config: CureConfig | None = None,
    on_epoch: Callable[[nn.Module], Mapping[str, float]] | None = None,
    *,
    objective: Callable[[CureConfig], Objective] = Cure,
    views: tuple[Tensor, Tensor] | None = None,
    checkpoint: str | Path | None = None,
    device: torch.device | str | None = None,
    progress: bool | None = None,
) -> UnlearningResult:
    """Make a copy of `teacher` forget the faces in `forget` and keep those in `retain`.

    `forget`, `retain`: uint8 images (N, 112, 112, 3), arrays, memory maps or data sets yielding
    such images and nothing else: no label is asked for. `on_epoch(student)` joins the history,
    which is empty for a method that takes no step.
    `views`: `teacher_views` of both sets, where they are known from another run on them.
    `checkpoint` names a file written after every epoch; where it exists, the run goes on from it
    and ends with the numbers an uninterrupted one would have had (CPU).
    Raises ValueError for an empty set, K out of range, views of other sets, embeddings that are
    not finite, or a checkpoint of another run; UnlearningDivergedError, which carries the last
    good student.
    Source: the student-teacher loop of CURE (arXiv:2509.19562), for any objective.
    """
    config = config or CureConfig()
    goal = objective(config)
    _check_sets(forget, retain)
    weights = _weights(goal, config)
    keep_freed_memory()
    began = time.perf_counter()
    device = torch.device(device) if device is not None else module_device(teacher)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    student = copy.deepcopy(teacher).to(device)
    student.to(memory_format=layout)  # type: ignore[call-overload]
    views = views or (
        teacher_views(student, forget, device),
        teacher_views(student, retain, device),
    )
    targets = tuple(x.to(device) for x in views)
    optimiser = torch.optim.Adam(student.parameters(), lr=config.learning_rate)
    generator = torch.Generator().manual_seed(config.seed)
    rows: list[dict[str, float]] = []

    identity = _identity(teacher, forget, retain, config, goal) if checkpoint else {}
    saved = load_checkpoint(checkpoint, identity) if checkpoint else None
    if saved is None:
        goal.start(Setup(student, forget, retain, targets[0], targets[1], device))
    else:
        student.load_state_dict(saved["student"])
        optimiser.load_state_dict(saved["optimiser"])
        goal.load_state({k: v.to(device) for k, v in saved["objective"].items()})
        generator.set_state(saved["generator"])
        rows, began = saved["rows"], began - saved["seconds"]

    forward = torch.compile(student) if config.compile else student
    epochs = range(len(rows), config.epochs if weights else 0)  # without terms there is no step
    for epoch in bar(epochs, "unlearning", progress, unit="epoch"):
        goal.begin_epoch(epoch, lambda: embed(student, forget, device=device).to(device))
        good = {name: tensor.clone() for name, tensor in student.state_dict().items()}
        drawn_so_far = generator.get_state()
        student.train(config.batchnorm == "train")
        batches = draw_batches((forget, retain), targets, config, generator, device)
        means, failed = run_epoch(forward, goal, weights, optimiser, batches, config)
        student.eval()
        trouble = f"the loss is not finite in epoch {epoch + 1}, by step {failed}"
        if failed is None and not _sound(student, forget, device):
            trouble, failed = f"the student's embeddings are not finite after epoch {epoch + 1}", 0
        if failed is not None:
            student.load_state_dict(good)
            generator.set_state(drawn_so_far)
            _finish(student, retain, config, generator, len(rows))
            raise UnlearningDivergedError(
                f"{trouble}; the student of epoch {epoch} is kept; "
                f"lower learning_rate={config.learning_rate}",
                student,
                pd.DataFrame(rows),
            )
        watched = on_epoch(student) if on_epoch else {}
        rows.append({"epoch": epoch + 1, **means, **{k: float(v) for k, v in watched.items()}})
        if checkpoint:
            state = {
                "student": student.state_dict(),
                "optimiser": optimiser.state_dict(),
                "objective": goal.state(),
                "generator": generator.get_state(),
                "rows": rows,
                "seconds": time.perf_counter() - began,
            }
            save_checkpoint(checkpoint, identity, state)
    _finish(student, retain, config, generator, len(rows))
    seconds = time.perf_counter() - began
    return UnlearningResult(student, pd.DataFrame(rows), goal.facts(), config, seconds)


def run_epoch(
    forward: Callable[[Tensor], Tensor],
    objective: Objective,
    weights: Mapping[str, float],
    optimiser: torch.optim.Optimizer,
    batches: Iterator[tuple[Tensor, dict[str, Tensor]]],
    config: CureConfig,
) -> tuple[dict[str, float], int | None]:
    """One pass over `batches`: the mean of each loss term, and the step that diverged, or None.

    Nothing in a step waits for the device; only the looks for divergence do.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    names = [*weights, "loss", "gradient_norm"]
    weight = torch.tensor(list(weights.values()), device=parameters[0].device)
    sums, step = torch.zeros(len(names), device=weight.device), 0  # not finite from the first lapse
    for step, (images, known) in enumerate(batches, 1):
        with torch.autocast(images.device.type, torch.bfloat16, enabled=config.amp):
            embeddings = forward(images)
        n = len(known["forget_index"])
        unit = F.normalize(embeddings.float(), dim=1)
        terms = objective.terms(Batch(student_forget=unit[:n], student_retain=unit[n:], **known))
        # A term of weight 0 is watched, not followed: nothing is spent on its gradient.
        followed = [terms[k].mean() if w else terms[k].detach().mean() for k, w in weights.items()]
        values = torch.stack(followed)
        loss = (weight * values).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, config.clip)
        optimiser.step()
        sums += torch.cat([values.detach(), loss.detach()[None], norm[None]])
        if step % config.check_every == 0 and not sums.isfinite().all():
            return {}, step
    if not sums.isfinite().all():
        return {}, step
    return {name: total / step for name, total in zip(names, sums.tolist(), strict=True)}, None


def draw_batches(
    sets: tuple[Images, Images],
    targets: Sequence[Tensor],
    config: CureConfig,
    generator: torch.Generator,
    device: torch.device,
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    """One pass over the forget set: images, forget first, and what the objective knows of them."""
    size, beside = (min(b, len(s)) for b, s in zip(config.batch_size, sets, strict=True))
    for forget_index in torch.randperm(len(sets[0]), generator=generator).split(size):
        retain_index = torch.randint(len(sets[1]), (beside,), generator=generator)
        both = (forget_index, retain_index)
        images = torch.cat([take(s, i.numpy()) for s, i in zip(sets, both, strict=True)])
        flip = torch.rand(len(images), generator=generator) < 0.5
        images, flip, forget_index, retain_index = (
            _send(tensor, device) for tensor in (images, flip, *both)
        )
        images = torch.where(flip[:, None, None, None], mirrored(images), images)
        views = flip.long().split([len(forget_index), len(retain_index)])
        yield (
            images,
            {
                "teacher_forget": targets[0][views[0], forget_index],
                "teacher_retain": targets[1][views[1], retain_index],
                "forget_index": forget_index,
                "retain_index": retain_index,
                "forget_view": views[0],
                "retain_view": views[1],
            },
        )


def _finish(
    student: nn.Module, retain: Images, config: CureConfig, generator: torch.Generator, epochs: int
) -> None:
    """Make the student that `epochs` have left ready for use."""
    if epochs and config.batchnorm == "train" and len(retain) > 1:  # one sample has no variance
        settle_batchnorm(student, retain, generator)
    student.eval()


def _send(tensor: Tensor, device: torch.device) -> Tensor:
    """To the device without waiting for it."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def teacher_views(
    teacher: nn.Module, images: Images, device: torch.device | str | None = None
) -> Tensor:
    """The teacher's embeddings of every image and of its mirror image, (2, N, D), L2-normalised."""
    views = [raw_embeddings(teacher, images, device=device, view=v) for v in (None, mirrored)]
    return F.normalize(torch.stack(views), dim=2)


def _sound(student: nn.Module, images: Images, device: torch.device) -> bool:
    """Whether one batch still has finite embeddings: the last step's weights had no loss yet."""
    batch = take(images, np.arange(min(64, len(images)))).to(device)
    with torch.inference_mode():
        return bool(student(batch).isfinite().all())


def _check_sets(forget: Images, retain: Images) -> None:
    for name, images in (("forget", forget), ("retain", retain)):
        if len(images) == 0:
            raise ValueError(f"the {name} set is empty; unlearning needs both sets")
        first = images[0]
        if isinstance(first, tuple | list | dict):
            raise ValueError(
                f"the {name} set yields {type(first).__name__}; expected images and nothing else: "
                "labels have no place here"
            )
        first = np.asarray(first)
        if first.dtype != np.uint8 or first.shape != (112, 112, 3):
            raise ValueError(
                f"the {name} set holds {first.dtype} images of shape {first.shape}; "
                "expected uint8 of shape (112, 112, 3)"
            )


def _weights(objective: Objective, config: CureConfig) -> dict[str, float]:
    unknown = sorted(config.weights.keys() - objective.weights.keys())
    if unknown:
        raise ValueError(
            f"no loss term {', '.join(unknown)} in {type(objective).__name__}; "
            f"its terms are {', '.join(objective.weights)}"
        )
    weights = {name: float(w) for name, w in {**objective.weights, **config.weights}.items()}
    if weights and not any(weights.values()):
        raise ValueError(f"every weight is 0 ({', '.join(weights)}); give one loss term a weight")
    return weights


def _identity(
    teacher: nn.Module, forget: Images, retain: Images, config: CureConfig, objective: Objective
) -> dict[str, object]:
    return {
        **{f"config.{name}": value for name, value in asdict(config).items()},
        "objective": objective.described(),
        "teacher": digest(*(t.cpu().numpy() for t in teacher.state_dict().values())),
        "forget": content_digest(forget),
        "retain": content_digest(retain),
    }
