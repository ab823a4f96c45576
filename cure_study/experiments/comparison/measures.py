"""What is measured of a student: UES alone, a row of the comparison, or a row of the attacks."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from torch import nn

from cure_core.encoders.embedding import raw_embeddings
from cure_core.metrics.gallery import rank_one
from cure_core.metrics.ues import unlearning_efficiency_score
from cure_study.data.requests import PEOPLE_REQUESTS
from cure_study.evaluation.evaluate import accuracies, evaluate
from cure_study.evaluation.space import Space
from cure_study.experiments.attacks.run import attack_model
from cure_study.experiments.comparison.task import Task
from cure_study.experiments.typed_csv import Row

Measure = Callable[[Task, nn.Module], Row]


def measure_ues(task: Task, student: nn.Module) -> Row:
    """UES, forgetting and stability, from verification alone."""
    return _ues(accuracies(task.space), accuracies(Space(task.protocol, student)))


def measure_all(task: Task, student: nn.Module | Space) -> Row:
    """The measures of a row of the comparison, without the oracle's.

    `accuracy_*` are the student's, with `_before` the teacher's. `ues_fresh` is UES with F from new
    images of the forgotten people: missing if there are none, for requests of single images, and
    if the teacher is at chance on them. `rank1_retained`: rank-1 of the held-out images of retained
    people among the teacher's templates, `_before` the teacher's own.
    """
    space = student if isinstance(student, Space) else Space(task.protocol, student)
    report = evaluate(task.protocol, before=task.space, after=space, n_bootstrap=0, progress=False)
    before, after = report.accuracies("before"), report.accuracies("after")
    row = _ues(before, after)
    if task.protocol.fresh is not None:
        before["fresh"], after["fresh"] = (
            report.value("accuracy_fresh", model=model) for model in ("before", "after")
        )
        if task.case.setting.request in PEOPLE_REQUESTS and before["fresh"] > 0.5:
            fresh = ({**values, "forget": values["fresh"]} for values in (before, after))
            row["ues_fresh"] = unlearning_efficiency_score(*fresh).score
    return {
        **row,
        **_accuracies(before, after),
        "tar_forget": report.value("tar"),
        **{name: report.value(name) for name in ("membership_recall", "membership_auc")},
        **{name: report.value(name) for name in ("rank1_old_gallery", "rank1_new_gallery")},
        "rank1_retained": _rank1_retained(space, task.space),
        "rank1_retained_before": _rank1_retained(task.space, task.space),
    }


def _rank1_retained(space: Space, teacher: Space) -> float:
    """Whether enrolled templates of retained people can stay in use."""
    p, people = space.protocol, space.protocol.faces.identities
    pairs = p.pairs["retain"]
    probes = np.union1d(pairs.left, pairs.right)
    return rank_one(space[probes], people[probes], teacher[p.gallery], people[p.gallery])


def measure_attacks(task: Task, student: nn.Module | Space) -> Row:
    """What the attacks find, one column per measure: attack, metric, number of images shown.

    Without shadow encoders. Relearning uses three images of each person: the accuracy after the
    last step and, as `_before`, ahead of the first.
    """
    space = student if isinstance(student, Space) else Space(task.protocol, student)
    measured, _ = attack_model(
        space, task.space, relearn_images=[3], relearn_epochs=15, n_bootstrap=0
    )
    row: Row = {}
    for line in pd.DataFrame(measured).to_dict("records"):
        name, at = f"{line['attack']}_{line['metric']}", line["at"]
        if str(line["attack"]).startswith("relearning"):
            row.setdefault(f"{name}_before", line["value"])
            row[name] = line["value"]
        else:
            row[name if np.isnan(at) else f"{name}_{at:g}"] = line["value"]
    return row


def measure_or_collapse(measure: Measure, task: Task, student: nn.Module) -> Row:
    """The row of `measure`; for a collapsed student, verification and the reason in `diverged`.

    Raises ValueError if `measure` does and the student has not collapsed.
    """
    try:
        return measure(task, student)
    except ValueError as error:
        if not _collapsed(task, student):
            raise
        reason = f"the student collapsed: {' '.join(str(error).split())}"
    before = accuracies(task.space)
    try:
        after = accuracies(Space(task.protocol, student))
    except ValueError:  # its embeddings are not finite: it recognises nobody
        after = dict.fromkeys(before, 0.5)
    return {**_ues(before, after), **_accuracies(before, after), "diverged": reason}


def _collapsed(task: Task, student: nn.Module) -> bool:
    """Whether most images to forget have one embedding, or any has a zero or non-finite one."""
    try:
        raw = raw_embeddings(student, task.case.request.forget)
    except ValueError:
        return True
    return bool((raw.norm(dim=1) == 0).any()) or len(raw.unique(dim=0)) <= len(raw) // 2


def _ues(before: Mapping[str, float], after: Mapping[str, float]) -> Row:
    ues = unlearning_efficiency_score(before, after)
    return {"ues": ues.score, "forgetting": ues.forgetting, "stability": ues.stability}


def _accuracies(before: Mapping[str, float], after: Mapping[str, float]) -> Row:
    return {
        **{f"accuracy_{name}": value for name, value in after.items()},
        **{f"accuracy_{name}_before": value for name, value in before.items()},
    }
