"""The faces of the quality experiment: SynthFaces to train on, and other people to test on.

*Natural* images are as SynthFaces draws them, good and bad. Among *planted* ones a known share of
the training images has a defect, so that a model trained without them must be better.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from cure_core.files import digest
from cure_core.metrics.pairs import Pairs, draw_pairs
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet

BLUR = 5.0  # sigma in pixels: hardly a face is left
MIN_PAIRS = 20  # of a group
# An attribute of SynthFaces, the edges of its groups (the upper one excluded), and their names.
GROUPS = {
    "tone": ("skin_tone", [1, 4, 8, 11], ["light", "medium", "dark"]),
    "age": ("age", [0, 35, 55, 200], ["under_35", "35_to_55", "over_55"]),
}


def natural_faces(options: Mapping[str, object], seed: int) -> tuple[FaceSet, FaceSet]:
    """SynthFaces from `seed`: the training set, and the test set of unseen people with protocols.

    `options` as in `manifests.load`. Their `attributes.planted` is "no" everywhere. Raises
    ValueError if there are no unseen people or one of the two protocols is missing.
    """
    faces = manifests.load("synthfaces", None, **{**options, "seed": seed})
    if not {"unseen", "cross_age"} <= faces.protocols.keys():
        raise ValueError(
            "models are tested on pairs of unseen people, of any age and of ages far apart; give "
            "unseen_people, unseen_pairs and cross_age_pairs above 0"
        )
    assert faces.attributes is not None
    attributes = faces.attributes.assign(planted="no")
    count = int((~attributes.unseen).sum())  # the training images come first

    def part(first: int, end: int, protocols: Mapping[str, Pairs]) -> FaceSet:
        return FaceSet(
            name=faces.name,
            images=faces.images[first:end],
            identities=faces.identities[first:end],
            fingerprint=digest(faces.fingerprint, first),
            attributes=attributes[first:end].reset_index(drop=True),
            protocols=protocols,
        )

    shifted = {
        name: Pairs(pairs.left - count, pairs.right - count, pairs.genuine)
        for name, pairs in faces.protocols.items()
    }
    return part(0, count, {}), part(count, len(faces), shifted)


def plant_defects(faces: FaceSet, share: float, seed: int) -> FaceSet:
    """The same faces with a defect, named in `attributes.planted`, in a share of the images.

    A third are blurred beyond use, a third have the lower or the left half covered by grey, a third
    are labelled as another person. Raises ValueError for a share that means no image or all.
    """
    count = round(share * len(faces))
    if not 0 < count < len(faces):
        raise ValueError(f"share={share} would spoil {count} of {len(faces)} images")
    rng = np.random.default_rng([seed, 5])
    chosen = rng.choice(len(faces), count, replace=False)
    images, identities = np.array(faces.images), faces.identities.copy()
    assert faces.attributes is not None
    planted = np.full(len(faces), "no", dtype=object)
    blurred, covered, mislabelled = np.array_split(chosen, 3)
    planted[blurred] = "blurred"
    images[blurred] = gaussian_filter(images[blurred], (0, BLUR, BLUR, 0))
    planted[covered] = "covered"
    below = rng.random(len(covered)) < 0.5
    images[covered[below], 56:] = 128
    images[covered[~below], :, :56] = 128
    planted[mislabelled] = "mislabelled"
    people = np.unique(identities)
    identities[mislabelled] = [rng.choice(people[people != p]) for p in identities[mislabelled]]
    return replace(
        faces,
        images=images,
        identities=identities,
        fingerprint=digest(faces.fingerprint, share, seed),
        attributes=faces.attributes.assign(planted=planted),
    )


def group_of(attributes: pd.DataFrame, kind: str) -> pd.Series:
    """The group of each image: `kind` is "tone" (skin, Monk-like scale) or "age"."""
    column, edges, names = GROUPS[kind]
    return pd.cut(attributes[column], edges, right=False, labels=names)


def group_pairs(faces: FaceSet, n_each: int, seed: int) -> dict[str, Pairs]:
    """Pairs within each group, by "tone.light" and so on: both images are of the group.

    A group too small for both kinds of pair is left out.
    """
    assert faces.attributes is not None
    drawn = {}
    for kind in GROUPS:
        groups = group_of(faces.attributes, kind)
        for name in groups.cat.categories:
            index = np.flatnonzero(groups == name)
            try:
                pairs = draw_pairs(faces.identities[index], n_each, seed)
            except ValueError:
                continue
            if len(pairs) >= MIN_PAIRS:
                left, right = index[pairs.left], index[pairs.right]
                drawn[f"{kind}.{name}"] = Pairs(left, right, pairs.genuine)
    return drawn


@cache
def verification_set(name: str) -> FaceSet:
    """The faces of a manifest (a name or a path) that has verification pairs.

    Raises ValueError if it has none, and what `manifests.load` raises if data are missing.
    """
    faces = manifests.load(name)
    if faces.name not in faces.protocols:
        raise ValueError(f"{name} cannot judge a model: it has no verification pairs")
    return faces
