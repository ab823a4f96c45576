"""Pairs of images to verify: drawing and scoring them.

Identities are one label an image; only evaluation has them, unlearning never does.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False, repr=False)
class Pairs:
    """Pairs of indices into one image set.

    Shapes: left (P,) int64, right (P,) int64, genuine (P,) bool (both images of one person).
    Raises ValueError if the three lengths differ.
    """

    left: np.ndarray
    right: np.ndarray
    genuine: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.left) == len(self.right) == len(self.genuine):
            raise ValueError(
                f"left, right and genuine hold {len(self.left)}, {len(self.right)} and "
                f"{len(self.genuine)} entries; a pair needs one of each."
            )

    def __len__(self) -> int:
        return len(self.genuine)

    def __repr__(self) -> str:
        return f"{len(self):,} pairs, {np.count_nonzero(self.genuine):,} genuine"

    def select(self, mask: np.ndarray) -> Pairs:
        """The pairs for which `mask` (P,) is true, in order."""
        return Pairs(self.left[mask], self.right[mask], self.genuine[mask])


def group_by_person(people: Sequence[Hashable] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order images by person, and find where each image's person begins in that order.

    Shapes: people (N,); returns order (N,) and start (N,), int64. In this order, image p forms
    impostor pairs with the images [0, start[p]) and genuine pairs with [start[p], p), so that every
    pair occurs exactly once.
    """
    codes = np.unique(np.asarray(people), return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    return order, np.searchsorted(codes[order], codes[order])


def draw_pairs(people: Sequence[Hashable] | np.ndarray, n_each: int, seed: int) -> Pairs:
    """Draw up to `n_each` genuine pairs and as many impostor pairs among the same images.

    Each kind is uniform over all its distinct unordered pairs, without replacement, so a person
    with many images is in more of the genuine ones. Genuine and impostor pairs alternate, so each
    of ten contiguous folds is half genuine (plus or minus one).

    Shapes: people (N,), one label an image. If one kind has fewer than `n_each` pairs, both are
    cut to that number. Raises ValueError if n_each < 1, or a kind has no pair at all.
    """
    if n_each < 1:
        raise ValueError(f"n_each is {n_each}; draw at least one pair of each kind.")
    order, start = group_by_person(people)
    n_before = {"genuine": np.arange(len(order)) - start, "impostor": start}  # partners of each
    n_genuine, n_impostor = (int(count.sum()) for count in n_before.values())
    if not n_genuine or not n_impostor:
        raise ValueError(
            f"{len(order)} images of {len(set(start.tolist()))} people hold {n_genuine} genuine "
            f"and {n_impostor} impostor pairs; both kinds are needed: two people at least, one "
            "of them with two images."
        )
    n = min(n_each, n_genuine, n_impostor)
    rng = np.random.default_rng(seed)
    first = {"genuine": start, "impostor": np.zeros_like(start)}
    kinds = [draw_partners(n_before[kind], first[kind], n, rng) for kind in n_before]
    return alternating(*((order[left], order[right]) for left, right in kinds))


def draw_partners(
    n_partners: np.ndarray, first_partner: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw `n` pairs, all different: image p has `n_partners[p]` partners from `first_partner[p]`.

    Shapes: n_partners and first_partner (N,), as `group_by_person` orders images; returns the
    positions of the partners and of the images, (n,) each. Raises ValueError for more than exist.
    """
    end = np.cumsum(n_partners)
    number = rng.choice(end[-1], size=n, replace=False)
    later = np.searchsorted(end, number, side="right")
    return first_partner[later] + number - (end - n_partners)[later], later


def alternating(
    genuine: tuple[np.ndarray, np.ndarray], impostor: tuple[np.ndarray, np.ndarray]
) -> Pairs:
    """Equally many genuine and impostor pairs, (left, right) of shape (n,) each, in turn."""
    left, right = (np.stack(side, axis=1).ravel() for side in zip(genuine, impostor, strict=True))
    return Pairs(left, right, np.tile([True, False], len(genuine[0])))


def count_pairs(people: Sequence[Hashable] | np.ndarray) -> tuple[int, int]:
    """The numbers of genuine and of impostor pairs among images of people (N,)."""
    start = group_by_person(people)[1]
    return int((np.arange(len(start)) - start).sum()), int(start.sum())


def similarities(embeddings: torch.Tensor | ArrayLike, pairs: Pairs) -> np.ndarray:
    """Cosine similarity of each pair.

    Shapes: embeddings (N, D) float, L2-normalised (a zero row is accepted and scores 0); returns
    (P,) in [-1, 1] up to rounding. Raises ValueError for rows of any other length.
    """
    rows = torch.as_tensor(embeddings).detach().cpu()
    norms = torch.linalg.vector_norm(rows, dim=1)
    wrong = ((norms - 1).abs() > 1e-3) & (norms > 0)
    if wrong.any():
        first = int(wrong.nonzero()[0])
        raise ValueError(
            f"{int(wrong.sum())} of {len(rows)} embeddings are not L2-normalised (first: row "
            f"{first}, length {norms[first]:.4g}); pass them through "
            "cure_core.encoders.embedding.embed or torch.nn.functional.normalize."
        )
    return torch.linalg.vecdot(rows[pairs.left], rows[pairs.right]).numpy()
