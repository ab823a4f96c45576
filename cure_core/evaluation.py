"""Before, after and oracle, by the same pairs and attacks."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.embedding import embed, mirrored, raw_embeddings
from cure_core.faces.faceset import ImageView
from cure_core.metrics.gallery import rank_one
from cure_core.metrics.intervals import Interval, people_bootstrap
from cure_core.metrics.membership import membership_attack, view_features
from cure_core.metrics.verification import (
    best_threshold,
    equal_error_rate,
    tar_at_far,
    ten_fold_accuracy,
)
from cure_core.pairs import Pairs, similarities
from cure_core.protocol import Protocol
from cure_core.report import Report

SETS = ("forget", "retain", "test")
FAR = 1e-3


def evaluate(
    protocol: Protocol,
    *,
    before: nn.Module,
    after: nn.Module,
    oracle: nn.Module | None = None,
    n_bootstrap: int = 300,
    device: torch.device | str | None = None,
    progress: bool | None = None,
) -> Report:
    """Judge the teacher, the student and the oracle by every measure of the study.

    Each verification measure has a 95 % interval that resamples people (`n_bootstrap` times; 0
    for none). Raises ValueError where a model's embeddings are not finite.
    """
    models = {"before": before, "after": after}
    if oracle is not None:
        models["oracle"] = oracle
    spaces = {
        name: _Space(protocol, model, device, progress, name) for name, model in models.items()
    }
    rows: list[dict[str, object]] = []
    scores = []
    for name, space in spaces.items():
        crossed = space.cross_scores()
        for which in SETS:
            pairs, folds = protocol.pairs[which], protocol.folds[which]
            score = space.scores(pairs)
            scores.append(_score_frame(name, which, pairs, score))
            threshold = best_threshold(spaces["before"].scores(pairs), pairs.genuine)
            people = protocol.faces.identities
            for metric, interval in _verification(
                score,
                pairs,
                folds,
                threshold,
                crossed if which != "test" else None,
                people,
                n_bootstrap,
                protocol.seed,
            ).items():
                rows.append({"model": name, "set": which, "metric": metric, **interval._asdict()})
        for metric, value in {
            **space.membership(),
            **space.gallery(spaces["before"]),
        }.items():
            rows.append({"model": name, "set": "forget", "metric": metric, "value": value})
    return Report(pd.DataFrame(rows), pd.concat(scores, ignore_index=True))


def accuracies(
    protocol: Protocol, model: nn.Module, device: torch.device | str | None = None
) -> dict[str, float]:
    """What UES is made of, alone and so in a fraction of the time: `evaluate`'s accuracies.

    Ten-fold verification accuracy of the sets "forget", "retain" and "test".
    """
    taken = {}
    for which in SETS:
        pairs = protocol.pairs[which]
        used, rows = np.unique(np.concatenate([pairs.left, pairs.right]), return_inverse=True)
        unit = embed(model, ImageView(protocol.faces.images, used), device=device)
        left, right = np.split(rows, 2)
        scores = similarities(unit, Pairs(left, right, pairs.genuine))
        taken[which] = ten_fold_accuracy(scores, pairs.genuine, protocol.folds[which])
    return taken


def half_resolution(batch: Tensor) -> Tensor:
    """The view of a batch (B, 3, 112, 112) at half the resolution."""
    small = F.avg_pool2d(batch.float(), 2)
    return F.interpolate(small, scale_factor=2, mode="bilinear").round().to(batch.dtype)


def shifted(batch: Tensor) -> Tensor:
    """The view of a batch (B, 3, 112, 112) moved 4 pixels right and down, edges repeated."""
    return F.pad(batch.float(), (4, 0, 4, 0), mode="replicate")[..., :112, :112].to(batch.dtype)


class _Space:
    """One model's embeddings of all the images that the protocol asks for."""

    def __init__(
        self,
        protocol: Protocol,
        model: nn.Module,
        device: torch.device | str | None,
        progress: bool | None,
        name: str,
    ) -> None:
        self.protocol = protocol
        people = protocol.faces.identities
        asked = [protocol.members, protocol.outsiders, protocol.forget]
        # Retained images of forgotten people, where only some of a person's go: to compare with.
        own = protocol.gallery[np.isin(people[protocol.gallery], people[protocol.forget])]
        self.attacked = [*asked, np.setdiff1d(own, np.concatenate(asked))]
        attacked = np.concatenate(self.attacked)
        ends = [side for pairs in protocol.pairs.values() for side in (pairs.left, pairs.right)]
        needed = np.unique(np.concatenate([*ends, attacked, protocol.probes, protocol.gallery]))
        images = protocol.faces.images

        def embedded(index: np.ndarray, view: Callable[[Tensor], Tensor] | None = None) -> Tensor:
            chosen = ImageView(images, index)
            try:
                return raw_embeddings(model, chosen, device=device, view=view, progress=progress)
            except ValueError as error:
                raise ValueError(f"the model {name!r}: {error}") from error

        raw = embedded(needed)
        self.row = np.full(len(images), -1)
        self.row[needed] = np.arange(len(needed))
        self.unit = F.normalize(raw, dim=1)
        self.views = [raw[self.row[attacked]]] + [
            embedded(attacked, view) for view in (mirrored, shifted, half_resolution)
        ]

    def scores(self, pairs: Pairs) -> np.ndarray:
        rows = Pairs(self.row[pairs.left], self.row[pairs.right], pairs.genuine)
        return similarities(self.unit, rows)

    def cross_scores(self) -> np.ndarray:
        """Every forget image against every image of a retain pair: impostors across the sets."""
        retain, forget = self.protocol.pairs["retain"], self.protocol.forget
        others = np.unique(np.concatenate([retain.left, retain.right]))
        people = self.protocol.faces.identities
        impostors = people[forget][:, None] != people[others]  # a request by sample: people stay
        return (self.unit[self.row[forget]] @ self.unit[self.row[others]].T).numpy()[impostors]

    def membership(self) -> dict[str, float]:
        p, people = self.protocol, self.protocol.faces.identities
        features = view_features(self.views, people[np.concatenate(self.attacked)]).to_numpy()
        ends = np.cumsum([len(part) for part in self.attacked])[:-1]
        members, outsiders, forget, _ = np.split(features, ends)
        result = membership_attack(
            members,
            outsiders,
            forget,
            member_people=people[p.members],
            non_member_people=people[p.outsiders],
            seed=p.seed,
        )
        return {
            "membership_recall": result.recall,
            "membership_auc": result.auc,
            "membership_tpr_at_1pct_fpr": result.tpr_at_1pct_fpr,
        }

    def gallery(self, enrolled: "_Space") -> dict[str, float]:
        """Rank-1 of forgotten people's probes, templates by the teacher and by this model."""
        p, people = self.protocol, self.protocol.faces.identities
        if len(p.probes) == 0:
            return {}
        probes, labels = self.unit[self.row[p.probes]], people[p.probes]
        templates = {"old": enrolled.unit[enrolled.row[p.gallery]]}
        templates["new"] = self.unit[self.row[p.gallery]]
        return {
            f"rank1_{name}_gallery": rank_one(probes, labels, gallery, people[p.gallery])
            for name, gallery in templates.items()
        }


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
