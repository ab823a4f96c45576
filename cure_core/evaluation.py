"""Before, after and oracle, by the same pairs and attacks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cure_core.embedding import mirrored, raw_embeddings
from cure_core.faces.faceset import FaceSet, ImageView
from cure_core.metrics.gallery import rank_one
from cure_core.metrics.intervals import Interval, people_bootstrap
from cure_core.metrics.membership import membership_attack, view_features
from cure_core.metrics.verification import (
    best_threshold,
    equal_error_rate,
    tar_at_far,
    ten_fold_accuracy,
    ten_folds,
)
from cure_core.pairs import Pairs, draw_pairs, similarities
from cure_core.report import Report
from cure_core.requests import ForgetRequest
from cure_core.splits import Split

SETS = ("forget", "retain", "test")
FAR = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class Protocol:
    """What every model of a study is judged by: drawn once, shared by all.

    `pairs` and `folds` of the sets "forget", "retain" and "test"; `members` are retained training
    images and `outsiders` non-members for the attack; `probes` are held-out images of forgotten
    people and `gallery` the training images of everyone. All are indices into `faces`.
    """

    faces: FaceSet
    pairs: Mapping[str, Pairs]
    folds: Mapping[str, np.ndarray]
    forget: np.ndarray
    members: np.ndarray
    outsiders: np.ndarray
    probes: np.ndarray
    gallery: np.ndarray
    seed: int

    def __repr__(self) -> str:
        pairs = ", ".join(f"{name} {pairs}" for name, pairs in self.pairs.items())
        return (
            f"Protocol({pairs}; membership of {len(self.members)} members, "
            f"{len(self.outsiders)} outsiders and {len(self.forget)} forget images)"
        )


def make_protocol(
    faces: FaceSet, split: Split, request: ForgetRequest, *, n_pairs: int = 1500, seed: int = 0
) -> Protocol:
    """Draw the pairs and sets that judge a request; labels are used here and not before.

    Forget pairs: both images from the forget set. Retain pairs: both from held-out images of
    retained people. Test pairs: the set's own protocol without the people of the split, or, where
    it has none, pairs drawn among outsiders and people outside the split.
    Raises ValueError where a set has no genuine or no impostor pair.
    """
    identities = faces.identities
    forgotten = np.unique(identities[request.forget_index])
    retained = np.unique(identities[request.retain_index])
    held = split.heldout[np.isin(identities[split.heldout], retained)]
    rng = np.random.default_rng([seed, 2])
    size = min(len(request.retain_index), 2 * len(split.outsiders))
    test, test_folds = _test_pairs(faces, split, n_pairs, seed)
    pairs = {
        "forget": _pairs_among(identities, request.forget_index, n_pairs, seed),
        "retain": _pairs_among(identities, held, n_pairs, seed),
        "test": test,
    }
    folds = {name: ten_folds(len(pairs[name])) for name in ("forget", "retain")}
    return Protocol(
        faces=faces,
        pairs=pairs,
        folds={**folds, "test": test_folds},
        forget=request.forget_index,
        members=_whole_people(request.retain_index, identities, size, rng),
        outsiders=split.outsiders,
        probes=split.heldout[np.isin(identities[split.heldout], forgotten)],
        gallery=np.union1d(request.forget_index, request.retain_index),
        seed=seed,
    )


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
        for which in SETS:
            pairs, folds = protocol.pairs[which], protocol.folds[which]
            score = space.scores(pairs)
            scores.append(_score_frame(name, which, pairs, score))
            threshold = best_threshold(spaces["before"].scores(pairs), pairs.genuine)
            cross = space.cross_scores() if which != "test" else None
            people = protocol.faces.identities
            for metric, interval in _verification(
                score, pairs, folds, threshold, cross, people, n_bootstrap, protocol.seed
            ).items():
                rows.append({"model": name, "set": which, "metric": metric, **interval._asdict()})
        for metric, value in {
            **space.membership(),
            **space.gallery(spaces["before"]),
        }.items():
            rows.append({"model": name, "set": "forget", "metric": metric, "value": value})
    return Report(pd.DataFrame(rows), pd.concat(scores, ignore_index=True))


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


def _pairs_among(identities: np.ndarray, index: np.ndarray, n: int, seed: int) -> Pairs:
    drawn = draw_pairs(identities[index], n, seed)
    return Pairs(index[drawn.left], index[drawn.right], drawn.genuine)


def _test_pairs(faces: FaceSet, split: Split, n_pairs: int, seed: int) -> tuple[Pairs, np.ndarray]:
    used = np.unique(faces.identities[np.concatenate([split.train, split.outsiders])])
    touches = np.isin(faces.identities, used)
    if faces.protocols:
        pairs = next(iter(faces.protocols.values()))
        unseen = ~(touches[pairs.left] | touches[pairs.right])
        if not unseen.any():
            raise ValueError(
                f"every pair of {faces.name}'s protocol touches someone of the split: raise the "
                "split's min_images above the images of the people meant to stay unseen"
            )
        left = pairs.select(unseen)
        if left.genuine.all() or not left.genuine.any():
            raise ValueError(
                f"{faces.name}'s protocol without the people of the split holds {left}; both "
                "kinds are needed"
            )
        return left, ten_folds(len(pairs))[unseen]
    unseen_index = np.union1d(np.flatnonzero(~touches), split.outsiders)
    pairs = _pairs_among(faces.identities, unseen_index, n_pairs, seed)
    return pairs, ten_folds(len(pairs))


def _whole_people(
    index: np.ndarray, identities: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Images of people drawn at random until `size` is reached: all or none of a person's."""
    order = rng.permutation(np.unique(identities[index]))
    counts = [int((identities[index] == person).sum()) for person in order]
    chosen = order[: int(np.searchsorted(np.cumsum(counts), size)) + 1]
    return index[np.isin(identities[index], chosen)]
