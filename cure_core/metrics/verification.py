"""Verification: how well similarity scores tell genuine pairs from impostor pairs.

A pair is accepted if its score is strictly above the threshold. Everything is exact for float32
scores: nothing is binned, sampled or approximated.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

from cure_core.metrics.arrays import as_array, checked
from cure_core.metrics.pairs import group_by_person

Scores = torch.Tensor | ArrayLike


def tar_at_far(genuine: Scores, impostor: Scores, far: float) -> float:
    """True accept rate at a false accept rate: TAR@FAR.

    The threshold is the lowest at which at most a share `far` of the impostors is accepted. No
    interpolation: with fewer than 1 / far impostors none may pass. With all scores tied, 0.

    Shapes: genuine (G,), impostor (I,). `far` in [0, 1); returns a share in [0, 1].
    Raises ValueError for empty scores, NaN, or `far` outside its range.
    """
    genuine, impostor = checked(genuine, "genuine"), checked(impostor, "impostor")
    if not 0 <= far < 1:
        raise ValueError(f"far is {far}; expected a share in [0, 1), such as 1e-3.")
    n = len(impostor)
    allowed = round(far * n)  # not floor: 0.29 * 100 is 28.999... in floating point
    if allowed / n > far:
        allowed -= 1
    threshold = np.partition(impostor, n - allowed - 1)[n - allowed - 1]
    return float(np.mean(genuine > threshold))


def roc(genuine: Scores, impostor: Scores) -> pd.DataFrame:
    """The exact ROC curve, at its corners.

    One row for each distinct threshold at which TAR changes, and just before it. Between two rows
    TAR is constant, so the curve is complete, and its length depends on the genuine pairs even with
    87 million impostors.

    Shapes: genuine (G,), impostor (I,). Returns columns threshold (falling from the highest
    score to -inf), far and tar (both rising from 0 to 1). Raises ValueError for empty or NaN.
    """
    return pd.DataFrame(
        dict(zip(("threshold", "far", "tar"), _curve(genuine, impostor), strict=True))
    )


def _curve(genuine: Scores, impostor: Scores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds, false and true accept rates of `roc`."""
    genuine, impostor = checked(genuine, "genuine"), checked(impostor, "impostor")
    kind = np.result_type(genuine, impostor, np.float32)
    genuine = np.sort(genuine.astype(kind, copy=False))
    impostor = np.sort(impostor.astype(kind, copy=False))
    low, top = kind.type(-np.inf), max(genuine[-1], impostor[-1])
    # Strictly above the number just below a score means at that score or above it.
    thresholds = np.unique(np.concatenate([genuine, np.nextafter(genuine, low), [low, top]]))[::-1]
    return thresholds, _share_above(thresholds, impostor), _share_above(thresholds, genuine)


