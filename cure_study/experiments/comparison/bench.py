"""One request on one teacher, and what a method makes of it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import Tensor, nn

from cure_core import objectives
from cure_core.config import CureConfig
from cure_core.encoders.embedding import raw_embeddings, teacher_views
from cure_core.metrics.ues import unlearning_efficiency_score
from cure_core.training.arcface import Recipe
from cure_core.unlearning import unlearn
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet
from cure_study.evaluation.attacks import attack_model
from cure_study.evaluation.evaluate import accuracies, evaluate
from cure_study.evaluation.protocol import Protocol, fewer_pairs, verification_only
from cure_study.evaluation.space import Space
from cure_study.experiments import study
from cure_study.experiments.attempts import attempt
from cure_study.experiments.comparison.plan import DatasetPlan, Plan, Settings, split_settings
from cure_study.experiments.comparison.store import Row


@dataclass(frozen=True, eq=False)
class Bench:
    """One request on one teacher, with what all methods share."""

    case: study.Case
    protocol: Protocol
    teacher: nn.Module
    space: Space
    views: tuple[Tensor, Tensor] | None


def bench(
    arena: DatasetPlan,
    faces: FaceSet,
    request: str,
    seed: int,
    n_pairs: int | None = None,
    attacked: bool = True,
    fast: bool = False,
) -> Bench:
    """Draw the request, train or fetch the teacher, embed what all methods need.

    `n_pairs` is the most of either kind that judge a set, the arena's where None. What is not
    `attacked` is judged by verification alone. `fast` compiles the encoders.
    """
    case = study.prepare(faces, arena_setting(arena, faces.name, request, fast), seed)
    teacher = study.train_teacher(case).encoder
    if fast:
        teacher.compile()
    protocol = fewer_pairs(case.protocol, n_pairs or arena.n_pairs)
    protocol = protocol if attacked else verification_only(protocol)
    views = tuple(teacher_views(teacher, s) for s in (case.request.forget, case.request.retain))
    return Bench(case, protocol, teacher, Space(protocol, teacher), views)  # type: ignore[arg-type]


def arena_setting(arena: DatasetPlan, dataset: str, request: str, fast: bool) -> study.StudySetting:
    """The study's setting behind a data set of the plan."""
    return study.StudySetting(
        encoder=arena.encoder,
        weights=arena.weights,
        request=request,
        forget_people=arena.forget_people,
        split=manifests.read(dataset).splits.model_dump() | arena.split,
        recipe=Recipe(**arena.teacher),
        config=CureConfig(compile=fast),
        n_pairs=arena.n_pairs,
    )


def carry_out(
    own: Bench, plan: Plan, method: str, settings: Settings, config: Settings
) -> tuple[nn.Module, Row]:
    """The student of a method, and what `attempt` returns of how it was made.

    `settings` are the method's, `config` the arguments of CureConfig that are everyone's.
    """
    asked, setting = split_settings(plan.changed(method, settings))
    name = plan.objective(method)
    request = own.case.request
    if name in plan.references:
        people = own.case.faces.identities
        setting["forget_labels"] = people[request.forget_index]
        setting["retain_labels"] = people[request.retain_index]
    cure = CureConfig(**{**config, **asked, "seed": own.case.seed})
    objective = objectives.build(name, **setting)
    return attempt(
        lambda: unlearn(
            own.teacher, request.forget, request.retain, cure, objective=objective, views=own.views
        )
    )


def verified(own: Bench, student: nn.Module) -> Row:
    """UES with its parts, by verification alone."""
    before, after = accuracies(own.space), accuracies(Space(own.protocol, student))
    ues = unlearning_efficiency_score(before, after)
    return {"ues": ues.score, "forgetting": ues.forgetting, "stability": ues.stability}


def taken(measure: Callable[[Bench, nn.Module], Row], own: Bench, student: nn.Module) -> Row:
    """What `measure` finds of a student; of one that collapsed, verification and why in `diverged`.

    Raises ValueError where `measure` does, and the student has not collapsed.
    """
    try:
        return measure(own, student)
    except ValueError as error:
        if not _collapsed(own, student):
            raise
        reason = f"the student collapsed: {' '.join(str(error).split())}"
    try:
        before, after = accuracies(own.space), accuracies(Space(own.protocol, student))
    except ValueError:  # embeddings that are not finite: it recognises nobody
        before = accuracies(own.space)
        after = dict.fromkeys(before, 0.5)
    ues = unlearning_efficiency_score(before, after)
    return {
        **{"ues": ues.score, "forgetting": ues.forgetting, "stability": ues.stability},
        **{f"accuracy_{which}": value for which, value in after.items()},
        **{f"accuracy_{which}_before": value for which, value in before.items()},
        "diverged": reason,
    }


def _collapsed(own: Bench, student: nn.Module) -> bool:
    """Whether a student gives most faces to forget one embedding, or any a useless one."""
    try:
        raw = raw_embeddings(student, own.case.request.forget)
    except ValueError:
        return True
    return bool((raw.norm(dim=1) == 0).any()) or len(raw.unique(dim=0)) <= len(raw) // 2


def judged(own: Bench, student: nn.Module | Space) -> Row:
    """The measures of a row of the comparison, the oracle's left out.

    `accuracy_*` are the student's, with `_before` the teacher's. `ues_fresh` is UES whose F is of
    new pictures of the forgotten: missing where there are none, where no whole people go, and where
    the teacher is at chance on them.
    """
    report = evaluate(own.protocol, before=own.space, after=student, n_bootstrap=0, progress=False)
    ues = report.ues()
    before, after = report.accuracies("before"), report.accuracies("after")
    fresh = {}
    if own.protocol.fresh is not None:
        before["fresh"], after["fresh"] = (
            report.value("accuracy_fresh", model=model) for model in ("before", "after")
        )
        if own.case.setting.request in study.OF_PEOPLE and before["fresh"] > 0.5:
            new = ({**values, "forget": values["fresh"]} for values in (before, after))
            fresh["ues_fresh"] = unlearning_efficiency_score(*new).score
    return {
        "ues": ues.score,
        "forgetting": ues.forgetting,
        "stability": ues.stability,
        **{f"accuracy_{which}": value for which, value in after.items()},
        **{f"accuracy_{which}_before": value for which, value in before.items()},
        **fresh,
        "tar_forget": report.value("tar"),
        "membership_recall": report.value("membership_recall"),
        "membership_auc": report.value("membership_auc"),
        "rank1_old_gallery": report.value("rank1_old_gallery"),
        "rank1_new_gallery": report.value("rank1_new_gallery"),
    }


def attacked(own: Bench, student: nn.Module | Space) -> Row:
    """What a sceptic's attacks find, a column a measure: attack, metric, pictures shown.

    Without shadow encoders. Of relearning, on three pictures of each, the accuracy after the last
    step and, as `_before`, ahead of the first.
    """
    space = student if isinstance(student, Space) else Space(own.protocol, student)
    measured, _ = attack_model(
        space, own.space, relearn_images=[3], relearn_epochs=15, n_bootstrap=0
    )
    found: Row = {}
    for row in pd.DataFrame(measured).to_dict("records"):
        name, at = f"{row['attack']}_{row['metric']}", row["at"]
        if str(row["attack"]).startswith("relearning"):
            found.setdefault(f"{name}_before", row["value"])
            found[name] = row["value"]
        else:
            found[name if np.isnan(at) else f"{name}_{at:g}"] = row["value"]
    return found
