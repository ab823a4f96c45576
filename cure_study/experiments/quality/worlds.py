"""Where the claim about quality is tried: SynthFaces to train on, strangers to judge by.

In a *natural* world the pictures are as SynthFaces draws them, good and bad. In a *planted* one a
known share of the training pictures is spoilt, so that leaving them out must help.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from cure_core.files import digest
from cure_core.metrics.pairs import Pairs, draw_pairs
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet, ImageView

SPOILT = ("blurred", "covered", "mislabelled")
BLUR = 5.0  # sigma in pixels: hardly a face is left
GROUPS = {
    "tone": ("skin_tone", {"light": (1, 3), "medium": (4, 7), "dark": (8, 10)}),
    "age": ("age", {"under_35": (0, 35), "35_to_55": (35, 55), "over_55": (55, 200)}),
}


@dataclass(frozen=True, eq=False, repr=False)
class World:
    """One seed's faces: `train` to learn, `strangers` with protocols to be judged by.

    `planted` (N,) bool marks the spoilt training pictures; `attributes.planted` says how.
    """

    train: FaceSet
    strangers: FaceSet
    planted: np.ndarray

    def __repr__(self) -> str:
        return f"World({self.train}, {int(self.planted.sum())} spoilt; {self.strangers})"


def natural(options: Mapping[str, object], seed: int) -> World:
    """SynthFaces as drawn, from `seed`; `options` as in `manifests.load`.

    Raises ValueError where the drawing has no strangers or lacks one of the two protocols.
    """
    faces = manifests.load("synthfaces", None, **{**options, "seed": seed})
    if not {"unseen", "cross_age"} <= faces.protocols.keys():
        raise ValueError(
            "the claim is judged by pairs of strangers, of any age and of ages far apart; give "
            "unseen_people, unseen_pairs and cross_age_pairs above 0"
        )
    assert faces.attributes is not None
    count = int((~faces.attributes["unseen"]).sum())  # they come first
    parts = [(slice(0, count), 0), (slice(count, None), count)]
    train, strangers = (
        FaceSet(
            name=faces.name,
            images=faces.images[rows],
            identities=faces.identities[rows],
            fingerprint=digest(faces.fingerprint, first),
            attributes=faces.attributes[rows].reset_index(drop=True).assign(planted="no"),
            protocols={
                name: Pairs(pairs.left - first, pairs.right - first, pairs.genuine)
                for name, pairs in faces.protocols.items()
                if first
            },
        )
        for rows, first in parts
    )
    return World(train, strangers, np.zeros(count, bool))


def plant(world: World, share: float, seed: int) -> World:
    """The same world with a share of its training pictures spoilt, a third in each way.

    Blurred beyond use; the lower or the left half covered by grey; or given to another person, of
    whom the picture says nothing. Raises ValueError for a share that spoils nothing or everything.
    """
    faces = world.train
    count = round(share * len(faces))
    if not 0 < count < len(faces):
        raise ValueError(f"share={share} would spoil {count} of {len(faces)} pictures")
    rng = np.random.default_rng([seed, 5])
    chosen = rng.choice(len(faces), count, replace=False)
    images, identities = np.array(faces.images), faces.identities.copy()
    assert faces.attributes is not None
    how = np.full(len(faces), "no", dtype=object)
    people = np.unique(identities)
    for kind, index in zip(SPOILT, np.array_split(chosen, len(SPOILT)), strict=True):
        how[index] = kind
        if kind == "blurred":
            images[index] = gaussian_filter(images[index], (0, BLUR, BLUR, 0))
        elif kind == "covered":
            below = rng.random(len(index)) < 0.5
            images[index[below], 56:] = 128
            images[index[~below], :, :56] = 128
        else:
            identities[index] = [rng.choice(people[people != p]) for p in identities[index]]
    train = FaceSet(
        name=faces.name,
        images=images,
        identities=identities,
        fingerprint=digest(faces.fingerprint, share, seed),
        attributes=faces.attributes.assign(planted=how),
    )
    return World(train, world.strangers, how != "no")


def group_of(attributes: pd.DataFrame, kind: str) -> np.ndarray:
    """The group of each picture, by name: `kind` is "tone" (skin, Monk-like scale) or "age"."""
    column, bands = GROUPS[kind]
    values = attributes[column].to_numpy()
    if kind == "tone":
        inside = {name: (values >= low) & (values <= high) for name, (low, high) in bands.items()}
    else:
        inside = {name: (values >= low) & (values < high) for name, (low, high) in bands.items()}
    return np.select(list(inside.values()), list(inside), default="")


def group_pairs(faces: FaceSet, n_each: int, seed: int) -> dict[str, Pairs]:
    """Pairs within each group, by "tone.light" and so on: both pictures are of the group.

    A group too small to have both kinds of pair is left out.
    """
    assert faces.attributes is not None
    drawn = {}
    for kind, (_, bands) in GROUPS.items():
        own = group_of(faces.attributes, kind)
        for name in bands:
            index = np.flatnonzero(own == name)
            try:
                pairs = draw_pairs(faces.identities[index], n_each, seed)
            except ValueError:
                continue
            if len(pairs) >= 20:
                drawn[f"{kind}.{name}"] = Pairs(
                    index[pairs.left], index[pairs.right], pairs.genuine
                )
    return drawn


@cache
def verification_set(name: str) -> tuple[ImageView, Pairs]:
    """The pictures of a manifest's own verification pairs, and the pairs among these.

    `name` is that of a manifest or the path of one; its pairs are called as its file is.

    Raises ValueError where it has none, and what `manifests.load` raises where data are missing.
    """
    faces = manifests.load(name)
    if faces.name not in faces.protocols:
        raise ValueError(f"{name} cannot judge a model: it has no verification pairs of its own")
    pairs = faces.protocols[faces.name]
    used, rows = np.unique(np.concatenate([pairs.left, pairs.right]), return_inverse=True)
    left, right = np.split(rows, 2)
    return ImageView(faces.images, used), Pairs(left, right, pairs.genuine)
