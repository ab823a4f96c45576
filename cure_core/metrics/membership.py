"""Membership inference on an encoder: which images was it trained on?

The attacker sees raw embeddings of images, and no classification head; `metrics/features.py` has
features of them. An attack by a single feature is `membership_attack` on that column.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cure_core.metrics.arrays import as_array, checked, equal_with_nan, labels_of
from cure_core.metrics.intervals import Interval, people_bootstrap
from cure_core.metrics.verification import best_threshold, tar_at_far

MEANINGFUL_AUC = 0.55  # below it the attack is hardly better than chance, its recall meaningless
# An AUC this far below 1/2 is a signal with reversed sign: two standard errors of an AUC between
# two groups of a dozen people.
DETECTABLE_AUC = 0.3
DETECTABLE_GAP = 0.2  # twice the distance of two oracles' recalls (0.09 to 0.14, docs/comparison)

MARK = " †"
LEGEND = "†: detectable, far below the oracle's recall or an AUC of 1/2; lower is not better"


def detectable(recall: float, oracle_recall: float) -> bool:
    """Whether a recall is so far below the oracle's that it reveals the forget set.

    Forgetting would give the oracle's recall; less is no better, since it separates the forget set
    from people never seen. False for NaN.
    """
    return bool(oracle_recall - recall > DETECTABLE_GAP)


@equal_with_nan
@dataclass(frozen=True, eq=False, repr=False)
class MembershipResult:
    """An attack fitted on one half of the people, applied to the other half and the forget set.

    auc and the TPRs at 1 % and 0.1 % FPR are of held-out members and non-members; threshold is in
    log-odds; recall is the share of forget samples above the threshold, called members. The bounds
    of AUC (95 %, over people) are NaN without a bootstrap. forget_auc is the AUC of the forget
    samples against the held-out non-members: 1/2 for people never seen, 0 and 1 are detectable.
    collapsed: every sample has the same score, so that no number here has a meaning.
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
        """Whether the attack works well enough for its recall to be meaningful."""
        return self.auc >= MEANINGFUL_AUC and not self.collapsed

    @property
    def detectable(self) -> bool:
        """Whether forget samples look even less like members than people never seen."""
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

    The people of the two classes are different, even if their names are equal. n_bootstrap = 0
    gives NaN bounds. Raises ValueError for empty scores, NaN, or lengths that differ.
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
        labels = truth[index]
        one_class = labels.all() or not labels.any()
        return np.nan if one_class else float(roc_auc_score(labels, scores[index]))

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
    """Fit an attack on known members and non-members, and apply it to the forget set.

    The people of each class are split in two halves. On the first, with the larger class cut to
    the size of the smaller, a standardised logistic regression is fitted and its threshold
    chosen for balanced accuracy; on the second, AUC and TPR at 1 % and 0.1 % FPR are measured (with
    fewer than 1,000 non-members there, none may pass at 0.1 %). It is fitted for each model.
    Non-members must differ from members in nothing but training, or the attack learns the
    difference in data instead. With one feature the regression only finds its sign: a threshold
    attack.

    Shapes: members (N, F), non_members (M, F) and forget (L, F) as from `features.view_features`,
    member_people (N,), non_member_people (M,). Raises ValueError for empty features, NaN,
    lengths that differ, or a class of fewer than two people.
    """
    forget = checked(forget, "forget", ndim=2)
    rng = np.random.default_rng(seed)
    fitted, held_out, held_out_people = [], [], []
    for features, people, name in [
        (members, member_people, "members"),
        (non_members, non_member_people, "non_members"),
    ]:
        rows, people = checked(features, name, ndim=2), as_array(people)
        half = _half_of_people(people, len(rows), name, rng)
        fitted.append(rows[half])
        held_out.append(rows[~half])
        held_out_people.append(people[~half])
    size = min(map(len, fitted))
    balanced = np.concatenate([rng.permutation(rows)[:size] for rows in fitted])
    is_member = np.arange(2 * size) < size
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(balanced, is_member)
    threshold = best_threshold(model.decision_function(balanced), is_member)
    member, non_member, forget_scores = map(model.decision_function, (*held_out, forget))
    auc = auc_over_people(
        member, non_member, held_out_people[0], held_out_people[1], n_bootstrap, seed
    )
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
