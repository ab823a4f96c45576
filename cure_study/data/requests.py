"""Requests to forget: which images must go and which must stay."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cure_core import html
from cure_core.checks import whole
from cure_study.data.faceset import FaceSet, ImageView

PEOPLE_REQUESTS = ("random_people", "hardest_people")  # all images of a person, and future ones
REQUESTS = (*PEOPLE_REQUESTS, "random_samples")


class ForgetRequestError(ValueError):
    """A request that cannot be fulfilled."""


def check_count(count: int, total: int, what: str) -> int:
    """`count` as an int. Raises ForgetRequestError unless it is from 1 to `total` - 1."""
    try:
        number = whole("count", count, 1)
    except ValueError:
        number = total
    if number >= total:
        raise ForgetRequestError(
            f"cannot forget {count!r} of {total} {what}; ask for 1 to {total - 1}"
        )
    return number


@dataclass(frozen=True, eq=False, repr=False)
class ForgetRequest:
    """Which training samples must go (`forget`) and which must stay (`retain`): images only.

    `forget_index` and `retain_index` (int64) are indices into their face set; nothing here gives
    access to an identity.
    """

    forget: ImageView
    retain: ImageView

    @property
    def forget_index(self) -> np.ndarray:
        return self.forget.index

    @property
    def retain_index(self) -> np.ndarray:
        return self.retain.index

    def __repr__(self) -> str:
        return f"ForgetRequest(forget {len(self.forget):,} images, retain {len(self.retain):,})"

    def _repr_html_(self) -> str:
        share = len(self.forget) / (len(self.forget) + len(self.retain))
        rows = {
            "forget": f"{len(self.forget):,} images ({share:.1%})",
            "retain": f"{len(self.retain):,} images",
        }
        return html.table("ForgetRequest", rows)

    @classmethod
    def from_indices(
        cls, faces: FaceSet, forget: np.ndarray, retain: np.ndarray
    ) -> "ForgetRequest":
        """A request by sample: indices into `faces`.

        Raises ForgetRequestError for an empty side, values that are not indices, an index outside
        the set, or samples on both sides.
        """
        sides = {"forget": np.unique(forget), "retain": np.unique(retain)}
        for name, index in sides.items():
            if len(index) == 0:
                raise ForgetRequestError(f"the {name} side is empty; name at least one sample")
            if not np.issubdtype(index.dtype, np.integer):
                raise ForgetRequestError(
                    f"the {name} side holds {index.dtype}; name samples by their indices (of a "
                    "mask: np.flatnonzero(mask))"
                )
            if index[0] < 0 or index[-1] >= len(faces):
                raise ForgetRequestError(
                    f"{name} index {index[0] if index[0] < 0 else index[-1]} is outside the set's "
                    f"{len(faces)} images"
                )
        shared = np.intersect1d(sides["forget"], sides["retain"])
        if len(shared):
            raise ForgetRequestError(
                f"forget and retain share {len(shared)} samples (first: "
                f"{', '.join(map(str, shared[:3]))}); drop them from one side"
            )
        images = faces.images
        return cls(*(ImageView(images, index.astype(np.int64)) for index in sides.values()))

    @classmethod
    def of_people(cls, faces: FaceSet, train: np.ndarray, people: np.ndarray) -> "ForgetRequest":
        """A request by identity: every sample of `people` among `train` goes, the others stay.

        Identities are used here, to make the request, and not passed on. Raises ForgetRequestError
        for a person without a sample, and if nobody is forgotten or nobody stays.
        """
        train, people = np.asarray(train), np.unique(people)
        identities = faces.identities[train]
        absent = np.setdiff1d(people, identities)
        if len(absent):
            raise ForgetRequestError(
                f"{len(absent)} people have no training sample (first: {absent[0]}); "
                "ask for people in the training set"
            )
        forget = np.isin(identities, people)
        return cls.from_indices(faces, train[forget], train[~forget])

    @classmethod
    def random_people(
        cls, faces: FaceSet, train: np.ndarray, count: int, seed: int = 0
    ) -> "ForgetRequest":
        """A request for `count` people drawn at random from those in `train`."""
        present = np.unique(faces.identities[np.asarray(train)])
        count = check_count(count, len(present), "people")
        drawn = np.random.default_rng([seed, 1]).choice(present, count, replace=False)
        return cls.of_people(faces, train, drawn)

    @classmethod
    def random_samples(
        cls, faces: FaceSet, train: np.ndarray, count: int, seed: int = 0
    ) -> "ForgetRequest":
        """A request for `count` images drawn at random from `train`; the people mostly stay."""
        train = np.unique(train)
        count = check_count(count, len(train), "images")
        drawn = np.random.default_rng([seed, 1]).choice(train, count, replace=False)
        return cls.from_indices(faces, drawn, np.setdiff1d(train, drawn))

    @classmethod
    def hardest_people(
        cls, faces: FaceSet, train: np.ndarray, count: int, embeddings: np.ndarray
    ) -> "ForgetRequest":
        """A request for the `count` people who look most like somebody who stays.

        `embeddings`: the teacher's of the images `train`, (N, D), L2-normalised. The similarity of
        two people is that of their mean embeddings; from the most similar pair downwards, one of
        the two is forgotten and the other must stay (our choice). Raises ForgetRequestError if
        fewer than `count` people can be found so.
        """
        people, codes = np.unique(faces.identities[np.asarray(train)], return_inverse=True)
        count = check_count(count, len(people), "people")
        means = np.zeros((len(people), embeddings.shape[1]))
        np.add.at(means, codes, embeddings)
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        first, second = np.triu_indices(len(people), 1)
        order = np.argsort(-(means @ means.T)[first, second], kind="stable")
        forget, retain = set[int](), set[int]()
        for one, other in zip(first[order], second[order], strict=True):
            if len(forget) == count:
                break
            if one in forget or other in forget or (one in retain and other in retain):
                continue
            forget.add(other if one in retain else one)
            retain.add(one if one in retain else other)
        if len(forget) < count:
            raise ForgetRequestError(
                f"{len(forget)} of {len(people)} people can go while a lookalike stays, not "
                f"{count}; ask for fewer"
            )
        return cls.of_people(faces, train, people[sorted(forget)])

    @classmethod
    def lowest_quality(
        cls,
        faces: FaceSet,
        scores: np.ndarray,
        *,
        fraction: float | None = None,
        threshold: float | None = None,
    ) -> "ForgetRequest":
        """A request for the images of `faces` with the lowest `scores` (N,), higher is better.

        Either the lowest `fraction` of them, between 0 and 1 (at least one; of equal scores the
        earlier image goes), or all scored below `threshold`. Warns (UserWarning) if somebody would
        lose every image: identities are used for that alone, and not passed on.
        Raises ForgetRequestError for scores that are not N finite numbers, none or both of the two
        limits, a fraction out of range, or a threshold that is not finite or takes none or all.
        """
        scores = np.asarray(scores)
        limit = f"fraction={fraction}" if threshold is None else f"threshold={threshold}"
        if (fraction is None) == (threshold is None):
            raise ForgetRequestError(
                f"fraction={fraction} and threshold={threshold}; give one of the two"
            )
        if fraction is not None and not 0 < fraction < 1:
            raise ForgetRequestError(f"{limit}; it is a share between 0 and 1")
        if threshold is not None and not np.isfinite(threshold):
            raise ForgetRequestError(f"{limit}; it is a finite score")
        if scores.shape != (len(faces),) or not np.isfinite(scores).all():
            raise ForgetRequestError(
                f"scores of shape {scores.shape}; give a finite number for each of {len(faces)} "
                "images"
            )
        if fraction is not None:
            count = max(1, round(fraction * len(faces)))
            forget = np.argsort(scores, kind="stable")[:count]
        else:
            forget = np.flatnonzero(scores < threshold)
        if len(forget) in (0, len(faces)):
            raise ForgetRequestError(
                f"{limit} takes {len(forget)} of {len(faces)} images; their scores are between "
                f"{scores.min():.4g} and {scores.max():.4g}"
            )
        request = cls.from_indices(faces, forget, np.setdiff1d(np.arange(len(faces)), forget))
        emptied = int((request.affected(faces).share == 1).sum())
        if emptied:
            warnings.warn(
                f"{emptied} people would lose every image; see request.affected(faces)",
                stacklevel=2,
            )
        return request

    def affected(self, faces: FaceSet) -> pd.DataFrame:
        """The people who lose images: person, images in the request, images lost, and their share.

        One row a person, the largest share first. For the person responsible for the request;
        unlearning never sees it.
        """
        index = np.concatenate([self.forget_index, self.retain_index])
        lost = np.isin(index, self.forget_index)
        images = pd.DataFrame({"person": faces.identities[index], "lost": lost})
        table = images.groupby("person")["lost"].agg(images="size", lost="sum").reset_index()
        table["share"] = table.lost / table.images
        table = table[table.lost > 0].sort_values(["share", "person"], ascending=[False, True])
        return table.reset_index(drop=True)
