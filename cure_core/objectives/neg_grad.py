"""NegGrad and NegGrad+: climbing the loss that training went down."""

from typing import ClassVar

from torch import Tensor

from cure_core.objectives.base import Batch
from cure_core.objectives.pseudo_labels import PseudoLabelled


class NegGrad(PseudoLabelled):
    """Gradient ascent on the forget samples' classification loss.

    Without labels: the class of a sample is its K-means cluster, the head the fixed centroids.
    Cosines bound the loss, which a classifier's own is not. The retain samples are only passed
    through, for batch norm.
    Source: the negative gradient of Golatkar et al. (arXiv:1911.04933).
    """

    weights: ClassVar[dict[str, float]] = {"forget": 1.0}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        classes = self.forget_classes[batch.forget_index]
        return {"forget": -self.cross_entropy(batch.student_forget, classes)}


class NegGradPlus(NegGrad):
    """Ascent on forget samples, descent on retain samples: beta L_retain - (1 - beta) L_forget.

    Without labels: as `NegGrad`, on both sides. beta = 0.95 is where the weights start (our
    choice; the source tunes it).
    Source: NegGrad+ of Kurmanji et al. (arXiv:2302.09880).
    """

    weights: ClassVar[dict[str, float]] = {"forget": 0.05, "retain": 0.95}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        classes = self.retain_classes[batch.retain_index]
        return {
            **super().terms(batch),
            "retain": self.cross_entropy(batch.student_retain, classes),
        }
