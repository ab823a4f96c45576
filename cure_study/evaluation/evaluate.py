"""Teacher, student and oracle on the same pairs, by the same measures."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import nn

from cure_core.metrics.gallery import rank_one
from cure_core.metrics.intervals import Interval, people_bootstrap
from cure_core.metrics.ues import ScoredPairs, ues_intervals
from cure_core.metrics.verification import (
    best_threshold,
    equal_error_rate,
    tar_at_far,
    ten_fold_accuracy,
)
from cure_study.evaluation.protocol import Protocol
from cure_study.evaluation.report import Report
from cure_study.evaluation.space import Space

SETS = ("forget", "retain", "test")
FAR = 1e-3

# A number from pairs' scores, whether each is genuine, and their folds, all of shape (P,).
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


def evaluate(
    protocol: Protocol,
    *,
    before: nn.Module | Space,
    after: nn.Module | Space,
    oracle: nn.Module | Space | None = None,
    n_bootstrap: int = 300,
    device: torch.device | str | None = None,
    progress: bool | None = None,
) -> Report:
    """Evaluate the teacher, the student and the oracle by every measure of the study.

    Each verification measure, and UES (CURE), has a 95 % interval that resamples people
    (`n_bootstrap` times; 0 for none). A model that is evaluated often can be embedded once and
    passed as its `Space`. Raises ValueError if a model's embeddings are not finite.
    """
    models = {"before": before, "after": after} | ({} if oracle is None else {"oracle": oracle})
    spaces: dict[str, Space] = {}
    for name, model in models.items():
        try:
            spaces[name] = (
                model if isinstance(model, Space) else Space(protocol, model, device, progress)
            )
        except ValueError as error:
            raise ValueError(f"the model {name!r}: {error}") from error
    teacher = spaces["before"]
    # UES is not defined for a teacher at chance.
    with_ues = n_bootstrap > 0 and min(accuracies(teacher).values()) > 0.5
    rows: list[tuple[object, ...]] = []
    scores = []
    for name, space in spaces.items():
        if with_ues and space is not teacher:
            intervals = _ues(space, teacher, n_bootstrap)
            rows += [(name, "all", metric, *interval) for metric, interval in intervals.items()]
        impostors = _impostors_across_sets(space)
        for which in SETS:
            pairs, score = protocol.pairs[which], space.scores(protocol.pairs[which])
            columns = {"model": name, "set": which, "genuine": pairs.genuine, "score": score}
            scores.append(pd.DataFrame(columns))
            threshold = best_threshold(teacher.scores(pairs), pairs.genuine)
            measures: dict[str, Measure] = {
                "accuracy": accuracy,
                "tar": tar,
                "eer": eer,
                "accuracy_fixed": partial(_accuracy_at, threshold),
            }
            rows += [
                (name, which, metric, *over_people(measure, protocol, which, score, n_bootstrap))
                for metric, measure in measures.items()
            ]
            if which != "test":
                tar_cross = tar_at_far(score[pairs.genuine], impostors, FAR)
                rows.append((name, which, "tar_cross", tar_cross, np.nan, np.nan))
        by_attacks = space.membership | _recognised_again(space, teacher)
        rows += [(name, "forget", *measured, np.nan, np.nan) for measured in by_attacks.items()]
    table = pd.DataFrame(rows, columns=["model", "set", "metric", "value", "low", "high"])
    return Report(table, pd.concat(scores, ignore_index=True))


def accuracies(space: Space) -> dict[str, float]:
    """Ten-fold accuracy of one model on the sets "forget", "retain" and "test"."""
    p = space.protocol
    return {
        which: ten_fold_accuracy(space.scores(pairs), pairs.genuine, p.folds[which])
        for which, pairs in p.pairs.items()
    }


def over_people(
    measure: Measure, protocol: Protocol, which: str, score: np.ndarray, n_bootstrap: int
) -> Interval:
    """A measure of the scores (P,) of a set's pairs, its 95 % interval resampling people.

    `n_bootstrap` times; NaN bounds for 0.
    """
    pairs, folds = protocol.pairs[which], protocol.folds[which]
    people = protocol.faces.identities

    def resampled(index: np.ndarray) -> float:
        return measure(score[index], pairs.genuine[index], folds[index])

    if not n_bootstrap:
        return Interval(resampled(np.arange(len(pairs))), np.nan, np.nan)
    sides = people[pairs.left], people[pairs.right]
    return people_bootstrap(resampled, *sides, n=n_bootstrap, seed=protocol.seed)


def accuracy(score: np.ndarray, genuine: np.ndarray, folds: np.ndarray) -> float:
    """Ten-fold accuracy; NaN if a class is in one fold only, with none left to fit a threshold."""
    if any(len(np.unique(folds[kind])) < 2 for kind in (genuine, ~genuine)):
        return np.nan
    return ten_fold_accuracy(score, genuine, folds)


def tar(score: np.ndarray, genuine: np.ndarray, _folds: np.ndarray) -> float:
    """TAR at `FAR`."""
    return tar_at_far(score[genuine], score[~genuine], FAR)


def eer(score: np.ndarray, genuine: np.ndarray, _folds: np.ndarray) -> float:
    return equal_error_rate(score[genuine], score[~genuine])


def _accuracy_at(
    threshold: float, score: np.ndarray, genuine: np.ndarray, _folds: np.ndarray
) -> float:
    accepted = score > threshold
    return float((accepted[genuine].mean() + (~accepted[~genuine]).mean()) / 2)


def _ues(space: Space, teacher: Space, n_bootstrap: int) -> dict[str, Interval]:
    p, people = space.protocol, space.protocol.faces.identities
    judged = {
        which: ScoredPairs(
            teacher.scores(pairs),
            space.scores(pairs),
            pairs.genuine,
            p.folds[which],
            people[pairs.left],
            people[pairs.right],
        )
        for which, pairs in p.pairs.items()
    }
    intervals = ues_intervals(judged, n_bootstrap=n_bootstrap, seed=p.seed)
    intervals["ues"] = intervals.pop("score")
    return intervals


def _impostors_across_sets(space: Space) -> np.ndarray:
    """Scores of every forget image against every image of a retain pair of another person.

    Many, so no interval resamples them.
    """
    p, people = space.protocol, space.protocol.faces.identities
    retain, forget = p.pairs["retain"], p.forget
    others = np.unique(np.concatenate([retain.left, retain.right]))
    impostors = people[forget][:, None] != people[others]  # a request by sample: people stay
    return (space[forget] @ space[others].T)[impostors]


def _recognised_again(space: Space, teacher: Space) -> dict[str, float]:
    """How well forgotten people are recognised on their held-out images, the probes.

    Rank-1 with templates by the teacher and by this model, and the accuracy on pairs of probes.
    """
    p, people = space.protocol, space.protocol.faces.identities
    if len(p.probes) == 0:
        return {}
    probes, labels, gallery = space[p.probes], people[p.probes], people[p.gallery]
    measured = {
        "rank1_old_gallery": rank_one(probes, labels, teacher[p.gallery], gallery),
        "rank1_new_gallery": rank_one(probes, labels, space[p.gallery], gallery),
    }
    if p.fresh is not None:
        measured["accuracy_fresh"] = ten_fold_accuracy(space.scores(p.fresh), p.fresh.genuine)
    return measured
