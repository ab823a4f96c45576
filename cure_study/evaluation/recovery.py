"""Recovery: is what was forgotten gone, or only hidden?

A rotation or a linear map undoes what left the information where it can be read linearly; a few
images, enrolled or trained on, show how far the encoder is from knowing the person again. An
encoder that never saw a person also recognises them, so every number is to be read beside the
oracle's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import nn

from cure_core.encoders.images import Images
from cure_core.metrics.arrays import checked, labels_of
from cure_core.metrics.gallery import rank_one
from cure_core.training.arcface import Recipe, train

RELEARNING = Recipe(
    epochs=1, batch_size=32, learning_rate=0.01, margin=0.2, warmup=0, head="centroids"
)


def rotation(source: torch.Tensor | ArrayLike, target: torch.Tensor | ArrayLike) -> np.ndarray:
    """The orthogonal matrix R (D, D), a rotation or reflection, that brings source @ R to target.

    Shapes: source and target (N, D), row by row the same images by two encoders. Learn it on
    retained faces. Source: orthogonal Procrustes (Schonemann 1966), by scipy.
    Raises ValueError for NaN or shapes that differ.
    """
    from scipy.linalg import orthogonal_procrustes

    return orthogonal_procrustes(*_paired(source, target))[0]


def linear_map(
    source: torch.Tensor | ArrayLike, target: torch.Tensor | ArrayLike
) -> Callable[[torch.Tensor | ArrayLike], np.ndarray]:
    """A ridge regression with intercept from source to target; maps rows to normalised rows.

    Its strength is chosen by leave-one-out among 1e-4 to 1e3. Shapes as `rotation`; learn it on
    retained faces alone, or it proves nothing about the forgotten.
    Raises ValueError for NaN or shapes that differ.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import normalize

    model = RidgeCV(alphas=np.logspace(-4, 3, 8)).fit(*_paired(source, target))
    return lambda rows: normalize(model.predict(checked(rows, "rows", ndim=2)))


def few_shot_rank_one(
    embeddings: torch.Tensor | ArrayLike,
    people: ArrayLike,
    others: torch.Tensor | ArrayLike,
    other_people: ArrayLike,
    shots: int,
    repeats: int = 10,
    seed: int = 0,
) -> float:
    """Rank-1 of forgotten people's images after enrolling each by `shots` of their images.

    The prototypes are searched among those of the others too, who are enrolled by all of theirs.
    The mean over `repeats` draws of the images; the rest of a person's images are the probes, and
    a person who has no rest is not enrolled. Chance is 1 / (number of people enrolled).

    Shapes: embeddings (N, D) of forgotten people (N,), others (M, D), other_people (M,); returns
    a share in [0, 1]. Source: prototypes from few images, Snell et al. (arXiv:1703.05175).
    Raises ValueError for NaN, people on both sides, or where nobody has more than `shots` images.
    """
    rows, others = checked(embeddings, "embeddings", ndim=2), checked(others, "others", ndim=2)
    people = labels_of(people, len(rows))
    other_people = labels_of(other_people, len(others), "other_people")
    if shots < 1 or repeats < 1:
        raise ValueError(f"shots={shots}, repeats={repeats}; expected one at least of each")
    if shared := np.intersect1d(people, other_people).tolist():
        raise ValueError(f"{len(shared)} people are on both sides (first: {shared[0]})")
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(repeats):
        order = rng.permutation(len(rows))
        rank = pd.Series(people[order]).groupby(people[order]).cumcount().to_numpy()
        shown, probes = order[rank < shots], order[rank >= shots]
        if not len(probes):
            raise ValueError(f"nobody has more than shots={shots} images; nothing is left to find")
        shown = shown[np.isin(people[shown], people[probes])]
        gallery = np.concatenate([rows[shown], others])
        names = np.concatenate([people[shown], other_people])
        found.append(rank_one(rows[probes], people[probes], gallery, names))
    return float(np.mean(found))


def relearn(
    encoder: nn.Module,
    images: Images,
    people: np.ndarray,
    measure: Callable[[nn.Module], float],
    epochs: int = 5,
    recipe: Recipe = RELEARNING,
    device: torch.device | str | None = None,
) -> pd.DataFrame:
    """Fine-tune a copy of `encoder` on a few labelled images; what it can do after each epoch.

    Each epoch is a training of its own whose head begins at the people's mean embeddings, so that
    no time goes into learning the head. `images` and `people` (N,) as in `recognition.train`.
    Returns columns step (optimiser steps so far, from 0) and value, `measure(encoder)`.
    Source: relearning time as a test of forgetting, Golatkar et al. (arXiv:1911.04933); this form
    of it is our choice. Raises ValueError for fewer than two people.
    """
    steps = recipe.epochs * _steps(len(people), recipe.batch_size)
    rows = [{"step": 0, "value": measure(encoder)}]
    for epoch in range(1, epochs + 1):
        plan = replace(recipe, seed=recipe.seed + epoch)
        encoder = train(encoder, images, people, plan, device=device).encoder
        rows.append({"step": epoch * steps, "value": measure(encoder)})
    return pd.DataFrame(rows)


def _steps(images: int, batch_size: int) -> int:
    """The steps of an epoch; a last batch of one image joins the one before (`batches`)."""
    alone = images > batch_size and images % batch_size == 1
    return int(np.ceil(images / batch_size)) - alone


def _paired(
    source: torch.Tensor | ArrayLike, target: torch.Tensor | ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    rows, goal = checked(source, "source", ndim=2), checked(target, "target", ndim=2)
    if rows.shape != goal.shape:
        raise ValueError(f"source is {rows.shape} and target {goal.shape}; expected one shape")
    return rows, goal
