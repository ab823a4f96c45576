"""References that are given labels, right or partly wrong, in place of pseudo-labels."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cure_core.objectives.base import Setup
from cure_core.objectives.neg_grad import NegGradPlus
from cure_core.objectives.pseudo_labels import PseudoLabelled
from cure_core.objectives.scrub import Scrub


def corrupt_labels(labels: ArrayLike, share: float, seed: int) -> NDArray[np.int64]:
    """`labels` (N,), integers, with round(share N) of them replaced by another that occurs.

    Which samples, and which wrong label each gets, is drawn evenly from `seed`; a larger share
    keeps the wrong ones of a smaller. Raises ValueError for a share outside [0, 1], and where only
    one label occurs.
    """
    known, classes = np.unique(labels, return_inverse=True)
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} of labels to corrupt; it lies between 0 and 1")
    if share and len(known) < 2:
        raise ValueError("one label occurs, and a wrong one needs another; give at least two")
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(len(classes))[: round(share * len(classes))]
    classes[wrong] += rng.integers(1, max(2, len(known)), len(classes))[wrong]
    return known[classes % len(known)]


@dataclass(eq=False, kw_only=True)
class Supervised(PseudoLabelled):
    """The classes are labels, of which a share `noise` is made wrong; the head their means.

    `forget_labels` (Nf,) and `retain_labels` (Nr,) are integers in the order of the images. A label
    may occur on both sides, and is then one class.
    """

    forget_labels: ArrayLike
    retain_labels: ArrayLike
    noise: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_range("noise", 0, 1)
        for name in ("forget_labels", "retain_labels"):
            labels = np.asarray(getattr(self, name))
            if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
                raise ValueError(
                    f"{name} holds {labels.dtype} of shape {labels.shape}; expected integers (N,)"
                )

    def check_sizes(self, forget: int, retain: int) -> None:
        given = [len(np.asarray(labels)) for labels in (self.forget_labels, self.retain_labels)]
        if given != [forget, retain]:
            raise ValueError(
                f"{given[0]} and {given[1]} labels for {forget} forget and {retain} retain images; "
                "give one an image"
            )

    def classes(self, setup: Setup) -> tuple[Tensor, Tensor, Tensor]:
        sizes = [len(setup.forget), len(setup.retain)]
        self.check_sizes(*sizes)
        given = [np.asarray(labels) for labels in (self.forget_labels, self.retain_labels)]
        labels = corrupt_labels(np.concatenate(given), self.noise, self.config.seed)
        x = torch.cat([setup.forget_views[0], setup.retain_views[0]])
        classes = torch.as_tensor(np.unique(labels, return_inverse=True)[1]).to(x.device)
        centroids = torch.stack([x[classes == k].mean(0) for k in range(int(classes.max()) + 1)])
        return centroids, *classes.split(sizes)


@dataclass(eq=False, kw_only=True)
class SupervisedScrub(Supervised, Scrub):
    """`Scrub` with labels."""


@dataclass(eq=False, kw_only=True)
class SupervisedNegGradPlus(Supervised, NegGradPlus):
    """`NegGradPlus` with labels."""
