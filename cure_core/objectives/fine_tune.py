"""Fine-tuning on the retain set alone, as a baseline."""

from typing import ClassVar

from torch import Tensor

from cure_core.objectives.base import Batch
from cure_core.objectives.classified import Classified


class FineTune(Classified):
    """Descent on the retain samples' classification loss; forget samples have no loss.

    Without labels: the class of a sample is its K-means cluster. The forget clusters stay among
    the classes, as a classifier's head would keep them, so retain samples are pushed off them.
    Source: fine-tuning as a baseline, Golatkar et al. (arXiv:1911.04933).
    """

    weights: ClassVar[dict[str, float]] = {"retain": 1.0}

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        classes = self.retain_classes[batch.retain_index]
        return {"retain": self.cross_entropy(batch.student_retain, classes)}
