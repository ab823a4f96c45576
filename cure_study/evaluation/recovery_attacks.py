"""How the forgotten come back: enrolled anew by a few images, or trained on again."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from cure_core.encoders.embedding import embed
from cure_core.metrics.features import first_of_each
from cure_core.metrics.pairs import Pairs
from cure_core.metrics.verification import ten_fold_accuracy
from cure_study.data.faceset import ImageView
from cure_study.evaluation.attack_table import Rows, row
from cure_study.evaluation.protocol import Protocol
from cure_study.evaluation.recovery import few_shot_rank_one, relearn
from cure_study.evaluation.space import Space, rows_of


def few_shot(protocol: Protocol, space: Space, shots: Sequence[int]) -> Rows:
    """Rank-1 of the forgotten, each enrolled anew by a few images, among everyone retained.

    `few_shot`: by forget images, searched by the others; `few_shot_fresh`: by held-out images,
    which no method was given, as far as there are enough of them.
    """
    p, people = protocol, protocol.faces.identities
    others = p.gallery[~np.isin(people[p.gallery], people[p.forget])]
    rows: Rows = []
    for attack, own in (("few_shot", p.forget), ("few_shot_fresh", p.probes)):
        most = most_images(people[own])
        ours = (space[own], people[own], space[others], people[others])
        rows += [
            row(attack, "rank1", few_shot_rank_one(*ours, shots=n, seed=p.seed), at=n)
            for n in shots
            if n < most
        ]
    return rows


def relearning(
    protocol: Protocol,
    encoder: nn.Module,
    n: int,
    epochs: int = 5,
    device: torch.device | str | None = None,
) -> Rows:
    """Accuracy on forget pairs while fine-tuning on `n` images of each forgotten person.

    Judged by the pairs that touch none of those images.
    """
    p, people = protocol, protocol.faces.identities
    shown, pairs, folds = unshown(p, n)
    ends = np.unique(np.concatenate([pairs.left, pairs.right]))

    def accuracy(model: nn.Module) -> float:
        unit = embed(model, ImageView(p.faces.images, ends), device=device).numpy()
        left, right = (unit[rows_of(ends, side)] for side in (pairs.left, pairs.right))
        return ten_fold_accuracy((left * right).sum(axis=1), pairs.genuine, folds)

    images = ImageView(p.faces.images, shown)
    curve = relearn(encoder, images, people[shown], accuracy, epochs, device=device)
    return [
        row(f"relearning_{n}", "accuracy", value, at=step)
        for step, value in zip(curve.step, curve.value, strict=True)
    ]


def unshown(protocol: Protocol, n: int) -> tuple[np.ndarray, Pairs, np.ndarray]:
    """`n` images of each forgotten person, and the forget pairs that touch none, with folds."""
    people, pairs = protocol.faces.identities, protocol.pairs["forget"]
    shown = protocol.forget[first_of_each(people[protocol.forget], n)]
    fresh = ~np.isin(pairs.left, shown) & ~np.isin(pairs.right, shown)
    return shown, pairs.select(fresh), protocol.folds["forget"][fresh]


def most_images(people: np.ndarray) -> int:
    """The images of whoever has most of them, from the person on each."""
    return int(np.unique(people, return_counts=True)[1].max(initial=0))
