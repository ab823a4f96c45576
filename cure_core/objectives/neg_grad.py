"""NegGrad and NegGrad+: gradient ascent on the training loss."""

from typing import ClassVar

from torch import Tensor

from cure_core.objectives.base import Batch
from cure_core.objectives.classified import Classified


class NegGrad(Classified):
    """Gradient ascent on the forget samples' classification loss.

    Without labels: the class of a sample is its K-means cluster, the head the fixed centroids.
    Cosines bound the loss; a classifier's is unbounded. The retain samples only pass through the
    network, for batch norm.
    Source: the negative gradient of Golatkar et al. (arXiv:1911.04933).
    """

    weights: ClassVar[dict[str, float]] = {"forget": 1.0}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        classes = self.forget_classes[batch.forget_index]
        return {"forget": -self.cross_entropy(batch.student_forget, classes)}


class NegGradPlus(NegGrad):
    """Ascent on forget samples, descent on retain samples: beta L_retain - (1 - beta) L_forget.

    Without labels: as `NegGrad`, on both sides. The weights are those of beta = 0.95 (our choice;
    the source tunes it).
    Source: NegGrad+ of Kurmanji et al. (arXiv:2302.09880).
    """

    weights: ClassVar[dict[str, float]] = {"forget": 0.05, "retain": 0.95}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        classes = self.retain_classes[batch.retain_index]
        retain = self.cross_entropy(batch.student_retain, classes)
        return {**super().terms(batch), "retain": retain}
