"""Splits of people and images into training, held-out and outsiders; uses identity labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cure_core.checks import known_fields, real, whole

FIELDS = ("min_images", "max_images", "outsiders", "heldout")  # what a study sets of a split


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Image indices (int64) of a study: `train` and `heldout` of the same people, and `outsiders`.

    Outsiders have as many images each as the trained people, but are never trained on: the
    non-members that a membership attack needs.
    """

    train: np.ndarray
    heldout: np.ndarray
    outsiders: np.ndarray

    def __repr__(self) -> str:
        return (
            f"Split({len(self.train):,} training and {len(self.heldout):,} held-out images of the "
            f"same people, {len(self.outsiders):,} images of outsiders)"
        )


def check_split(split: Mapping[str, Any]) -> None:
    """Raise ValueError for an unknown field of a split, or a value that it does not accept."""
    for name, value in known_fields("split", split, FIELDS).items():
        if name == "heldout":
            real(name, value, "from 0 to below 1, a share", lambda x: 0 <= x < 1)
        elif name == "outsiders":
            whole(name, value)
        elif value is not None or name == "min_images":
            whole(name, value, 3)  # two of them are held out


def split_people(
    identities: np.ndarray,
    *,
    unseen: np.ndarray | None = None,
    min_images: int = 10,
    max_images: int | None = 60,
    outsiders: int = 20,
    heldout: float = 0.2,
    seed: int = 0,
) -> Split:
    """Split the people who have `min_images` or more; of each, at most `max_images` are used.

    `identities` (N,); images that `unseen` (N,) bool marks do not take part. `outsiders` people
    are used for membership attacks only; of every other person, a fraction `heldout` of the images
    (at least two, for a pair) is held out of training. Raises ValueError if too few people or
    images remain.
    """
    check_split(dict(zip(FIELDS, (min_images, max_images, outsiders, heldout), strict=True)))
    rng = np.random.default_rng(seed)
    taking_part = identities if unseen is None else identities[~unseen]
    people, counts = np.unique(taking_part, return_counts=True)
    people = people[counts >= min_images]
    if len(people) < outsiders + 2:
        raise ValueError(
            f"{len(people)} people have {min_images} images or more, too few for {outsiders} "
            "outsiders and two to train on; lower min_images or outsiders"
        )
    outside = set(rng.choice(people, outsiders, replace=False).tolist())
    empty = np.empty(0, dtype=np.int64)
    train, held_out, outsider_images = [empty], [empty], [empty]
    for person in people:
        images = rng.permutation(np.flatnonzero(identities == person))[:max_images]
        if person in outside:
            outsider_images.append(images)
            continue
        n = min(max(2, round(heldout * len(images))), len(images) - 1)
        held_out.append(images[:n])
        train.append(images[n:])
    return Split(*(np.sort(np.concatenate(part)) for part in (train, held_out, outsider_images)))
