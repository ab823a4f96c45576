"""What every model of a study is evaluated on: drawn once, with labels, shared by all."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from cure_core.checks import whole
from cure_core.metrics.pairs import Pairs, count_pairs, draw_pairs
from cure_core.metrics.verification import ten_folds
from cure_study.data.faceset import FaceSet
from cure_study.data.requests import ForgetRequest
from cure_study.data.splits import Split

FEWEST_PAIRS = 10  # of each kind, one a fold


@dataclass(frozen=True, eq=False, repr=False)
class Protocol:
    """What every model of a study is evaluated on.

    `pairs` and `folds` of the sets "forget", "retain" and "test"; `members` are retained training
    images and `outsiders` non-members for the attack; `probes` are held-out images of forgotten
    people, `fresh` pairs of them (None if there are few), and `gallery` all training images. All
    are indices into `faces`.
    """

    faces: FaceSet
    pairs: Mapping[str, Pairs]
    folds: Mapping[str, np.ndarray]
    forget: np.ndarray
    members: np.ndarray
    outsiders: np.ndarray
    probes: np.ndarray
    fresh: Pairs | None
    gallery: np.ndarray
    seed: int

    def __repr__(self) -> str:
        pairs = ", ".join(f"{name} {pairs}" for name, pairs in self.pairs.items())
        return (
            f"Protocol({pairs}; membership of {len(self.members)} members, "
            f"{len(self.outsiders)} outsiders and {len(self.forget)} forget images)"
        )


def make_protocol(
    faces: FaceSet, split: Split, request: ForgetRequest, *, n_pairs: int = 1500, seed: int = 0
) -> Protocol:
    """Draw the pairs and sets on which a request is evaluated; only here are labels used.

    Forget pairs: both images from the forget set. Fresh pairs: both from held-out images of
    forgotten people, retain pairs: of retained people. Test pairs: the data set's protocol without
    the people of the split, or, if it has none, pairs drawn among outsiders and people outside the
    split.
    Raises ValueError if a set has no genuine or no impostor pair, or `n_pairs` is below 1.
    """
    n_pairs = whole("n_pairs", n_pairs, 1)
    identities = faces.identities
    forgotten = np.unique(identities[request.forget_index])
    retained = np.unique(identities[request.retain_index])
    held = split.heldout[np.isin(identities[split.heldout], retained)]
    probes = split.heldout[np.isin(identities[split.heldout], forgotten)]
    rng = np.random.default_rng([seed, 2])
    size = min(len(request.retain_index), 2 * len(split.outsiders))
    test, test_folds = _test_pairs(faces, split, n_pairs, seed)
    pairs = {
        "forget": _pairs_among(identities, request.forget_index, n_pairs, seed),
        "retain": _pairs_among(identities, held, n_pairs, seed),
        "test": test,
    }
    folds = {name: ten_folds(len(pairs[name])) for name in ("forget", "retain")}
    return Protocol(
        faces=faces,
        pairs=pairs,
        folds={**folds, "test": test_folds},
        forget=request.forget_index,
        members=_whole_people(request.retain_index, identities, size, rng),
        outsiders=split.outsiders,
        probes=probes,
        fresh=pairs_if_enough(identities, probes, n_pairs, seed),
        gallery=np.union1d(request.forget_index, request.retain_index),
        seed=seed,
    )


def verification_only(protocol: Protocol) -> Protocol:
    """A protocol without attacks: the pairs alone."""
    nobody = np.empty(0, dtype=np.int64)
    return replace(
        protocol, members=nobody, outsiders=nobody, probes=nobody, fresh=None, gallery=nobody
    )


def fewer_pairs(protocol: Protocol, n_pairs: int) -> Protocol:
    """A protocol of at most `n_pairs` pairs of either kind in each set, drawn by its seed.

    Raises ValueError for `n_pairs` below 1.
    """
    n_pairs = whole("n_pairs", n_pairs, 1)
    rng = np.random.default_rng([protocol.seed, 3])
    chosen, folds = dict(protocol.pairs), dict(protocol.folds)
    for name, pairs in protocol.pairs.items():
        kinds = (np.flatnonzero(pairs.genuine), np.flatnonzero(~pairs.genuine))
        keep = np.sort(np.concatenate([rng.permutation(kind)[:n_pairs] for kind in kinds]))
        chosen[name], folds[name] = pairs.select(keep), protocol.folds[name][keep]
    return replace(protocol, pairs=chosen, folds=folds)


def pairs_if_enough(identities: np.ndarray, index: np.ndarray, n: int, seed: int) -> Pairs | None:
    """Up to `n` pairs of each kind among the images `index`; None for fewer than `FEWEST_PAIRS`."""
    enough = min(count_pairs(identities[index])) >= FEWEST_PAIRS
    return _pairs_among(identities, index, n, seed) if enough else None


def _pairs_among(identities: np.ndarray, index: np.ndarray, n: int, seed: int) -> Pairs:
    drawn = draw_pairs(identities[index], n, seed)
    return Pairs(index[drawn.left], index[drawn.right], drawn.genuine)


def _test_pairs(faces: FaceSet, split: Split, n_pairs: int, seed: int) -> tuple[Pairs, np.ndarray]:
    used = np.unique(faces.identities[np.concatenate([split.train, split.outsiders])])
    touches = np.isin(faces.identities, used)
    if not faces.protocols:
        unseen_images = np.union1d(np.flatnonzero(~touches), split.outsiders)
        pairs = _pairs_among(faces.identities, unseen_images, n_pairs, seed)
        return pairs, ten_folds(len(pairs))
    pairs = next(iter(faces.protocols.values()))
    unseen = ~(touches[pairs.left] | touches[pairs.right])
    left = pairs.select(unseen)
    if left.genuine.all() or not left.genuine.any():
        raise ValueError(
            f"{faces.name}'s protocol without the people of the split holds {left}; both kinds are "
            "needed: raise the split's min_images above the images of the people meant to stay "
            "unseen"
        )
    return left, ten_folds(len(pairs))[unseen]


def _whole_people(
    index: np.ndarray, identities: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """Images of people drawn at random until `size` is reached: all or none of a person's."""
    order = rng.permutation(np.unique(identities[index]))
    counts = [int((identities[index] == person).sum()) for person in order]
    chosen = order[: int(np.searchsorted(np.cumsum(counts), size)) + 1]
    return index[np.isin(identities[index], chosen)]
