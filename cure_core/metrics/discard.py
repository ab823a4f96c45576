"""Error versus discard: how useful a quality score is for recognition."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

from cure_core.metrics.arrays import as_array, checked, labels_of
from cure_core.metrics.pairs import Pairs, similarities
from cure_core.metrics.verification import all_pairs

FAR = 1e-3
STEPS = tuple(i / 100 for i in range(0, 31, 2))  # the field looks at the first 20 to 30 %


def error_versus_discard(
    scores: ArrayLike,
    pairs: Pairs,
    quality: ArrayLike,
    *,
    threshold: float,
    fractions: Sequence[float] = STEPS,
) -> pd.DataFrame:
    """The false non-match rate of the remaining pairs as low-quality images are discarded.

    A genuine pair is discarded with either of its images. A fraction is of the images that occur in
    genuine pairs; of images of equal quality the earlier goes first. The threshold is fixed.
    Shapes: scores (P,), pairs of P, quality (N,) for every image, higher is better. Returns
    columns `discarded` and `fnmr` (NaN once no pair is left). Raises ValueError for NaN, lengths
    that differ, no genuine pair, and fractions outside [0, 1).
    Source: Grother and Tabassi (TPAMI 29(4), 2007), by images; ISO/IEC 29794-1.
    """
    similarity, quality = checked(scores, "scores"), checked(quality, "quality")
    if len(similarity) != len(pairs):
        raise ValueError(f"{len(similarity)} scores for {len(pairs)} pairs")
    if not pairs.genuine.any():
        raise ValueError("no genuine pair: there is nothing that could fail to match")
    if not all(0 <= fraction < 1 for fraction in fractions):
        raise ValueError(f"fractions={list(fractions)}; each is a share from 0 to below 1")
    left, right = pairs.left[pairs.genuine], pairs.right[pairs.genuine]
    failed = similarity[pairs.genuine] <= threshold
    images = np.unique(np.concatenate([left, right]))
    rank = np.empty(len(quality), np.int64)
    rank[images] = np.argsort(np.argsort(quality[images], kind="stable"))
    worst = np.minimum(rank[left], rank[right])
    rows = []
    for fraction in fractions:
        stays = worst >= round(fraction * len(images))
        rows.append((fraction, failed[stays].mean() if stays.any() else np.nan))
    return pd.DataFrame(rows, columns=["discarded", "fnmr"])


def partial_area(curve: pd.DataFrame, upto: float = 0.2) -> float:
    """Area under the curve from 0 to `upto` over that of a constant curve: 1 for a useless score.

    0 is the optimum; a score that discards the wrong images is above 1. NaN if the curve starts at
    an error of 0. Dividing by the constant curve, as is usual since Olsen et al. (IET Biometrics
    5(2), 2016), makes data sets comparable.
    """
    part = curve[curve.discarded <= upto + 1e-9]
    if len(part) < 2:
        raise ValueError(f"upto={upto} leaves {len(part)} points of the curve; two are needed")
    span = part.discarded.iloc[-1] - part.discarded.iloc[0]
    flat = part.fnmr.iloc[0] * span
    return float(np.trapezoid(part.fnmr, part.discarded) / flat) if flat > 0 else float("nan")


def utility(embeddings: torch.Tensor, people: ArrayLike) -> np.ndarray:
    """Mean similarity of each image to the others of its person: an oracle ordering.

    It uses the labels and the scores under test, so it bounds what a score of single images can
    reach (nearly: the best set to discard is no ranking). 0 for a person's only image, which is in
    no genuine pair. Shapes: embeddings (N, D) L2-normalised, people (N,). Source: our choice; the
    field's oracles differ. Raises ValueError for empty embeddings, NaN, or lengths that differ.
    """
    rows = checked(embeddings, "embeddings", ndim=2)
    codes = np.unique(labels_of(people, len(rows)), return_inverse=True)[1]
    total = np.zeros((codes.max() + 1, rows.shape[1]), rows.dtype)
    np.add.at(total, codes, rows)
    others = np.bincount(codes)[codes] - 1
    alike = (rows * total[codes]).sum(axis=1) - (rows * rows).sum(axis=1)
    return np.where(others > 0, alike / np.maximum(others, 1), 0)


def discard_table(
    embeddings: torch.Tensor,
    people: ArrayLike,
    orderings: dict[str, np.ndarray],
    *,
    far: float = FAR,
    seed: int = 0,
) -> pd.DataFrame:
    """Error-versus-discard curves of several orderings over all genuine pairs of a set.

    The threshold is that of a false match rate of `far` among all impostor pairs. "random" (the
    mean of ten) and "oracle" (`utility`) join the orderings. Returns columns scorer, discarded,
    fnmr, area (`partial_area`, the same in every row of a scorer).
    """
    codes = as_array(people)
    _, impostor = all_pairs(embeddings, codes)
    allowed = int(far * len(impostor))
    threshold = float(np.partition(impostor, -allowed - 1)[-allowed - 1])
    pairs = genuine_pairs(codes)
    scores = similarities(embeddings, pairs)

    def curve(quality: np.ndarray) -> pd.DataFrame:
        return error_versus_discard(scores, pairs, quality, threshold=threshold)

    rng = np.random.default_rng(seed)
    random = pd.concat([curve(rng.random(len(codes))) for _ in range(10)])
    curves = {name: curve(quality) for name, quality in orderings.items()}
    curves["random"] = random.groupby("discarded")[["fnmr"]].mean().reset_index()
    curves["oracle"] = curve(utility(embeddings, codes))
    return pd.concat(
        [c.assign(scorer=name, area=partial_area(c)) for name, c in curves.items()],
        ignore_index=True,
    )[["scorer", "discarded", "fnmr", "area"]]


def genuine_pairs(people: ArrayLike) -> Pairs:
    """Every pair of two images of one person."""
    codes = as_array(people)
    groups = [np.flatnonzero(codes == person) for person in np.unique(codes)]
    pairs = [images[np.stack(np.triu_indices(len(images), 1))] for images in groups]
    left, right = np.concatenate(pairs, axis=1)
    return Pairs(left, right, np.ones(len(left), bool))
