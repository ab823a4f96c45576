"""The likelihood-ratio attack: what would this score be, had the person been trained on or not?

Shadow encoders, trained as the target was but each on a random half of the people, show how every
image is embedded with and without its person in training. An image that is easy for any encoder
then no longer passes for a member, which is where a plain threshold errs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from cure_core.metrics.arrays import checked
from cure_core.training.arcface import Recipe
from cure_study.data.faceset import FaceSet, ImageView
from cure_study.training_cache import train_cached

FIRST_SEED = 10_000  # of the shadows' training: no study's own seed is so high


@dataclass(frozen=True, eq=False, repr=False)
class Shadow:
    """An encoder trained on some people, and who they were."""

    encoder: nn.Module
    people: np.ndarray

    def __repr__(self) -> str:
        return f"Shadow(trained on {len(self.people)} people)"


def random_halves(n: int, count: int, seed: int = 0) -> np.ndarray:
    """Who is in: (count, n) bool, each of n people in exactly half of `count` draws.

    So everyone has as many scores from inside as from outside, which drawing each half alone
    would not ensure. Source: LiRA's code. Raises ValueError for an odd or too small `count`.
    """
    if count < 2 or count % 2:
        raise ValueError(f"count is {count}; expected an even number of shadows, two at least")
    rank = np.random.default_rng(seed).random((count, n)).argsort(axis=0)
    return rank < count // 2


def train_shadows(
    start: nn.Module,
    faces: FaceSet,
    index: np.ndarray,
    recipe: Recipe,
    count: int = 4,
    *,
    seed: int = 0,
    device: torch.device | str | None = None,
    progress: bool | None = False,
) -> list[Shadow]:
    """Train `count` shadow encoders from `start`, each on half of the people of `index`.

    `index` (N,) points to the attacker's images in `faces`: of members, forgotten and outsiders.
    Each is trained by the target's recipe with a seed of its own, and kept in the cache.
    Raises ValueError for an odd count, or where half of the people is fewer than two.
    """
    own = faces.identities[index]
    people = np.unique(own)
    shadows = []
    for s, inside in enumerate(random_halves(len(people), count, seed)):
        taken = index[np.isin(own, people[inside])]
        images = ImageView(faces.images, taken)
        plan = replace(recipe, seed=FIRST_SEED + count * seed + s)
        options = {"device": device, "progress": progress}
        encoder = train_cached(start, images, faces.identities[taken], plan, **options).encoder
        shadows.append(Shadow(encoder, people[inside]))
    return shadows


def likelihood_ratio(
    observed: ArrayLike, shadows: Sequence[ArrayLike] | np.ndarray, inside: ArrayLike
) -> np.ndarray:
    """How much likelier each image's score is, had it been trained on: (N,) log ratios.

    Per image, a normal distribution around the mean of the scores from inside and one around the
    mean from outside; the two variances are shared by all images, as LiRA does where shadows are
    few. Several scores of an image add up, as if independent (our choice).

    Shapes: observed (N, F), the target's scores; shadows (S, N, F), the same scores by each
    shadow; inside (S, N) bool, whether that shadow was trained on the image's person.
    Source: LiRA, online (arXiv:2112.03570). For a student, shadows that unlearnt the forgotten by
    the same method would be a sharper attack (U-LiRA, arXiv:2403.01218): pass their scores here.
    Raises ValueError for NaN, shapes that differ, or shadows too few for a mean and a variance.
    """
    seen = checked(observed, "observed", ndim=2).astype(np.float64)
    scores = checked(np.asarray(shadows), "shadows", ndim=3).astype(np.float64)
    within = np.asarray(inside, dtype=bool)
    if scores.shape[1:] != seen.shape or within.shape != scores.shape[:2]:
        raise ValueError(
            f"observed {seen.shape}, shadows {scores.shape} and inside {within.shape} do not fit; "
            "expected (N, F), (S, N, F) and (S, N)"
        )
    log_density = []
    for name, side in (("inside", within), ("outside", ~within)):
        count = side.sum(axis=0)[:, None]
        if count.min() < 1 or count.max() < 2:
            raise ValueError(
                f"{int((count < 1).sum())} images have no shadow {name}, and none has more than "
                f"{int(count.max())}; train more shadows, each on another half of the people"
            )
        part = side[:, :, None]
        mean = np.where(part, scores, 0).sum(axis=0) / count
        variance = np.where(part, (scores - mean) ** 2, 0).sum(axis=(0, 1)) / (count - 1).sum()
        variance = np.maximum(variance, 1e-12)  # scores that no training changes say nothing
        log_density.append(-((seen - mean) ** 2) / (2 * variance) - np.log(variance) / 2)
    return (log_density[0] - log_density[1]).sum(axis=1)
