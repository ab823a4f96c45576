"""Which pairs to verify, in the manner of LFW and of AgeDB: ten folds, half of each genuine."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cure_core.metrics.pairs import Pairs

FOLDS = 10


def unseen_pairs(identities: ArrayLike, n_pairs: int, seed: int = 0) -> Pairs:
    """Pairs in the manner of LFW: ten contiguous folds, no person in two of them.

    Genuine and impostor pairs alternate within a fold. Each kind is drawn without replacement from
    all pairs of its fold's people. Shapes: identities (N,), one label an image. Give it people whom
    the encoder has not seen. Raises ValueError if n_pairs is not a positive multiple of 20, or
    a fold has too few pairs. Source: Labeled Faces in the Wild (http://vis-www.cs.umass.edu/lfw/).
    """
    return _ten_folds(np.asarray(identities), None, n_pairs, seed, 0.0)


def cross_age_pairs(
    identities: ArrayLike, ages: ArrayLike, n_pairs: int, seed: int = 0, min_gap: float = 30.0
) -> Pairs:
    """Pairs in the manner of AgeDB-30: as `unseen_pairs`, every pair `min_gap` years apart or more.

    Impostors are as far apart as genuine pairs must be, so that age alone gives no hint. Shapes:
    identities (N,), ages (N,) in years. Raises ValueError as `unseen_pairs` does, for lengths that
    differ and for a negative min_gap. Source: AgeDB (Moschoglou et al., CVPR Workshops 2017).
    """
    people, years = np.asarray(identities), np.asarray(ages, dtype=np.float64)
    if years.shape != people.shape:
        raise ValueError(f"got {len(people)} identities and {len(years)} ages; give one an image.")
    if min_gap < 0:
        raise ValueError(f"min_gap is {min_gap}; a gap in years is 0 or more.")
    return _ten_folds(people, years, n_pairs, seed, min_gap)


def _ten_folds(
    people: NDArray, years: NDArray[np.float64] | None, n_pairs: int, seed: int, min_gap: float
) -> Pairs:
    if n_pairs < 2 * FOLDS or n_pairs % (2 * FOLDS):
        raise ValueError(
            f"n_pairs is {n_pairs}; ten folds, each half genuine, need a positive multiple of 20."
        )
    rng = np.random.default_rng(seed)
    each = n_pairs // (2 * FOLDS)
    left, right = [], []
    for fold, group in enumerate(np.array_split(rng.permutation(np.unique(people)), FOLDS)):
        members = np.flatnonzero(np.isin(people, group))
        i, j = (members[k] for k in np.triu_indices(len(members), 1))
        if years is not None:
            far = np.abs(years[i] - years[j]) >= min_gap
            i, j = i[far], j[far]
        same = people[i] == people[j]
        kinds = [np.flatnonzero(same), np.flatnonzero(~same)]
        if min(map(len, kinds)) < each:
            gap = "" if years is None else f" at least {min_gap:g} years apart"
            raise ValueError(
                f"fold {fold} needs {each} genuine and {each} impostor pairs{gap}, and its "
                f"{len(group)} people have {len(kinds[0])} and {len(kinds[1])}; ask for fewer than "
                f"{n_pairs} pairs, or draw more people or more images a person."
            )
        chosen = np.stack([rng.choice(kind, each, replace=False) for kind in kinds], axis=1)
        left.append(i[chosen.ravel()])
        right.append(j[chosen.ravel()])
    return Pairs(
        np.concatenate(left).astype(np.int64),
        np.concatenate(right).astype(np.int64),
        np.tile([True, False], n_pairs // 2),
    )