def _share_above(thresholds: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """Share of the sorted scores `ascending` (N,) strictly above each of `thresholds` (T,)."""
    n = len(ascending)
    return (n - np.searchsorted(ascending, thresholds, side="right")) / n


def equal_error_rate(genuine: Scores, impostor: Scores) -> float:
    """Equal error rate: where the ROC curve has equal false accept and false reject rates.

    If no threshold has, by linear interpolation between the two neighbouring operating points (our
    choice; choosing between them at random would reach it), so constant scores give 1/2.

    Shapes: genuine (G,), impostor (I,); returns a share in [0, 1], lower is better.
    Raises ValueError for empty scores or NaN.
    """
    _, far, tar = _curve(genuine, impostor)
    excess = far - (1 - tar)
    after = int(np.argmax(excess >= 0))  # excess rises from -1 to 1, so after >= 1
    before = after - 1
    step = -excess[before] / (excess[after] - excess[before])
    return float(far[before] + step * (far[after] - far[before]))


def ten_folds(n: int) -> np.ndarray:
    """Fold number of each of n pairs, (n,) int64: ten contiguous folds, as equal as can be."""
    return np.repeat(np.arange(10), [len(fold) for fold in np.array_split(np.arange(n), 10)])


def ten_fold_accuracy(scores: Scores, labels: Scores, folds: ArrayLike | None = None) -> float:
    """Verification accuracy at the best threshold, cross-validated: the LFW protocol.

    Each fold is decided at the threshold that is best on the others. Accuracy, in the choice and
    in the report, is the mean of the two classes' rates, here over all held-out decisions together
    (our choice: a fold may then lack a class). If the folds are half genuine that is LFW's plain
    accuracy; constant scores always give 1/2.

    Shapes: scores (P,), labels (P,) bool (True for genuine), folds (P,) fold numbers, by default
    ten contiguous folds. Returns a share in [0, 1]. Source: Labeled Faces in the Wild
    (http://vis-www.cs.umass.edu/lfw/). Raises ValueError for empty scores, NaN, lengths that
    differ, labels that are not bool, fewer than two folds, or if all pairs outside a fold are
    of one class.
    """
    scores = checked(scores, "scores")
    labels = _class_labels(labels, len(scores))
    if folds is None and len(scores) < 10:
        raise ValueError(f"{len(scores)} pairs do not fill ten folds; draw more, or pass folds.")
    fold_of = ten_folds(len(scores)) if folds is None else checked(folds, "folds")
    if len(fold_of) != len(scores):
        raise ValueError(f"folds holds {len(fold_of)} numbers for {len(scores)} scores.")
    numbers = np.unique(fold_of)
    if len(numbers) < 2:
        raise ValueError(f"all pairs are in fold {numbers[0]}; cross-validation needs two folds.")
    fold = np.searchsorted(numbers, fold_of)
    values, index = np.unique(scores.astype(np.float64), return_inverse=True)
    counts = np.zeros((2, len(numbers), len(values)), np.int64)  # of each class, fold and value
    np.add.at(counts, (labels.astype(int), fold, index), 1)
    impostor, genuine = counts.sum(1, keepdims=True) - counts  # in all other folds
    thresholds = np.array(
        [_best_threshold(values, *c) for c in zip(genuine, impostor, strict=True)]
    )
    accepted = scores > thresholds[fold]
    return float((np.mean(accepted[labels]) + np.mean(~accepted[~labels])) / 2)


def best_threshold(scores: Scores, labels: Scores) -> float:
    """The threshold of best balanced accuracy, half-way between two neighbouring scores.

    Shapes: scores (P,), labels (P,) bool. Of several best, the lowest; -inf accepts all.
    Raises ValueError for empty scores, NaN, or labels of one class only.
    """
    scores = checked(scores, "scores").astype(np.float64)
    labels = _class_labels(labels, len(scores))
    values, index = np.unique(scores, return_inverse=True)
    genuine, impostor = (np.bincount(index[k], minlength=len(values)) for k in (labels, ~labels))
    return _best_threshold(values, genuine, impostor)


def _best_threshold(values: np.ndarray, genuine: np.ndarray, impostor: np.ndarray) -> float:
    """`best_threshold` from how often each of the rising `values` occurs in each class."""
    if not (genuine.any() and impostor.any()):
        raise ValueError("all pairs outside a fold are of one class; both classes are needed.")
    present = np.flatnonzero(genuine + impostor)
    values, genuine, impostor = values[present], genuine[present], impostor[present]
    # The gain over accepting all if everything up to each value is rejected, times both counts:
    # integers, or rounding would choose among equally good thresholds.
    gain = np.cumsum(impostor) * genuine.sum() - np.cumsum(genuine) * impostor.sum()
    best = int(np.argmax(gain))
    if gain[best] <= 0:
        return -np.inf
    if best == len(values) - 1:
        return float(values[best])
    middle = (values[best] + values[best + 1]) / 2
    return float(middle if middle < values[best + 1] else values[best])


def _class_labels(labels: Scores, n: int) -> np.ndarray:
    """Labels as (n,) bool, both classes present; ValueError otherwise."""
    labels = as_array(labels)
    if labels.dtype != bool or labels.shape != (n,):
        raise ValueError(f"labels is {labels.dtype} {labels.shape}; expected bool ({n},).")
    if labels.all() or not labels.any():
        raise ValueError(f"all {n} labels are {bool(labels[0])}; both classes are needed.")
    return labels


def all_pairs(
    embeddings: Scores, people: ArrayLike, chunk: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """Cosine scores of every pair of images: (genuine (G,), impostor (I,)), float32.

    N = 13,233 images give 87.5 million scores, 350 MB, plus `chunk` * N * 4 bytes of memory while
    it runs.

    Shapes: embeddings (N, D) L2-normalised; people (N,), one label an image. Raises ValueError
    for NaN, lengths that differ, or if there is no genuine or no impostor pair.
    """
    rows = checked(embeddings, "embeddings", ndim=2).astype(np.float32, copy=False)
    order, start = group_by_person(as_array(people))
    if len(order) != len(rows):
        raise ValueError(f"people holds {len(order)} labels for {len(rows)} embeddings.")
    rows = rows[order]
    n_genuine, n_impostor = np.arange(len(order)) - start, start  # with earlier images, of each
    genuine, impostor = (np.empty(int(n.sum()), np.float32) for n in (n_genuine, n_impostor))
    if not len(genuine) or not len(impostor):
        raise ValueError(
            f"{len(rows)} images give {len(genuine)} genuine and {len(impostor)} impostor pairs; "
            "both kinds are needed."
        )
    g = i = 0
    for first in range(0, len(rows), chunk):
        last = min(first + chunk, len(rows))
        for p, scores in enumerate(rows[first:last] @ rows[:last].T, start=first):
            genuine[g : g + n_genuine[p]] = scores[start[p] : p]
            impostor[i : i + n_impostor[p]] = scores[: start[p]]
            g, i = g + n_genuine[p], i + n_impostor[p]
    return genuine, impostor
