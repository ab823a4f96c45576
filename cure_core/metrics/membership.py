"""Membership inference on an encoder: which images was it trained on?

The attacker sees raw embeddings of several views of an image, and no classification head. What
it looks for: members are embedded more steadily under small changes, with another norm, closer to
the other images of their person. An attack by one feature alone is `membership_attack` on that one
column. Distances to clusters are in `metrics/clusters.py`; the likelihood-ratio attack, which needs
shadow encoders, is in `metrics/shadow.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cure_core.metrics.arrays import EqualWithNaN, as_array, checked, labels_of
from cure_core.metrics.intervals import Interval, people_bootstrap
from cure_core.metrics.pairs import group_by_person
from cure_core.metrics.verification import best_threshold, tar_at_far

MEANINGFUL_AUC = 0.55  # below it the attack hardly beats a coin, and its recall says nothing
# An AUC this far below 1/2 is a signal, with its sign reversed: two standard errors of an AUC
# between a dozen people on either side.
DETECTABLE_AUC = 0.3
DETECTABLE_GAP = 0.2  # twice the distance of two oracles' recalls (0.09 to 0.14, docs/comparison)

MARK = " †"
LEGEND = "†: detectable, far below the oracle's recall or an AUC of 1/2; lower is not better"


def detectable(recall: float, oracle_recall: float) -> bool:
    """Whether a recall is so far below the oracle's that the forget set stands out by it.

    Forgetting would give the oracle's recall; less is no better, since it tells the forget set
    from people never seen. False for NaN.
    """
    return bool(oracle_recall - recall > DETECTABLE_GAP)


@dataclass(frozen=True, eq=False, repr=False)
class MembershipResult(EqualWithNaN):
    """What an attack fitted on one half of the people does on the other half and the forget set.

    auc and the TPRs at 1 % and 0.1 % FPR on held-out members and non-members; threshold in
    log-odds; recall: the share of forget samples above the threshold, called members. The bounds
    of AUC (95 %, over people) are NaN unless asked for. forget_auc: the AUC of the forget samples
    against the held-out non-members; 1/2 is what people never seen get, 0 and 1 are detectable.
    collapsed: every sample scored the same, so that nothing here means anything.
    """

    auc: float
    tpr_at_1pct_fpr: float
    recall: float
    threshold: float
    tpr_at_01pct_fpr: float = np.nan
    auc_low: float = np.nan
    auc_high: float = np.nan
    forget_auc: float = np.nan
    collapsed: bool = False

    @property
    def meaningful(self) -> bool:
        """Whether the attack works well enough for its recall to say anything."""
        return self.auc >= MEANINGFUL_AUC and not self.collapsed

    @property
    def detectable(self) -> bool:
        """Whether forget samples look even less like members than people never seen do."""
        return min(self.auc, self.forget_auc) < DETECTABLE_AUC

    def to_dict(self) -> dict[str, float | bool]:
        return {**asdict(self), "meaningful": self.meaningful, "detectable": self.detectable}

    def __repr__(self) -> str:
        text = (
            f"recall {self.recall:.4f}, AUC {self.auc:.3f}, "
            f"TPR at 1 % FPR {self.tpr_at_1pct_fpr:.3f}"
        )
        if self.collapsed:
            return f"{text} (meaningless: every image scores the same, as by a collapsed encoder)"
        if self.detectable:
            reason = (
                f"less like members than people never seen, AUC {self.forget_auc:.3f} against them"
                if self.forget_auc < DETECTABLE_AUC
                else "the AUC is far below 1/2, a signal with its sign reversed"
            )
            text += f" (detectable: {reason}; a low recall is no success)"
        if not self.meaningful:
            text += f" (AUC under {MEANINGFUL_AUC}: recall means nothing)"
        return text


def view_features(
    embeddings_of_views: Sequence[torch.Tensor | ArrayLike], people: ArrayLike, m: int = 8
) -> pd.DataFrame:
    """Features of each image for the attack, from embeddings of its views.

    The first view is the image itself, the others are slight changes of it (mirrored, shifted,
    blurred). Columns: `log_norm` of the plain embedding; `view_1`, `view_2`, ...: cosine between
    the plain and each other view; `compactness`: cosine to the centroid of up to `m` other
    images of the same person (the next ones in the order given, wrapping around; a fixed number,
    so that it does not tell people with many images from people with few). m = 0 leaves it out.

    Give members, non-members and forget samples in one call, so that each sees all the images of
    its person, and split the rows afterwards.
    Shapes: views (N, D) raw; people (N,); returns N rows, in the order given.
    Source: the features are our choice; the idea of telling trained-on people by how an encoder
    embeds several of their images is Li et al.'s (arXiv:2203.02077).
    Raises ValueError for no view, shapes that differ, NaN, a zero embedding, or, with m > 0, a
    person with a single image.
    """
    views = [checked(view, f"view {k}", ndim=2) for k, view in enumerate(embeddings_of_views)]
    people = as_array(people)
    shapes = {view.shape for view in views}
    if len(shapes) != 1 or len(people) != len(views[0]):
        raise ValueError(
            f"views have shapes {sorted(shapes)} and people holds {len(people)} labels; expected "
            "at least one view, all of one shape, with one label a row."
        )
    norms = [np.linalg.norm(view, axis=1, keepdims=True) for view in views]
    for k, norm in enumerate(norms):
        if not norm.all():
            raise ValueError(f"view {k} of image {int(np.argmin(norm))} has a zero embedding.")
    plain, *others = (view / norm for view, norm in zip(views, norms, strict=True))
    columns = {"log_norm": np.log(norms[0][:, 0])}
    columns |= {f"view_{k}": _row_cosine(plain, view) for k, view in enumerate(others, start=1)}
    if m > 0:
        columns["compactness"] = _compactness(plain, people, m)
    return pd.DataFrame(columns).astype(np.float64)


def _compactness(embeddings: np.ndarray, people: np.ndarray, m: int) -> np.ndarray:
    """Cosine (N,) of each normalised row to the centroid of up to m others of its person."""
    order, start = group_by_person(people)
    rank = np.arange(len(order)) - start
    count = np.bincount(start, minlength=len(order))[start]
    if count.min() < 2:
        single = people[order[count < 2]]
        raise ValueError(
            f"{len(single)} people have a single image (first: {single[0]}), which leaves no "
            "other to compare with; give more of their images, or m=0 to leave compactness out."
        )
    rows = embeddings[order]
    centroid = np.zeros_like(rows)
    for step in range(1, m + 1):
        partner = rows[start + (rank + step) % count]
        centroid += np.where((step < count)[:, None], partner, 0)
    result = np.empty(len(rows), dtype=rows.dtype)
    norm = np.linalg.norm(centroid, axis=1)
    result[order] = _row_cosine(rows, centroid) / np.where(norm > 0, norm, 1)
    return result


def _row_cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", a, b)


def rank_auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """The share of pairs of scores (P,) and (N,) with the positive above; a tie counts half."""
    ascending = np.sort(negative)
    below, upto = (np.searchsorted(ascending, positive, side=side) for side in ("left", "right"))
    return float((below + upto).mean() / 2 / len(negative))


def auc_over_people(
    positive: ArrayLike,
    negative: ArrayLike,
    positive_people: ArrayLike,
    negative_people: ArrayLike,
    n_bootstrap: int = 300,
    seed: int = 0,
) -> Interval:
    """AUC of scores (P,) against scores (N,), with a 95 % interval that resamples people.

    The people of the two classes count as different, whatever their names. n_bootstrap = 0 gives
    NaN bounds. Raises ValueError for empty scores, NaN, or lengths that differ.
    """
    sides = (positive, positive_people), (negative, negative_people)
    parts = [checked(values, "scores") for values, _ in sides]
    scores = np.concatenate(parts)
    codes = [
        np.unique(labels_of(people, len(part)), return_inverse=True)[1]
        for part, (_, people) in zip(parts, sides, strict=True)
    ]
    people = np.concatenate([codes[0], codes[1] + len(codes[0])])
    truth = np.arange(len(people)) < len(codes[0])

    def auc(index: np.ndarray) -> float:
        own = truth[index]
        return float(roc_auc_score(own, scores[index])) if own.any() and not own.all() else np.nan

    if not n_bootstrap:
        return Interval(auc(np.arange(len(scores))), np.nan, np.nan)
    return people_bootstrap(auc, people, people, n=n_bootstrap, seed=seed)


def membership_attack(
    members: ArrayLike,
    non_members: ArrayLike,
    forget: ArrayLike,
    *,
    member_people: ArrayLike,
    non_member_people: ArrayLike,
    seed: int = 0,
    n_bootstrap: int = 0,
) -> MembershipResult:
    """Fit an attack on known members and non-members, and ask it about the forget set.

    The people of each class are split in two halves. On the first, with the larger class cut to
    the size of the smaller, a standardised logistic regression is fitted and its threshold
    chosen for balanced accuracy; on the second, AUC and TPR at 1 % and 0.1 % FPR are measured (the
    number of non-members there limits how fine a FPR can be: with fewer than 1,000, at 0.1 % none
    may pass). Fit it anew for each model. Non-members must look like members in all but training,
    or it learns the difference in data instead. With one feature the regression only finds which
    way it points: a threshold attack.

    Shapes: members (N, F), non_members (M, F), forget (L, F) features, as from `view_features`;
    member_people (N,), non_member_people (M,). Raises ValueError for empty features, NaN,
    lengths that differ, or a class of fewer than two people.
    """
    forget_rows = checked(forget, "forget", ndim=2)
    rng = np.random.default_rng(seed)
    fit, held_out, held_people = [], [], []
    for features, people, name in [
        (members, member_people, "members"),
        (non_members, non_member_people, "non_members"),
    ]:
        rows = checked(features, name, ndim=2)
        first = _half_of_people(as_array(people), len(rows), name, rng)
        fit.append(rows[first])
        held_out.append(rows[~first])
        held_people.append(as_array(people)[~first])
    size = min(map(len, fit))
    balanced = np.concatenate([rng.permutation(rows)[:size] for rows in fit])
    is_member = np.arange(2 * size) < size
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(balanced, is_member)
    threshold = best_threshold(model.decision_function(balanced), is_member)
    member, non_member = (model.decision_function(rows) for rows in held_out)
    auc = auc_over_people(member, non_member, held_people[0], held_people[1], n_bootstrap, seed)
    forget_scores = model.decision_function(forget_rows)
    return MembershipResult(
        auc=auc.value,
        tpr_at_1pct_fpr=tar_at_far(member, non_member, 0.01),
        recall=float(np.mean(forget_scores > threshold)),
        threshold=threshold,
        tpr_at_01pct_fpr=tar_at_far(member, non_member, 0.001),
        auc_low=auc.low,
        auc_high=auc.high,
        forget_auc=rank_auc(forget_scores, non_member),
        collapsed=bool(np.ptp(np.concatenate([member, non_member, forget_scores])) == 0),
    )


def _half_of_people(people: np.ndarray, n: int, name: str, rng: np.random.Generator) -> np.ndarray:
    """Mask (n,) of the rows that belong to a random half of the people."""
    distinct = np.unique(people)
    if len(people) != n or len(distinct) < 2:
        raise ValueError(
            f"{name} has {n} rows and {len(people)} labels of {len(distinct)} people; expected one "
            "label a row, and two people at least to split them in halves."
        )
    return np.isin(people, rng.permutation(distinct)[: len(distinct) // 2])
