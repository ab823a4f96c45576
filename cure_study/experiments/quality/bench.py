"""One seed of the quality study: its world and teacher, one run on them, and the judging."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from cure_core import encoders, objectives
from cure_core.encoders.embedding import embed
from cure_core.files import digest
from cure_core.metrics.pairs import similarities
from cure_core.metrics.verification import tar_at_far, ten_fold_accuracy
from cure_core.training.arcface import Recipe, Trained
from cure_core.unlearning import CureConfig, unlearn
from cure_study.data.faceset import ImageView
from cure_study.data.requests import ForgetRequest
from cure_study.experiments.attempts import attempt, divergence
from cure_study.experiments.quality import scorers
from cure_study.experiments.quality.worlds import (
    GROUPS,
    World,
    group_of,
    group_pairs,
    natural,
    plant,
    verification_set,
)
from cure_study.training_cache import train_cached

VERSION = 2  # part of a row's key: raise it when the same setting would give other numbers
PROTOCOLS = ("unseen", "cross_age")
FAR = 1e-3


@dataclass(frozen=True)
class Setting:
    """What stays the same over the seeds; every number is our choice.

    `dataset_options` are SynthFaces' (`manifests.load`); `teacher` and `unlearning` arguments of
    `Recipe` and `CureConfig`; `scorer` one of `quality.SCORERS`; `fractions` of the training
    pictures are forgotten, and the model is trained anew without them at `oracle_fractions`;
    `planted` is the share spoilt in the planted world, 0 leaves that out; `group_pairs` genuine
    pairs, and as many impostors, judge a group. `judges` are manifests whose verification pairs
    judge every model besides, such as agedb_30.
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
            values = tuple(float(value) for value in getattr(self, name))
            if not all(0 < value < 1 for value in values):
                raise ValueError(f"{name}={list(values)}; each is a share between 0 and 1")
            object.__setattr__(self, name, values)
        if not 0 <= self.planted < 1:
            raise ValueError(f"planted={self.planted}; it is a share from 0 to below 1")
        if self.scorer not in scorers.SCORERS:
            known = ", ".join(scorers.SCORERS)
            raise ValueError(f"no scorer {self.scorer!r}; there are {known}")
        Recipe(**self.teacher), CureConfig(**self.unlearning)  # told before any training

    @property
    def key(self) -> str:
        return digest(VERSION, json.dumps(asdict(self), sort_keys=True))


@dataclass(frozen=True)
class Condition:
    """One run: `method` applied to the pictures that `order` puts first.

    `training`: natural or planted. `method`: teacher, oracle, or one of `objectives.METHODS`.
    `order`: lowest, random or best by the scorer, planted, or none for the teacher.
    """

    training: str
    method: str
    order: str = "none"
    fraction: float = 0.0


