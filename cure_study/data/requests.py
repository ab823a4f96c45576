"""What is asked to be forgotten."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from torch import nn

from cure_core import html
from cure_core.checks import whole
from cure_study.data.faceset import FaceSet, ImageView

PEOPLE_REQUESTS = ("random_people", "hardest_people")  # all images of a person, and future ones
REQUESTS = (*PEOPLE_REQUESTS, "random_samples")


class ForgetRequestError(ValueError):
    """A request that cannot be carried out as it stands."""


def check_count(count: int, there_are: int, what: str) -> int:
    """`count` as an int. Raises ForgetRequestError where as many cannot go and leave one."""
    try:
        number = whole("count", count)
    except ValueError:
        number = 0
    if not 0 < number < there_are:
        raise ForgetRequestError(
            f"cannot forget {count!r} of {there_are} {what}; ask for 1 to {there_are - 1}"
        )
    return number


@dataclass(frozen=True, eq=False, repr=False)
class ForgetRequest:
    """Which training samples must go (`forget`) and which must stay (`retain`): images only.

    `forget_index` and `retain_index` (int64) point into the face set they come from; nothing here
    leads to an identity.
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
        told = {
            "forget": f"{len(self.forget):,} images ({share:.1%})",
            "retain": f"{len(self.retain):,} images",
        }
        return html.table("ForgetRequest", told)

    @classmethod
    def from_indices(
        cls, faces: FaceSet, forget: np.ndarray, retain: np.ndarray
    ) -> "ForgetRequest":
        """A request by sample: indices into `faces`.

        Raises ForgetRequestError for an empty side, what is no index, an index outside the set,
        or samples on both sides.
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
    def of_people(
        cls,
        faces: FaceSet,
        train: np.ndarray,
        people: np.ndarray,
        retain_people: np.ndarray | None = None,
    ) -> "ForgetRequest":
        """A request by identity: every sample of `people` among `train` goes, the others stay.

        Identities are used here, where the request is made, and not handed on. `retain_people`
        names those who stay (default: everyone else). Raises ForgetRequestError as `from_indices`
        does, for a person who has no sample, and for one identity on both sides.
        """
        train, people = np.asarray(train), np.unique(people)
        own = faces.identities[train]
        absent = np.setdiff1d(people, own)
        if len(absent):
            raise ForgetRequestError(
                f"{len(absent)} people have no training sample (first: {absent[0]}); "
                "ask for people in the training set"
            )
        goes = np.isin(own, people)
        stays = ~goes
        if retain_people is not None:
            both = np.intersect1d(people, retain_people)
            if len(both):
                raise ForgetRequestError(
                    f"{len(both)} identities are on both sides (first: {both[0]}); a request by "
                    "identity takes all of a person's samples"
                )
            stays = np.isin(own, retain_people)
        return cls.from_indices(faces, train[goes], train[stays])

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

        `embeddings`: the teacher's of the images `train`, (N, D), L2-normalised. People are as
        alike as their mean embeddings; from the most alike pair downwards one goes and the other
        is bound to stay (our choice). Raises ForgetRequestError where fewer than `count` can go so.
        """
        people, codes = np.unique(faces.identities[np.asarray(train)], return_inverse=True)
        count = check_count(count, len(people), "people")
        means = np.zeros((len(people), embeddings.shape[1]))
        np.add.at(means, codes, embeddings)
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        first, second = np.triu_indices(len(people), 1)
        order = np.argsort(-(means @ means.T)[first, second], kind="stable")
        goes, stays = set[int](), set[int]()
        for one, other in zip(first[order], second[order], strict=True):
            if len(goes) == count:
                break
            if one in goes or other in goes or (one in stays and other in stays):
                continue
            leaver, keeper = (other, one) if one in stays else (one, other)
            goes.add(leaver)
            stays.add(keeper)
        if len(goes) < count:
            raise ForgetRequestError(
                f"{len(goes)} of {len(people)} people can go with a likeness who stays, not "
                f"{count}; ask for fewer"
            )
        return cls.of_people(faces, train, people[sorted(goes)])

    @classmethod
    def lowest_quality(
        cls,
        faces: FaceSet,
        scorer: str | Callable[..., np.ndarray],
        *,
        fraction: float | None = None,
        threshold: float | None = None,
        encoder: nn.Module | None = None,
    ) -> "ForgetRequest":
        """A request for the poorest pictures of `faces`, by one of `quality.SCORERS` or your own.

        Either the lowest `fraction` of them, between 0 and 1 (at least one; of equal scores the
        earlier goes), or all scored below `threshold`. Warns (UserWarning) where somebody would
        lose every picture: identities are looked at for that alone, and not handed on.
        Raises ForgetRequestError for none or both of the two, a fraction out of range, a threshold
        that is not finite, takes nothing or everything, or is asked of "fused" or "cluster_margin",
        whose scores hold within one call only; and ValueError as `quality.score` does.
        """
        from cure_study.experiments.quality import scorers

        if (fraction is None) == (threshold is None):
            raise ForgetRequestError(
                f"fraction={fraction} and threshold={threshold}; give one of the two"
            )
        if fraction is not None and not 0 < fraction < 1:
            raise ForgetRequestError(f"fraction={fraction}; it is a share between 0 and 1")
        if threshold is not None and scorer in scorers.RELATIVE:
            raise ForgetRequestError(
                f"{scorer!r} compares the images of one call, so a threshold on it means nothing; "
                "give a fraction, or take a single scorer"
            )
        if threshold is not None and not np.isfinite(threshold):
            raise ForgetRequestError(f"threshold={threshold}; it is a finite score")
        scores = scorers.score(faces.images, scorer, encoder)
        if fraction is not None:
            order = np.argsort(scores, kind="stable")
            goes = np.zeros(len(faces), bool)
            goes[order[: max(1, round(fraction * len(faces)))]] = True
        else:
            goes = scores < threshold
        if goes.all() or not goes.any():
            asked = f"fraction={fraction}" if fraction is not None else f"threshold={threshold}"
            raise ForgetRequestError(
                f"{asked} takes {int(goes.sum())} of {len(faces)} pictures; their scores lie from "
                f"{scores.min():.4g} to {scores.max():.4g}"
            )
        request = cls.from_indices(faces, np.flatnonzero(goes), np.flatnonzero(~goes))
        emptied = int((request.affected(faces).share == 1).sum())
        if emptied:
            warnings.warn(
                f"{emptied} people would lose every picture; see request.affected(faces)",
                stacklevel=2,
            )
        return request

    def affected(self, faces: FaceSet) -> pd.DataFrame:
        """Who loses what: person, pictures in the request's reach, how many go, and their share.

        One row a person who loses any, the hardest hit first. For whoever answers for the request;
        unlearning never sees it.
        """
        everyone = np.concatenate([self.forget_index, self.retain_index])
        people, counts = np.unique(faces.identities[everyone], return_counts=True)
        table = pd.DataFrame({"person": people, "pictures": counts})
        lost = pd.Series(faces.identities[self.forget_index]).value_counts()
        table["lost"] = table.person.map(lost).fillna(0).astype(int)
        table["share"] = table.lost / table.pictures
        hit = table[table.lost > 0].sort_values(["share", "person"], ascending=[False, True])
        return hit.reset_index(drop=True)
