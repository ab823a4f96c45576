"""Before, after and oracle, by the same pairs and attacks."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import nn

from cure_core.metrics.gallery import rank_one
from cure_core.metrics.intervals import Interval, people_bootstrap
from cure_core.metrics.pairs import Pairs
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
    """Judge the teacher, the student and the oracle by every measure of the study.

    Each verification measure, and UES (CURE), has a 95 % interval that resamples people
    (`n_bootstrap` times; 0 for none). A model that is judged often is embedded once and given as
    its `Space`. Raises ValueError where a model's embeddings are not finite.
    """
    models = {"before": before, "after": after}
    if oracle is not None:
        models["oracle"] = oracle
    spaces = {}
    for name, model in models.items():
        try:
            space = model if isinstance(model, Space) else Space(protocol, model, device, progress)
        except ValueError as error:
            raise ValueError(f"the model {name!r}: {error}") from error
        spaces[name] = space
    # UES is not defined for a teacher at chance.
    with_ues = n_bootstrap > 0 and min(accuracies(spaces["before"]).values()) > 0.5
    by_set = {
        name: {which: space.scores(protocol.pairs[which]) for which in SETS}
        for name, space in spaces.items()
    }
    thresholds = {
        which: best_threshold(score, protocol.pairs[which].genuine)
        for which, score in by_set["before"].items()
    }
    rows: list[dict[str, object]] = []
    scores = []
    for name, space in spaces.items():
        if with_ues and name != "before":
            judged = _judged(protocol, by_set["before"], by_set[name])
            intervals = ues_intervals(judged, n_bootstrap=n_bootstrap, seed=protocol.seed)
            intervals["ues"] = intervals.pop("score")
            rows += [
                {"model": name, "set": "all", "metric": metric, **interval._asdict()}
                for metric, interval in intervals.items()
            ]
        crossed = _crossed(space)
        for which in SETS:
            pairs, folds = protocol.pairs[which], protocol.folds[which]
            score = by_set[name][which]
            scores.append(_score_frame(name, which, pairs, score))
            people = protocol.faces.identities
            for metric, interval in _verification(
                score,
                pairs,
                folds,
                thresholds[which],
                crossed if which != "test" else None,
                people,
                n_bootstrap,
                protocol.seed,
            ).items():
                rows.append({"model": name, "set": which, "metric": metric, **interval._asdict()})
        for metric, value in {**space.membership, **_probed(space, spaces["before"])}.items():
            rows.append({"model": name, "set": "forget", "metric": metric, "value": value})
    return Report(pd.DataFrame(rows), pd.concat(scores, ignore_index=True))


def accuracies(space: Space) -> dict[str, float]:
    """Ten-fold accuracy of one model on the sets "forget", "retain" and "test"."""
    p = space.protocol
    return {
        which: ten_fold_accuracy(space.scores(pairs), pairs.genuine, p.folds[which])
        for which, pairs in p.pairs.items()
    }


def _judged(
    protocol: Protocol, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]
) -> dict[str, ScoredPairs]:
    """The pairs of every set with the scores of two models, for UES within a run."""
    people = protocol.faces.identities
    return {
        which: ScoredPairs(
            before[which],
            after[which],
            pairs.genuine,
            protocol.folds[which],
            people[pairs.left],
            people[pairs.right],
        )
        for which, pairs in protocol.pairs.items()
    }


def _crossed(space: Space) -> np.ndarray:
    """Scores of every forget image against every image of a retain pair: impostors across sets."""
    p, people = space.protocol, space.protocol.faces.identities
    retain, forget = p.pairs["retain"], p.forget
    others = np.unique(np.concatenate([retain.left, retain.right]))
    impostors = people[forget][:, None] != people[others]  # a request by sample: people stay
    return (space[forget] @ space[others].T)[impostors]


def _probed(space: Space, enrolled: Space) -> dict[str, float]:
    """What becomes of forgotten people's held-out images, the probes.

    Their rank-1, templates by the teacher and by this model, and the accuracy on pairs of them.
    """
    p, people = space.protocol, space.protocol.faces.identities
    if len(p.probes) == 0:
        return {}
    probes, labels = space[p.probes], people[p.probes]
    templates = {"old": enrolled[p.gallery], "new": space[p.gallery]}
    found = {
        f"rank1_{name}_gallery": rank_one(probes, labels, gallery, people[p.gallery])
        for name, gallery in templates.items()
    }
    if p.fresh is not None:
        found["accuracy_fresh"] = ten_fold_accuracy(space.scores(p.fresh), p.fresh.genuine)
    return found


def _verification(
    score: np.ndarray,
    pairs: Pairs,
    folds: np.ndarray,
    teacher_threshold: float,
    cross: np.ndarray | None,
    people: np.ndarray,
    n_bootstrap: int,
    seed: int,
) -> dict[str, Interval]:
    genuine = pairs.genuine

    def tar(index: np.ndarray) -> float:
        own = genuine[index]
        return tar_at_far(score[index][own], score[index][~own], FAR)

    def error(index: np.ndarray) -> float:
        own = genuine[index]
        return equal_error_rate(score[index][own], score[index][~own])

    def accuracy(index: np.ndarray) -> float:
        own, fold = genuine[index], folds[index]
        if any(len(np.unique(fold[kind])) < 2 for kind in (own, ~own)):
            return np.nan  # few people drawn: no other fold to choose the threshold on
        return ten_fold_accuracy(score[index], genuine[index], folds[index])

    def fixed(index: np.ndarray) -> float:
        accepted, own = score[index] > teacher_threshold, genuine[index]
        return float((accepted[own].mean() + (~accepted[~own]).mean()) / 2)

    measures = {"accuracy": accuracy, "tar": tar, "eer": error, "accuracy_fixed": fixed}
    if cross is not None:
        # only the genuine side is resampled: the crossed impostors are many
        def tar_cross(index: np.ndarray) -> float:
            return tar_at_far(score[index][genuine[index]], cross, FAR)

        measures["tar_cross"] = tar_cross
    left, right = people[pairs.left], people[pairs.right]
    everything = np.arange(len(pairs))
    return {
        name: people_bootstrap(measure, left, right, n=n_bootstrap, seed=seed)
        if n_bootstrap and name != "tar_cross"
        else Interval(measure(everything), np.nan, np.nan)
        for name, measure in measures.items()
    }


def _score_frame(model: str, which: str, pairs: Pairs, score: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"model": model, "set": which, "genuine": pairs.genuine, "score": score})
