"""The measures of a request: their names in words, and what their values mean."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from cure_core.metrics.intervals import Interval
from cure_study.erasure.report import Estimate, Measure

Group = Literal["forgotten", "retained", "attacks", "summary"]


class Meaning(NamedTuple):
    """A measure's name in words, where it belongs, and what its values mean."""

    label: str
    group: Group
    meaning: str


MEANINGS = {
    "ues": Meaning(
        "UES (CURE)", "summary", "forgetting times stability: 1 is full forgetting at no cost"
    ),
    "forgetting": Meaning(
        "forgetting", "summary", "share of the forgotten people's recognisability that is gone"
    ),
    "stability": Meaning(
        "stability", "summary", "how little the accuracy on everyone else changed; 1 is not at all"
    ),
    "accuracy_forget": Meaning(
        "accuracy, forgotten people",
        "forgotten",
        "whether two of their images are recognised as one person; 0.5 is chance",
    ),
    "tar_forget": Meaning(
        "TAR@FAR=1e-3, forgotten people",
        "forgotten",
        "share of their image pairs accepted where one in a thousand false pairs is",
    ),
    "eer_forget": Meaning(
        "EER, forgotten people", "forgotten", "error rate on their image pairs; 0.5 is chance"
    ),
    "rank1_old": Meaning(
        "rank-1, old templates",
        "forgotten",
        "share of their images identified among templates made by the encoder before",
    ),
    "rank1_new": Meaning(
        "rank-1, enrolled again",
        "forgotten",
        "share of their images identified among templates made by the same encoder",
    ),
    "cosine_forget": Meaning(
        "similarity to the old embedding, forgotten images",
        "forgotten",
        "1 is unmoved, 0 unrelated, negative the opposite direction",
    ),
    "accuracy_retain": Meaning(
        "accuracy, other people",
        "retained",
        "whether two of their images, held out of the unlearning, are recognised as one person",
    ),
    "tar_retain": Meaning(
        "TAR@FAR=1e-3, other people",
        "retained",
        "share of their image pairs accepted where one in a thousand false pairs is",
    ),
    "eer_retain": Meaning("EER, other people", "retained", "error rate on their image pairs"),
    "rank1_retain": Meaning(
        "rank-1 of other people, old templates",
        "retained",
        "whether their templates, made by the encoder before, can stay in use",
    ),
    "cosine_retain": Meaning(
        "similarity to the old embedding, retained images",
        "retained",
        "1 is unmoved; lower values make old templates less reliable",
    ),
    "accuracy_strangers": Meaning(
        "accuracy, strangers",
        "retained",
        "whether two images of people that the encoder never saw are recognised as one person",
    ),
    "membership_auc": Meaning(
        "membership attack, AUC",
        "attacks",
        "how well training images are separated from strangers'; under 0.55 recall means nothing",
    ),
    "membership_recall": Meaning(
        "membership recall, forgotten images",
        "attacks",
        "share of the forgotten images that the attack still calls training images",
    ),
    "detection_auc": Meaning(
        "detection of the forgotten, AUC",
        "attacks",
        "how well forgotten people are separated from strangers; 0.5 is no trace of the erasure",
    ),
}


def described(name: str, by_model: Mapping[str, Estimate]) -> Measure:
    """A measure of `MEANINGS` for the report, from its estimate by each model."""
    values: dict[str, Any] = dict(by_model)
    return Measure(name=name, **MEANINGS[name]._asdict(), **values)


def named(name: str, interval: Interval) -> dict[str, Estimate]:
    """A measure by its name; nothing if it is not defined."""
    return {} if np.isnan(interval.value) else {name: Estimate.of(interval)}
