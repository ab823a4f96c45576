"""The pairs and galleries on which a request is judged, drawn once for all models."""

from dataclasses import dataclass

import numpy as np

from cure_core.metrics.pairs import (
    Pairs,
    alternating,
    draw_partners,
    group_by_person,
)
from cure_core.metrics.verification import ten_folds
from cure_study.evaluation.protocol import FEWEST_PAIRS, pairs_if_enough

N_PAIRS = 1500  # of each kind and set, at most


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """Pairs of one set with their folds (P,); `people` are those of the left and right images."""

    pairs: Pairs
    folds: np.ndarray
    people: tuple[np.ndarray, np.ndarray]


def forget_pairs(
    forget: np.ndarray, others: np.ndarray, people: np.ndarray, seed: int
) -> JudgedPairs | None:
    """Genuine: two forgotten images of a person. Impostor: one forgotten, one of another person.

    The impostors come from both sides, so that one person's request can be judged, and a student
    that sends all forgotten images to one place is not mistaken for one that forgot (our choice; in
    the study both images are forgotten ones). `forget` and `others` are indices, `people` by index.
    None for fewer than ten genuine pairs.
    """
    order, start = group_by_person(people[forget])
    partners = np.arange(len(order)) - start
    if (n_genuine := int(partners.sum())) < FEWEST_PAIRS:
        return None
    rng = np.random.default_rng([seed, 5])
    earlier, later = draw_partners(partners, start, min(N_PAIRS, n_genuine), rng)
    genuine = forget[order[earlier]], forget[order[later]]
    cells = rng.choice(
        len(forget) * len(others), min(4 * N_PAIRS, len(forget) * len(others)), replace=False
    )
    impostor = forget[cells // max(1, len(others))], others[cells % max(1, len(others))]
    different = people[impostor[0]] != people[impostor[1]]
    impostor = impostor[0][different], impostor[1][different]
    count = min(len(genuine[0]), len(impostor[0]), N_PAIRS)
    if count < FEWEST_PAIRS:
        return None
    first = [(left[:count], right[:count]) for left, right in (genuine, impostor)]
    return _judged(alternating(*first), people)


def pairs_among(index: np.ndarray, people: np.ndarray, seed: int) -> JudgedPairs | None:
    """Pairs among the images `index`; None for fewer than ten of a kind."""
    pairs = pairs_if_enough(people, index, N_PAIRS, seed)
    return None if pairs is None else _judged(pairs, people)


def enrolled_and_probes(index: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first half of each person's images, and the second; a single image is in both."""
    order, start = group_by_person(people[index])
    rank = np.arange(len(order)) - start
    count = np.bincount(start, minlength=len(order))[start]
    enrolled = rank < (count + 1) // 2
    return index[order[enrolled]], index[order[~enrolled | (count == 1)]]


def _judged(pairs: Pairs, people: np.ndarray) -> JudgedPairs:
    return JudgedPairs(pairs, ten_folds(len(pairs)), (people[pairs.left], people[pairs.right]))