@dataclass(eq=False, repr=False)
class Bench:
    """One seed's world and teacher, made when first asked for, and the judging of a model."""

    setting: Setting
    seed: int
    training: str
    world_before: World | None = None

    @cached_property
    def world(self) -> World:
        drawn = self.world_before or natural(self.setting.dataset_options, self.seed)
        if self.training == "planted":
            return plant(drawn, self.setting.planted, self.seed)
        return drawn

    @cached_property
    def start(self) -> nn.Module:
        return encoders.build(self.setting.encoder, seed=self.seed)

    def train(self, index: np.ndarray) -> Trained:
        """The encoder trained on the pictures at `index`."""
        faces = self.world.train
        recipe = replace(Recipe(**self.setting.teacher), seed=self.seed)
        return train_cached(
            self.start, ImageView(faces.images, index), faces.identities[index], recipe
        )

    @cached_property
    def teacher(self) -> Trained:
        return self.train(np.arange(len(self.world.train)))

    @cached_property
    def scores(self) -> np.ndarray:
        """The quality of each training picture, by the setting's scorer."""
        return scorers.score(self.world.train.images, self.setting.scorer, self.teacher.encoder)

    @cached_property
    def groups(self) -> dict[str, Any]:
        return group_pairs(self.world.strangers, self.setting.group_pairs, self.seed)

    def chosen(self, order: str, fraction: float) -> np.ndarray:
        """The training pictures to forget."""
        count = max(1, round(fraction * len(self.world.train)))
        if order == "planted":
            return np.flatnonzero(self.world.planted)
        if order == "random":
            rng = np.random.default_rng([self.seed, 6])
            return np.sort(rng.permutation(len(self.world.train))[:count])
        ranked = np.argsort(self.scores, kind="stable")
        return np.sort(ranked[:count] if order == "lowest" else ranked[-count:])

    def judge(self, model: nn.Module) -> dict[str, float]:
        """Accuracy and TAR@FAR=1e-3 on every protocol, and accuracy within each group."""
        faces = self.world.strangers
        embeddings = embed(model, faces.images)
        judged = {name: (embeddings, faces.protocols[name]) for name in PROTOCOLS}
        for name in self.setting.judges:
            images, pairs = verification_set(name)
            judged[Path(name).stem] = embed(model, images), pairs
        values = {}
        for name, (known, pairs) in judged.items():
            scores = similarities(known, pairs)
            values[f"accuracy_{name}"] = ten_fold_accuracy(scores, pairs.genuine)
            genuine, impostor = scores[pairs.genuine], scores[~pairs.genuine]
            values[f"tar_{name}"] = tar_at_far(genuine, impostor, FAR)
        for name, pairs in self.groups.items():
            scores = similarities(embeddings, pairs)
            values[f"accuracy.{name}"] = ten_fold_accuracy(scores, pairs.genuine)
        return values

    def about(self, index: np.ndarray) -> dict[str, float]:
        """Who loses what: people touched and emptied, and the share chosen of each group."""
        faces = self.world.train
        assert faces.attributes is not None
        lost = np.zeros(len(faces), bool)
        lost[index] = True
        people = pd.Series(lost).groupby(faces.identities).mean()
        values = {
            "images": len(faces),
            "forgotten": len(index),
            "people_touched": int((people > 0).sum()),
            "people_emptied": int((people == 1).sum()),
            "true_quality": float(faces.attributes["quality"].to_numpy()[index].mean())
            if len(index)
            else np.nan,
        }
        for kind, (_, bands) in GROUPS.items():
            own = group_of(faces.attributes, kind)
            for name in bands:
                if (own == name).any():
                    values[f"chosen.{kind}.{name}"] = float(lost[own == name].mean())
        return values

    def of_scorer(self) -> dict[str, float]:
        """What the scorer is worth here: its agreement with the truth, and the spoilt it finds."""
        from scipy.stats import spearmanr

        faces = self.world.train
        assert faces.attributes is not None
        lowest = np.isin(np.arange(len(faces)), self.chosen("lowest", self.setting.planted))
        how = faces.attributes["planted"].to_numpy()
        found = {f"found.{kind}": float(lowest[how == kind].mean()) for kind in set(how) - {"no"}}
        truth = spearmanr(self.scores, faces.attributes["quality"])
        return {"scorer_truth": float(truth.statistic), **dict(sorted(found.items()))}

    def carry_out(self, condition: Condition) -> dict[str, Any]:
        """One run: its model's measures, who was forgotten, and how far the student moved.

        Of one that diverges they are the last good student's, with the reason in `diverged`.
        """
        began = time.perf_counter()
        faces, index = self.world.train, np.empty(0, np.int64)
        facts: dict[str, Any] = {}
        if condition.method == "teacher":
            model, facts = self.teacher.encoder, self.of_scorer()
        else:
            index = self.chosen(condition.order, condition.fraction)
            stays = np.setdiff1d(np.arange(len(faces)), index)
            if condition.method == "oracle":
                model = self.train(stays).encoder
            else:
                request = ForgetRequest.from_indices(faces, index, stays)
                model, made = self._student(condition.method, request)
                facts = {**self._moved(model, request), **divergence(made)}
        return {
            **self.judge(model),
            **self.about(index),
            **facts,
            "seconds": time.perf_counter() - began,
        }

    def try_request(self, request: ForgetRequest) -> pd.DataFrame:
        """Forget by `cure_plus` as asked, and put the measures before and after side by side."""
        models = {
            "before": self.teacher.encoder,
            "after": self._student("cure_plus", request)[0],
        }
        return pd.DataFrame({name: self.judge(model) for name, model in models.items()})

    def _student(self, method: str, request: ForgetRequest) -> tuple[nn.Module, dict[str, Any]]:
        config = replace(CureConfig(**self.setting.unlearning), seed=self.seed)
        objective = objectives.build(method)
        return attempt(
            lambda: unlearn(
                self.teacher.encoder,
                request.forget,
                request.retain,
                config,
                objective=objective,
                progress=False,
            )
        )

    def _moved(self, student: nn.Module, request: ForgetRequest) -> dict[str, float]:
        """Mean cosine of the student to the teacher, on what is forgotten and on what stays."""
        rng = np.random.default_rng([self.seed, 7])
        stays = rng.choice(request.retain_index, min(300, len(request.retain)), replace=False)
        values = {}
        for name, index in (("forget", request.forget_index), ("retain", np.sort(stays))):
            images = ImageView(self.world.train.images, index)
            both = [embed(model, images) for model in (self.teacher.encoder, student)]
            values[f"cosine_{name}"] = float(torch.linalg.vecdot(*both).mean())
        return values
