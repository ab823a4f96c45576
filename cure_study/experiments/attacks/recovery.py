"""Recovery: is what was forgotten gone, or only hidden?

A linear map restores information that can still be read linearly; a few images, enrolled or trained
on, show how much the encoder still knows of a person. An encoder that never saw a person also
recognises them, so compare every number with the oracle's.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike
from torch import nn

from cure_core.encoders.embedding import embed
from cure_core.encoders.images import Images
from cure_core.metrics.arrays import checked, labels_of
from cure_core.metrics.gallery import rank_one
from cure_core.metrics.pairs import Pairs
from cure_core.metrics.verification import ten_fold_accuracy
from cure_core.training.arcface import Recipe, train
from cure_study.data.faceset import ImageView
from cure_study.evaluation.features import first_of_each
from cure_study.evaluation.procrustes import paired
from cure_study.evaluation.protocol import Protocol
from cure_study.evaluation.space import Space, rows_of
from cure_study.experiments.attacks.table import Rows, row

RELEARNING = Recipe(  # of one epoch
    epochs=1, batch_size=32, learning_rate=0.01, margin=0.2, warmup=0, head="centroids"
)


def linear_map(
    source: torch.Tensor | ArrayLike, target: torch.Tensor | ArrayLike
) -> Callable[[torch.Tensor | ArrayLike], np.ndarray]:
    """A ridge regression with intercept from source to target; maps rows to normalised rows.

    Its strength is chosen by leave-one-out among 1e-4 to 1e3. Shapes: source and target (N, D), row
    by row the same images by two encoders; fit it on retained faces alone, or it proves nothing
    about the forgotten. Raises ValueError for NaN or shapes that differ.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import normalize

    model = RidgeCV(alphas=np.logspace(-4, 3, 8)).fit(*paired(source, target))
    return lambda rows: normalize(model.predict(checked(rows, "rows", ndim=2)))


def few_shot(space: Space, shots: Sequence[int]) -> Rows:
    """Rank-1 of forgotten people, each enrolled again by a few images, among everyone retained.

    `few_shot`: enrolled by some forget images and searched by the others; `few_shot_fresh`: by
    held-out images, which no method was given, for as many shots as they allow.
    """
    p, people = space.protocol, space.protocol.faces.identities
    others = p.gallery[~np.isin(people[p.gallery], people[p.forget])]
    rows: Rows = []
    for attack, index in (("few_shot", p.forget), ("few_shot_fresh", p.probes)):
        most = most_images(people[index])
        sides = space[index], people[index], space[others], people[others]
        rows += [
            row(attack, "rank1", few_shot_rank_one(*sides, shots=n, seed=p.seed), at=n)
            for n in shots
            if n < most
        ]
    return rows


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

    The gallery also holds the other people, each enrolled by all of their images. The mean over
    `repeats` draws of the images; the rest of a person's images are the probes, and a person with
    no image left is not enrolled. Chance is 1 / (number of people enrolled).

    Shapes: embeddings (N, D) of forgotten people (N,), others (M, D), other_people (M,); returns
    a share in [0, 1]. Source: prototypes from few images, Snell et al. (arXiv:1703.05175).
    Raises ValueError for NaN, people on both sides, or if nobody has more than `shots` images.
    """
    rows, others = checked(embeddings, "embeddings", ndim=2), checked(others, "others", ndim=2)
    people = labels_of(people, len(rows))
    other_people = labels_of(other_people, len(others), "other_people")
    if shots < 1 or repeats < 1:
        raise ValueError(f"shots={shots}, repeats={repeats}; expected one at least of each")
    if shared := np.intersect1d(people, other_people).tolist():
        raise ValueError(f"{len(shared)} people are on both sides (first: {shared[0]})")
    rng = np.random.default_rng(seed)
    rates = []
    for _ in range(repeats):
        order = rng.permutation(len(rows))
        rank = pd.Series(people[order]).groupby(people[order]).cumcount().to_numpy()
        enrolled, probes = order[rank < shots], order[rank >= shots]
        if not len(probes):
            raise ValueError(f"nobody has more than shots={shots} images; none is left to search")
        enrolled = enrolled[np.isin(people[enrolled], people[probes])]
        gallery = np.concatenate([rows[enrolled], others])
        names = np.concatenate([people[enrolled], other_people])
        rates.append(rank_one(rows[probes], people[probes], gallery, names))
    return float(np.mean(rates))


def relearning(
    protocol: Protocol,
    encoder: nn.Module,
    n: int,
    epochs: int = 5,
    device: torch.device | str | None = None,
) -> Rows:
    """Accuracy on forget pairs while fine-tuning on `n` images of each forgotten person.

    Evaluated on the pairs that touch none of those images.
    """
    p, people = protocol, protocol.faces.identities
    trained_on, pairs, folds = relearning_split(p, n)
    index = np.unique(np.concatenate([pairs.left, pairs.right]))

    def accuracy(model: nn.Module) -> float:
        unit = embed(model, ImageView(p.faces.images, index), device=device).numpy()
        left, right = (unit[rows_of(index, side)] for side in (pairs.left, pairs.right))
        return ten_fold_accuracy((left * right).sum(axis=1), pairs.genuine, folds)

    images = ImageView(p.faces.images, trained_on)
    curve = relearn(encoder, images, people[trained_on], accuracy, epochs, device)
    return [row(f"relearning_{n}", "accuracy", value, at=step) for step, value in curve]


def relearn(
    encoder: nn.Module,
    images: Images,
    people: np.ndarray,
    measure: Callable[[nn.Module], float],
    epochs: int,
    device: torch.device | str | None = None,
) -> list[tuple[int, float]]:
    """Fine-tune a copy of `encoder` on a few labelled images, and measure it after each epoch.

    Each epoch is a separate training whose head starts at the people's mean embeddings, so that
    no time goes into learning the head. `images` and `people` (N,) as in `arcface.train`.
    Returns the number of optimiser steps so far, from 0, with `measure(encoder)`.
    Source: relearning time as a test of forgetting, Golatkar et al. (arXiv:1911.04933); this form
    of it is our choice. Raises ValueError for fewer than two people.
    """
    steps = _steps(len(people), RELEARNING.batch_size)
    curve = [(0, measure(encoder))]
    for epoch in range(1, epochs + 1):
        recipe = replace(RELEARNING, seed=epoch)
        encoder = train(encoder, images, people, recipe, device=device).encoder
        curve.append((epoch * steps, measure(encoder)))
    return curve


def relearning_split(protocol: Protocol, n: int) -> tuple[np.ndarray, Pairs, np.ndarray]:
    """`n` images of each forgotten person, and the forget pairs that touch none, with folds."""
    people, pairs = protocol.faces.identities, protocol.pairs["forget"]
    trained_on = protocol.forget[first_of_each(people[protocol.forget], n)]
    unseen = ~np.isin(pairs.left, trained_on) & ~np.isin(pairs.right, trained_on)
    return trained_on, pairs.select(unseen), protocol.folds["forget"][unseen]


def most_images(people: np.ndarray) -> int:
    """The largest number of images of one person; people (N,), one label an image."""
    return int(np.unique(people, return_counts=True)[1].max(initial=0))


def _steps(images: int, batch_size: int) -> int:
    """The steps of an epoch; a last batch of one image joins the one before (`draw_labelled`)."""
    alone = images > batch_size and images % batch_size == 1
    return int(np.ceil(images / batch_size)) - alone
