"""One seed of the quality experiment: its faces and teacher, its runs, and their measures."""

import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from cure_core import encoders, objectives
from cure_core.encoders.embedding import embed
from cure_core.metrics.pairs import Pairs, similarities
from cure_core.metrics.verification import tar_at_far, ten_fold_accuracy
from cure_core.training.arcface import Recipe
from cure_core.unlearning import CureConfig, unlearn
from cure_study.data.faceset import FaceSet, ImageView
from cure_study.data.requests import ForgetRequest
from cure_study.experiments.attempts import attempt, divergence
from cure_study.experiments.quality import scorers
from cure_study.experiments.quality.faces import (
    GROUPS,
    group_of,
    group_pairs,
    natural_faces,
    plant_defects,
    verification_set,
)
from cure_study.experiments.quality.setting import Condition, QualitySetting
from cure_study.training_cache import train_cached

FAR = 1e-3


@dataclass(eq=False, repr=False)
class Experiment:
    """One seed, with natural or planted training images; each part is made when first used."""

    setting: QualitySetting
    seed: int
    training: str = "natural"

    @cached_property
    def _natural(self) -> tuple[FaceSet, FaceSet]:
        return natural_faces(self.setting.dataset_options, self.seed)

    @cached_property
    def train_set(self) -> FaceSet:
        if self.training == "planted":
            return plant_defects(self._natural[0], self.setting.planted, self.seed)
        return self._natural[0]

    @property
    def test_set(self) -> FaceSet:
        return self._natural[1]

    def train(self, index: np.ndarray) -> nn.Module:
        """The encoder trained on the images at `index`."""
        faces = self.train_set
        start = encoders.build(self.setting.encoder, seed=self.seed)
        recipe = replace(Recipe(**self.setting.teacher), seed=self.seed)
        images = ImageView(faces.images, index)
        return train_cached(start, images, faces.identities[index], recipe).encoder

    @cached_property
    def teacher(self) -> nn.Module:
        return self.train(np.arange(len(self.train_set)))

    @cached_property
    def scores(self) -> np.ndarray:
        """The quality of each training image, by the setting's scorer."""
        return scorers.score(self.train_set.images, self.setting.scorer, self.teacher)

    @cached_property
    def test_groups(self) -> dict[str, Pairs]:
        return group_pairs(self.test_set, self.setting.group_pairs, self.seed)

    def images_to_forget(self, order: str, fraction: float) -> np.ndarray:
        """The indices of the training images that a condition forgets."""
        faces = self.train_set
        count = max(1, round(fraction * len(faces)))
        if order == "planted":
            assert faces.attributes is not None
            return np.flatnonzero(faces.attributes["planted"] != "no")
        if order == "random":
            rng = np.random.default_rng([self.seed, 6])
            return np.sort(rng.permutation(len(faces))[:count])
        ranked = np.argsort(self.scores, kind="stable")
        return np.sort(ranked[:count] if order == "lowest" else ranked[-count:])

    def run(self, condition: Condition) -> dict[str, Any]:
        """One row: the measures of the model, of the images forgotten, and of the student's change.

        If the run diverges, they are the last good student's, with the reason in `diverged`.
        """
        began = time.perf_counter()
        faces, method = self.train_set, condition.method
        forget, extra = np.empty(0, np.int64), {}
        if method != "teacher":
            forget = self.images_to_forget(condition.order, condition.fraction)
        retain = np.setdiff1d(np.arange(len(faces)), forget)
        if method == "teacher":
            model, extra = self.teacher, self.scorer_measures()
        elif method == "oracle":
            model = self.train(retain)
        else:
            request = ForgetRequest.from_indices(faces, forget, retain)
            model, summary = self._student(method, request)
            extra = {**self._cosines(model, request), **divergence(summary)}
        return {
            **self.measure(model),
            **self.removal_measures(forget),
            **extra,
            "seconds": time.perf_counter() - began,
        }

    def compare(self, request: ForgetRequest) -> pd.DataFrame:
        """Forget a request by `cure_plus`: the measures before and after side by side."""
        student, _ = self._student("cure_plus", request)
        models = {"before": self.teacher, "after": student}
        return pd.DataFrame({name: self.measure(model) for name, model in models.items()})

    def measure(self, model: nn.Module) -> dict[str, float]:
        """Accuracy and TAR@FAR=1e-3 on every protocol, and accuracy within each group."""
        faces = self.test_set
        embeddings = embed(model, faces.images)
        protocols = {n: (embeddings, faces.protocols[n]) for n in ("unseen", "cross_age")}
        for name in self.setting.judges:
            other = verification_set(name)
            protocols[Path(name).stem] = embed(model, other.images), other.protocols[other.name]
        values = {}
        for name, (rows, pairs) in protocols.items():
            scores = similarities(rows, pairs)
            values[f"accuracy_{name}"] = ten_fold_accuracy(scores, pairs.genuine)
            genuine, impostor = scores[pairs.genuine], scores[~pairs.genuine]
            values[f"tar_{name}"] = tar_at_far(genuine, impostor, FAR)
        for name, pairs in self.test_groups.items():
            scores = similarities(embeddings, pairs)
            values[f"accuracy.{name}"] = ten_fold_accuracy(scores, pairs.genuine)
        return values

    def removal_measures(self, index: np.ndarray) -> dict[str, float]:
        """Who loses images: people who lose some and all, and the share removed of each group."""
        faces = self.train_set
        assert faces.attributes is not None
        removed = pd.Series(np.isin(np.arange(len(faces)), index))
        share = removed.groupby(faces.identities).mean()
        quality = faces.attributes["quality"].to_numpy()[index]
        values = {
            "images": len(faces),
            "forgotten": len(index),
            "people_touched": int((share > 0).sum()),
            "people_emptied": int((share == 1).sum()),
            "true_quality": float(quality.mean()) if len(index) else np.nan,
        }
        for kind in GROUPS:
            shares = removed.groupby(group_of(faces.attributes, kind), observed=True).mean()
            values |= {f"chosen.{kind}.{name}": float(value) for name, value in shares.items()}
        return values

    def scorer_measures(self) -> dict[str, float]:
        """The scorer's correlation with the true quality, and the share of defects it finds."""
        from scipy.stats import spearmanr

        attributes = self.train_set.attributes
        assert attributes is not None
        lowest = self.images_to_forget("lowest", self.setting.planted)
        found = pd.Series(np.isin(np.arange(len(attributes)), lowest)).groupby(attributes.planted)
        truth = spearmanr(self.scores, attributes["quality"])
        shares = {f"found.{defect}": float(share) for defect, share in found.mean().items()}
        shares.pop("found.no", None)
        return {"scorer_truth": float(truth.statistic), **shares}

    def _student(self, method: str, request: ForgetRequest) -> tuple[nn.Module, dict[str, Any]]:
        return attempt(
            lambda: unlearn(
                self.teacher,
                request.forget,
                request.retain,
                replace(CureConfig(**self.setting.unlearning), seed=self.seed),
                objective=objectives.build(method),
                progress=False,
            )
        )

    def _cosines(self, student: nn.Module, request: ForgetRequest) -> dict[str, float]:
        """Mean cosine of the student to the teacher, on forget and on (300) retain images."""
        rng = np.random.default_rng([self.seed, 7])
        retain = rng.choice(request.retain_index, min(300, len(request.retain)), replace=False)
        values = {}
        for name, index in (("forget", request.forget_index), ("retain", np.sort(retain))):
            images = ImageView(self.train_set.images, index)
            both = [embed(model, images) for model in (self.teacher, student)]
            values[f"cosine_{name}"] = float(torch.linalg.vecdot(*both).mean())
        return values
