"""What is asked to be forgotten."""

from dataclasses import dataclass

import numpy as np

from cure_core import rich
from cure_core.faces.faceset import FaceSet, ImageView


class ForgetRequestError(ValueError):
    """A request that cannot be carried out as it stands."""


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
        return rich.table("ForgetRequest", told)

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
        if not 0 < count < len(present):
            raise ForgetRequestError(
                f"cannot forget {count} of {len(present)} people; ask for 1 to {len(present) - 1}"
            )
        drawn = np.random.default_rng([seed, 1]).choice(present, count, replace=False)
        return cls.of_people(faces, train, drawn)

    @classmethod
    def random_samples(
        cls, faces: FaceSet, train: np.ndarray, count: int, seed: int = 0
    ) -> "ForgetRequest":
        """A request for `count` images drawn at random from `train`; the people mostly stay."""
        train = np.unique(train)
        if not 0 < count < len(train):
            raise ForgetRequestError(
                f"cannot forget {count} of {len(train)} images; ask for 1 to {len(train) - 1}"
            )
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
        if not 0 < count == len(goes):
            raise ForgetRequestError(
                f"{len(goes)} of {len(people)} people can go with a likeness who stays, not "
                f"{count}; ask for fewer, and for one at least"
            )
        return cls.of_people(faces, train, people[sorted(goes)])
