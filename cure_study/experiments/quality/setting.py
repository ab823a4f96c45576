"""What the quality experiment runs: its setting, and the conditions of a seed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

from cure_core.checks import nearest, real
from cure_core.config import CureConfig
from cure_core.files import digest
from cure_core.training.arcface import Recipe
from cure_study.experiments.quality.scorers import SCORERS

VERSION = 2  # part of a row's key: raise it when the same setting would give other numbers


@dataclass(frozen=True)
class QualitySetting:
    """What stays the same over the seeds; every number is our choice.

    `dataset_options` are SynthFaces' (`manifests.load`); `teacher` and `unlearning` arguments of
    `Recipe` and `CureConfig`; `scorer` one of `SCORERS`; `fractions` of the training images are
    forgotten, and the model is retrained without them at `oracle_fractions`; `planted` is the share
    of images with a defect in the planted training set, 0 leaves that out; `group_pairs` genuine
    pairs, and as many impostors, test a group. `judges` are manifests whose verification pairs test
    every model too, such as agedb_30. Raises ValueError for a value that is not accepted.
    """

    dataset_options: Mapping[str, Any] = field(default_factory=dict)
    encoder: str = "small"
    teacher: Mapping[str, Any] = field(default_factory=dict)
    unlearning: Mapping[str, Any] = field(default_factory=dict)
    scorer: str = "fused"
    fractions: Sequence[float] = (0.01, 0.02, 0.05, 0.1, 0.2)
    oracle_fractions: Sequence[float] = (0.05, 0.2)
    planted: float = 0.2
    group_pairs: int = 600
    judges: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "judges", tuple(self.judges))
        for name in ("fractions", "oracle_fractions"):
            values = [
                real(name, value, "between 0 and 1", lambda share: 0 < share < 1)
                for value in getattr(self, name)
            ]
            object.__setattr__(self, name, tuple(values))
        real("planted", self.planted, "from 0 to below 1", lambda share: 0 <= share < 1)
        if self.scorer not in SCORERS:
            raise ValueError(f"no scorer {self.scorer!r}; {nearest(self.scorer, SCORERS)}")
        Recipe(**self.teacher), CureConfig(**self.unlearning)  # an error here, before any training

    @property
    def key(self) -> str:
        return digest(VERSION, json.dumps(asdict(self), sort_keys=True))


def setting_of(parameters: Mapping[str, Any]) -> QualitySetting:
    """The setting that the parameters of notebook 03 describe."""
    return QualitySetting(**{f.name: parameters[f.name] for f in fields(QualitySetting)})


class Condition(NamedTuple):
    """One run: `method` applied to a `fraction` of the training images.

    `training`: natural or planted. `method`: teacher, oracle, or one of `objectives.METHODS`.
    `order` chooses the images: lowest, random or best by the scorer, planted, or none.
    """

    training: str
    method: str
    order: str = "none"
    fraction: float = 0.0


def conditions(setting: QualitySetting) -> list[Condition]:
    """Every run of a seed, in the order in which they are made."""
    runs = [Condition("natural", "teacher")]
    for f in setting.fractions:
        runs += [Condition("natural", method, "lowest", f) for method in ("cure_plus", "cure")]
        runs += [Condition("natural", "cure_plus", order, f) for order in ("random", "best")]
        runs += [Condition("natural", "fine_tune", "lowest", f)]
    for f in setting.oracle_fractions:
        runs += [Condition("natural", "oracle", order, f) for order in ("lowest", "random")]
    if f := setting.planted:
        runs += [Condition("planted", "teacher")]
        for method in ("oracle", "cure_plus", "cure", "fine_tune"):
            runs += [Condition("planted", method, "planted", f)]
        runs += [Condition("planted", "oracle", "random", f)]
    return runs
