"""References that are given labels, correct or partly wrong, in place of pseudo-labels."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cure_core.checks import SHARE, real, setting
from cure_core.objectives.base import Setup
from cure_core.objectives.classified import Classified
from cure_core.objectives.neg_grad import NegGradPlus
from cure_core.objectives.pseudo_labels import class_means
from cure_core.objectives.scrub import Scrub


def corrupt_labels(labels: ArrayLike, share: float, seed: int) -> NDArray[np.int64]:
    """`labels` (N,), integers, with round(share N) of them replaced by another that occurs.

    Which samples, and which wrong label each gets, is drawn uniformly from `seed`; a larger share
    keeps the wrong labels of a smaller one. Raises ValueError for a share outside [0, 1], and if
    only one label occurs.
    """
    known, classes = np.unique(labels, return_inverse=True)
    real("share", share, *SHARE)
    if share and len(known) < 2:
        raise ValueError("one label occurs, and a wrong one needs another; give at least two")
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(len(classes))[: round(share * len(classes))]
    classes[wrong] += rng.integers(1, max(2, len(known)), len(classes))[wrong]
    return known[classes % len(known)]


def _integers(name: str, value: Any) -> np.ndarray:
    labels = np.asarray(value)
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{name} holds {labels.dtype} of shape {labels.shape}; expected integers (N,)"
        )
    return labels


@dataclass(eq=False, kw_only=True)
class Supervised(Classified):
    """The classes are labels, of which a share `noise` is made wrong; the head their means.

    `forget_labels` (Nf,) and `retain_labels` (Nr,) are integers in the order of the images. A label
    may occur on both sides, and is then one class.
    """

    forget_labels: np.ndarray = field(metadata={"check": _integers})
    retain_labels: np.ndarray = field(metadata={"check": _integers})
    noise: float = setting(0.0, real, *SHARE)

    def check_sizes(self, forget: int, retain: int) -> None:
        sizes = [len(self.forget_labels), len(self.retain_labels)]
        if sizes != [forget, retain]:
            raise ValueError(
                f"{sizes[0]} and {sizes[1]} labels for {forget} forget and {retain} retain images; "
                "give one an image"
            )

    def classes(self, setup: Setup) -> tuple[Tensor, Tensor, Tensor]:
        sizes = [len(setup.forget), len(setup.retain)]
        self.check_sizes(*sizes)
        correct = np.concatenate([self.forget_labels, self.retain_labels])
        labels = corrupt_labels(correct, self.noise, self.config.seed)
        x = torch.cat([setup.forget_views[0], setup.retain_views[0]])
        classes = torch.as_tensor(np.unique(labels, return_inverse=True)[1]).to(x.device)
        return class_means(x, classes), *classes.split(sizes)


@dataclass(eq=False, kw_only=True)
class SupervisedScrub(Supervised, Scrub):
    """SCRUB with identity labels in place of clusters.

    Source: Kurmanji et al. (arXiv:2302.09880).
    """


@dataclass(eq=False, kw_only=True)
class SupervisedNegGradPlus(Supervised, NegGradPlus):
    """NegGrad+ with identity labels in place of clusters.

    Source: Kurmanji et al. (arXiv:2302.09880).
    """
