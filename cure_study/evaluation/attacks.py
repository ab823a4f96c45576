"""The sceptic's attacks, each run alike on the teacher, the student and the oracle.

Labels group images into people, and are the attacker's own. All but two attacks see embeddings
only: relearning trains the weights, the likelihood ratio encoders of the attacker's by the recipe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from cure_core.metrics.collateral import collateral, collateral_correlation
from cure_core.metrics.gallery import rank_one
from cure_core.metrics.intervals import Interval, people_bootstrap
from cure_core.metrics.membership import membership_attack
from cure_core.metrics.outliers import detection_auc, outlier_auc
from cure_core.metrics.pairs import Pairs
from cure_core.metrics.verification import tar_at_far, ten_fold_accuracy
from cure_study.evaluation.attack_table import Rows, row
from cure_study.evaluation.evaluate import FAR
from cure_study.evaluation.protocol import Protocol
from cure_study.evaluation.recovery import linear_map, rotation
from cure_study.evaluation.recovery_attacks import few_shot, most_images, relearning, unshown
from cure_study.evaluation.shadow_models import Shadow, likelihood_ratio
from cure_study.evaluation.space import Space, view_table


@dataclass(frozen=True, eq=False, repr=False)
class Attacks:
    """What `attack_all` found.

    `rows`: model, set, attack, metric, at (images shown or steps taken, NaN elsewhere), value,
    low, high (95 %, over people); `people`: model, person, movement, nearness, one row for each
    retained person.
    """

    rows: pd.DataFrame
    people: pd.DataFrame


def attack_all(
    protocol: Protocol,
    *,
    before: nn.Module,
    after: nn.Module,
    oracle: nn.Module | None = None,
    shadows: Sequence[Shadow] = (),
    shots: Sequence[int] = (1, 2, 5),
    relearn_images: Sequence[int] = (1, 3),
    relearn_epochs: int = 5,
    n_bootstrap: int = 300,
    device: torch.device | str | None = None,
    progress: bool | None = None,
) -> Attacks:
    """Every attack on the teacher, the student and, where there is one, the oracle.

    `shadows` as from `metrics.shadow.train_shadows`; without them the likelihood-ratio attack is
    left out. Intervals resample people `n_bootstrap` times (0: none).
    Raises ValueError where a model's embeddings are not finite.
    """
    models = {"before": before, "after": after} | ({} if oracle is None else {"oracle": oracle})
    spaces = {name: Space(protocol, model, device, progress) for name, model in models.items()}
    known = [view_table(protocol, shadow.encoder, device, progress) for shadow in shadows]
    inside = [np.isin(protocol.faces.identities[t.index], s.people)
              for t, s in zip(known, shadows, strict=True)]  # fmt: skip
    rows: Rows = []
    people = []
    for name, space in spaces.items():
        found, table = attack_model(
            space,
            spaces["before"],
            shadows=known,
            inside=inside,
            shots=shots,
            relearn_images=relearn_images,
            relearn_epochs=relearn_epochs,
            n_bootstrap=n_bootstrap,
        )
        rows += [{"model": name, **measured} for measured in found]
        if len(table):
            people.append(table.assign(model=name))
    return Attacks(pd.DataFrame(rows), pd.concat(people, ignore_index=True))


def attack_model(
    space: Space,
    teacher: Space,
    *,
    shadows: Sequence[pd.DataFrame] = (),
    inside: Sequence[np.ndarray] = (),
    shots: Sequence[int] = (1, 2, 5),
    relearn_images: Sequence[int] = (1, 3),
    relearn_epochs: int = 5,
    n_bootstrap: int = 300,
) -> tuple[Rows, pd.DataFrame]:
    """Every attack on one model beside the teacher of the same protocol, as in `Attacks`.

    `shadows` and `inside` as in `membership`. Nobody has moved by the teacher itself, so it has no
    `collateral` and its people's table is empty.
    """
    protocol = space.protocol
    rows = membership(protocol, space, shadows, inside, n_bootstrap)
    rows += matching(protocol, space, teacher, n_bootstrap)
    rows += few_shot(protocol, space, shots)
    for n in relearn_images:
        rows += relearning(protocol, space.encoder, n, relearn_epochs, space.device)
    rows += detectability(protocol, space, n_bootstrap)
    if space is teacher:
        return rows, pd.DataFrame()
    people = moved(protocol, space, teacher)
    correlation = collateral_correlation(people, n_bootstrap, protocol.seed)
    return [*rows, row("collateral", "spearman", correlation, which="retain")], people


def check_numbers(
    protocol: Protocol,
    shots: Sequence[int] = (),
    relearn_images: Sequence[int] = (),
    shadows: int = 0,
) -> None:
    """Raise ValueError for numbers that an attack could not use, before anything is trained."""
    most = most_images(protocol.faces.identities[protocol.forget])
    if too_many := [n for n in shots if not 0 < n < most]:
        raise ValueError(f"shots={too_many}; the most forget images of a person are {most}")
    for n in relearn_images:
        left = unshown(protocol, n)[1].genuine
        if n < 1 or left.all() or not left.any():
            raise ValueError(
                f"relearn_images={n} leaves no genuine or no impostor pair to judge by; the most "
                f"forget images of a person are {most}"
            )
    if shadows and (shadows < 4 or shadows % 2):
        raise ValueError(f"shadows={shadows}; 0 for none, or an even number, four at least")


def membership(
    protocol: Protocol,
    space: Space,
    shadows: Sequence[pd.DataFrame] = (),
    inside: Sequence[np.ndarray] = (),
    n_bootstrap: int = 300,
) -> Rows:
    """Membership of the forget images by each signal alone, and by likelihood ratio.

    `shadows`: the shadows' `view_table`s; `inside`: for each, whether it was trained on the
    image's person. Every encoder's features are standardised over the attacked images first, for
    a student's norms and cosines lie on another scale than a shadow's (our choice).
    """
    features = space.features
    tables = {
        "norm": features[["log_norm"]],
        "views": features.filter(like="view_").mean(axis=1).to_frame(),
        "compactness": features[["compactness"]],
        "nearest_centroid": space.clusters,
    }
    if shadows:
        seen, *known = ((t - t.mean()) / t.std() for t in (features, *shadows))
        ratio = likelihood_ratio(seen.to_numpy(), [t.to_numpy() for t in known], np.array(inside))
        tables["likelihood_ratio"] = pd.DataFrame(ratio, index=features.index)
    people, rows = protocol.faces.identities, []
    for attack, table in tables.items():
        parts = (protocol.members, protocol.outsiders, protocol.forget)
        members, outsiders, forget = (part[np.isin(part, table.index)] for part in parts)
        result = membership_attack(
            *(table.loc[part].to_numpy() for part in (members, outsiders, forget)),
            member_people=people[members],
            non_member_people=people[outsiders],
            seed=protocol.seed,
            n_bootstrap=n_bootstrap,
        )
        auc = Interval(result.auc, result.auc_low, result.auc_high)
        rows += [
            row(attack, "recall", result.recall),
            row(attack, "auc", auc),
            row(attack, "tpr_at_1pct_fpr", result.tpr_at_1pct_fpr),
            row(attack, "tpr_at_01pct_fpr", result.tpr_at_01pct_fpr),
        ]
    return rows


def matching(protocol: Protocol, space: Space, teacher: Space, n_bootstrap: int = 300) -> Rows:
    """Old templates of the forgotten against this model, as it is, rotated, and mapped linearly.

    Rotation and map are learnt on retained training images. `rank1_old_gallery`: this model's
    probes in the teacher's gallery; `rank1_old_probe`: the teacher's probes in this model's
    gallery; `accuracy_across` and `tar_across`: forget pairs with one image by each model;
    `accuracy` and `tar`: both by this model.
    """
    p, people = protocol, protocol.faces.identities
    kept, pairs = np.setdiff1d(p.gallery, p.forget), p.pairs["forget"]
    turn = rotation(space[kept], teacher[kept])
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "as_it_is": lambda x: x,
        "rotation": lambda x: x @ turn,
        "linear_map": linear_map(space[kept], teacher[kept]),
    }
    rows: Rows = []
    for attack, way in ways.items():
        if len(p.probes):
            ours, theirs = (way(space[p.probes]), way(space[p.gallery])), teacher
            names = people[p.probes], people[p.gallery]
            old_gallery = rank_one(ours[0], names[0], theirs[p.gallery], names[1])
            old_probe = rank_one(theirs[p.probes], names[0], ours[1], names[1])
            rows += [
                row(attack, "rank1_old_gallery", old_gallery),
                row(attack, "rank1_old_probe", old_probe),
            ]
        left = way(space[pairs.left])
        for suffix, right in (("", way(space[pairs.right])), ("_across", teacher[pairs.right])):
            score = (left * right).sum(axis=1)
            found = _verification(score, pairs, p.folds["forget"], people, n_bootstrap, p.seed)
            rows += [row(attack, f"{name}{suffix}", value) for name, value in found.items()]
    return rows


def detectability(protocol: Protocol, space: Space, n_bootstrap: int = 300) -> Rows:
    """Forgotten people against people never seen: by oddness alone, and by known examples.

    Without labels: every feature that needs none. With labels: those of `view_features`.
    """
    p, people = protocol, protocol.faces.identities
    blind = space.features.drop(columns="compactness").join(space.clusters, how="inner")
    rows: Rows = []
    for attack, measure, table in (
        ("oddness", outlier_auc, blind),
        ("told_apart", detection_auc, space.features),
    ):
        forget, strangers = (part[np.isin(part, table.index)] for part in (p.forget, p.outsiders))
        sides = table.loc[forget], table.loc[strangers], people[forget], people[strangers]
        auc = measure(*sides, n_bootstrap=n_bootstrap, seed=p.seed)
        rows.append(row(attack, "auc", auc))
    return rows


def moved(protocol: Protocol, space: Space, teacher: Space) -> pd.DataFrame:
    """`collateral` of the retained people's held-out images, after the best rotation."""
    p, people = protocol, protocol.faces.identities
    kept = np.setdiff1d(p.gallery, p.forget)
    held = np.unique(np.concatenate([p.pairs["retain"].left, p.pairs["retain"].right]))
    turn = rotation(space[kept], teacher[kept])
    forgotten = teacher[p.forget], people[p.forget]
    return collateral(teacher[held], space[held] @ turn, people[held], *forgotten)


def _verification(
    score: np.ndarray,
    pairs: Pairs,
    folds: np.ndarray,
    people: np.ndarray,
    n_bootstrap: int,
    seed: int,
) -> dict[str, Interval]:
    """TAR with its interval over people, and accuracy."""
    genuine = pairs.genuine

    def tar(index: np.ndarray) -> float:
        own = genuine[index]
        return tar_at_far(score[index][own], score[index][~own], FAR)

    every = Interval(tar(np.arange(len(pairs))), np.nan, np.nan)
    sides = people[pairs.left], people[pairs.right]
    return {
        "accuracy": Interval(ten_fold_accuracy(score, genuine, folds), np.nan, np.nan),
        "tar": people_bootstrap(tar, *sides, n=n_bootstrap, seed=seed) if n_bootstrap else every,
    }
