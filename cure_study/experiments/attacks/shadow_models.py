"""The likelihood-ratio attack: what would this score be, had the person been trained on or not?

Shadow encoders, trained as the target was but each on a random half of the people, show how every
image is embedded with and without its person in training. So an image that is easy for any encoder
is not mistaken for a member, as it is by a plain threshold.
"""

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

FIRST_SEED = 10_000  # of the shadows' training: no seed of a study is as high


@dataclass(frozen=True, eq=False)
class Shadow:
    """An encoder trained on some people, and who they are: their numbers, (P,)."""

    encoder: nn.Module
    people: np.ndarray


def random_halves(n: int, count: int, seed: int = 0) -> np.ndarray:
    """Random halves of n people, (count, n) bool; each person is in exactly half of the draws.

    So every person has as many scores from inside as from outside, which independent draws would
    not ensure. Source: LiRA's code. Raises ValueError for an odd or too small `count`.
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
    Each is trained by the target's recipe with another seed, and cached.
    Raises ValueError for an odd count, or if half of the people is fewer than two.
    """
    identities = faces.identities[index]
    people = np.unique(identities)
    shadows = []
    for s, inside in enumerate(random_halves(len(people), count, seed)):
        chosen = index[np.isin(identities, people[inside])]
        seeded = replace(recipe, seed=FIRST_SEED + count * seed + s)
        trained = train_cached(
            start,
            ImageView(faces.images, chosen),
            faces.identities[chosen],
            seeded,
            device=device,
            progress=progress,
        )
        shadows.append(Shadow(trained.encoder, people[inside]))
    return shadows


def likelihood_ratio(
    observed: ArrayLike, shadows: Sequence[ArrayLike] | np.ndarray, inside: ArrayLike
) -> np.ndarray:
    """How much likelier each image's score is if it was trained on: (N,) log ratios.

    Per image, a normal distribution around the mean of the scores from inside and one around the
    mean from outside; the two variances are shared by all images, as LiRA does for few shadows.
    Several scores of an image add up, as if independent (our choice).

    Shapes: observed (N, F), the target's scores; shadows (S, N, F), the same scores by each
    shadow; inside (S, N) bool, whether that shadow was trained on the image's person.
    Source: LiRA, online (arXiv:2112.03570). For a student, shadows that unlearnt the forgotten by
    the same method would be a sharper attack (U-LiRA, arXiv:2403.01218): pass their scores here.
    Raises ValueError for NaN, shapes that differ, or shadows too few for a mean and a variance.
    """
    target = checked(observed, "observed", ndim=2).astype(np.float64)
    scores = checked(np.asarray(shadows), "shadows", ndim=3).astype(np.float64)
    trained_on = np.asarray(inside, dtype=bool)
    if scores.shape[1:] != target.shape or trained_on.shape != scores.shape[:2]:
        raise ValueError(
            f"observed {target.shape}, shadows {scores.shape} and inside {trained_on.shape} do not "
            "fit; expected (N, F), (S, N, F) and (S, N)"
        )
    log_density = []
    for name, side in (("inside", trained_on), ("outside", ~trained_on)):
        count = side.sum(axis=0)[:, None]
        if count.min() < 1 or count.max() < 2:
            raise ValueError(
                f"{int((count < 1).sum())} images have no shadow {name}, and none has more than "
                f"{int(count.max())}; train more shadows, each on another half of the people"
            )
        part = side[:, :, None]
        mean = np.where(part, scores, 0).sum(axis=0) / count
        variance = np.where(part, (scores - mean) ** 2, 0).sum(axis=(0, 1)) / (count - 1).sum()
        variance = np.maximum(variance, 1e-12)  # of scores that no training changes
        log_density.append(-((target - mean) ** 2) / (2 * variance) - np.log(variance) / 2)
    return (log_density[0] - log_density[1]).sum(axis=1)
