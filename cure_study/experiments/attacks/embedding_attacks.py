"""Attacks that only need a model's embeddings, and the attacker's labels of people."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from cure_core.metrics.gallery import rank_one
from cure_core.metrics.intervals import Interval
from cure_study.evaluation.evaluate import accuracy, over_people, tar
from cure_study.evaluation.procrustes import rotation
from cure_study.evaluation.space import Space
from cure_study.experiments.attacks.collateral import collateral
from cure_study.experiments.attacks.outliers import detection_auc, outlier_auc
from cure_study.experiments.attacks.recovery import linear_map
from cure_study.experiments.attacks.shadow_models import likelihood_ratio
from cure_study.experiments.attacks.table import Rows, row

# Each shadow's `view_table`, and for each of its rows whether the shadow was trained on the person.
ShadowScores = Sequence[tuple[pd.DataFrame, np.ndarray]]


def membership(space: Space, shadows: ShadowScores = (), n_bootstrap: int = 300) -> Rows:
    """Membership of the forget images by each signal alone and, with shadows, by likelihood ratio.

    For the ratio every encoder's features are standardised over the attacked images first, because
    a student's norms and cosines are on another scale than a shadow's (our choice).
    """
    features = space.features
    tables = {
        "norm": features[["log_norm"]],
        "views": features.filter(like="view_").mean(axis=1).to_frame(),
        "compactness": features[["compactness"]],
        "nearest_centroid": space.clusters,
    }
    if shadows:
        every = [features, *(table for table, _ in shadows)]
        target, *known = (((t - t.mean()) / t.std()).to_numpy() for t in every)
        ratio = likelihood_ratio(target, known, np.array([inside for _, inside in shadows]))
        tables["likelihood_ratio"] = pd.DataFrame(ratio, index=features.index)
    rows: Rows = []
    for attack, table in tables.items():
        result = space.membership_by(table, n_bootstrap)
        rows += [
            row(attack, "recall", result.recall),
            row(attack, "auc", Interval(result.auc, result.auc_low, result.auc_high)),
            row(attack, "tpr_at_1pct_fpr", result.tpr_at_1pct_fpr),
            row(attack, "tpr_at_01pct_fpr", result.tpr_at_01pct_fpr),
        ]
    return rows


def matching(space: Space, teacher: Space, n_bootstrap: int = 300) -> Rows:
    """Old templates of forgotten people against this model, as it is, rotated, mapped linearly.

    Rotation and map are fitted on retained training images. `rank1_old_gallery`: this model's
    probes in the teacher's gallery; `rank1_old_probe`: the teacher's probes in this model's
    gallery; `accuracy_across` and `tar_across`: forget pairs with one image by each model;
    `accuracy` and `tar`: both by this model.
    """
    p, people = space.protocol, space.protocol.faces.identities
    kept, pairs = _retained(space), p.pairs["forget"]
    matrix = rotation(space[kept], teacher[kept])
    alignments: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "as_it_is": lambda x: x,
        "rotation": lambda x: x @ matrix,
        "linear_map": linear_map(space[kept], teacher[kept]),
    }
    rows: Rows = []
    for attack, align in alignments.items():
        if len(p.probes):
            probes, gallery = align(space[p.probes]), align(space[p.gallery])
            labels = people[p.probes], people[p.gallery]
            old_gallery = rank_one(probes, labels[0], teacher[p.gallery], labels[1])
            old_probe = rank_one(teacher[p.probes], labels[0], gallery, labels[1])
            rows += [
                row(attack, "rank1_old_gallery", old_gallery),
                row(attack, "rank1_old_probe", old_probe),
            ]
        left = align(space[pairs.left])
        for suffix, right in (("", align(space[pairs.right])), ("_across", teacher[pairs.right])):
            score = (left * right).sum(axis=1)
            rows += [
                row(attack, f"accuracy{suffix}", over_people(accuracy, p, "forget", score, 0)),
                row(attack, f"tar{suffix}", over_people(tar, p, "forget", score, n_bootstrap)),
            ]
    return rows


def detectability(space: Space, n_bootstrap: int = 300) -> Rows:
    """Whether forgotten people differ from people never seen.

    `oddness`: without labels, by every feature that needs none. `told_apart`: by an attacker who
    knows some of the forgotten, by the features of `view_table`.
    """
    p, people = space.protocol, space.protocol.faces.identities
    unlabelled = space.features.drop(columns="compactness").join(space.clusters, how="inner")
    rows: Rows = []
    for attack, measure, table in (
        ("oddness", outlier_auc, unlabelled),
        ("told_apart", detection_auc, space.features),
    ):
        forget, strangers = (part[np.isin(part, table.index)] for part in (p.forget, p.outsiders))
        sides = table.loc[forget], table.loc[strangers], people[forget], people[strangers]
        rows.append(row(attack, "auc", measure(*sides, n_bootstrap=n_bootstrap, seed=p.seed)))
    return rows


def movement(space: Space, teacher: Space) -> pd.DataFrame:
    """`collateral` of the retained people's held-out images, after the best rotation."""
    p, people, kept = space.protocol, space.protocol.faces.identities, _retained(space)
    held_out = np.unique(np.concatenate([p.pairs["retain"].left, p.pairs["retain"].right]))
    aligned = space[held_out] @ rotation(space[kept], teacher[kept])
    forgotten = teacher[p.forget], people[p.forget]
    return collateral(teacher[held_out], aligned, people[held_out], *forgotten)


def _retained(space: Space) -> np.ndarray:
    return np.setdiff1d(space.protocol.gallery, space.protocol.forget)
