"""Bad Teacher: forget samples learn from a network that knows nothing."""

import copy
from typing import ClassVar

from torch import Tensor, nn

from cure_core.encoders.embedding import teacher_views
from cure_core.losses import feature_matching_loss
from cure_core.objectives.base import Batch, Objective, Setup
from cure_core.runtime.randomness import seeded


class BadTeacher(Objective):
    """Forget samples imitate an untrained network, retain samples the teacher.

    Without labels: the source already needs none, but matches class distributions by KL; an
    encoder has none, so the cosine distance of embeddings takes its place.
    The untrained network embeds nearly everything in one direction, which looks like perfect
    forgetting only at the teacher's threshold.
    Source: Chundawat et al. (arXiv:2205.08096); equal weights are our choice.
    """

    weights: ClassVar[dict[str, float]] = {"forget": 1.0, "retain": 1.0}

    def start(self, setup: Setup) -> None:
        # Not the seed that the teacher may have been initialised with.
        incompetent = reinitialised(setup.student, self.config.seed + 1_000_000)
        views = teacher_views(incompetent, setup.forget, setup.device)
        self.incompetent = views.to(setup.device)  # (2, Nf, D)

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        incompetent = self.incompetent[batch.forget_view, batch.forget_index]
        return {
            "forget": feature_matching_loss(batch.student_forget, incompetent),
            "retain": feature_matching_loss(batch.student_retain, batch.teacher_retain),
        }


def reinitialised(network: nn.Module, seed: int) -> nn.Module:
    """A copy of `network` with all parameters and running statistics as before any training.

    Raises ValueError for a module with direct parameters that it cannot reset.
    """
    fresh = copy.deepcopy(network).cpu()
    with seeded(seed):
        for module in fresh.modules():
            reset = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()
            elif list(module.parameters(recurse=False)):
                raise ValueError(
                    f"{type(module).__name__} holds parameters but has no reset_parameters(); "
                    "define one that draws them from torch's generator"
                )
    return fresh
