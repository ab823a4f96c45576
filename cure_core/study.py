"""One study from data to report: the same steps for every data set, seed and scale."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pandas as pd
from torch import nn

from cure_core import encoders, objectives
from cure_core.embedding import embed
from cure_core.evaluation import evaluate
from cure_core.faces.faceset import FaceSet, ImageView
from cure_core.files import data_root, digest
from cure_core.protocol import Protocol, make_protocol
from cure_core.recognition import Recipe, Trained, train_cached
from cure_core.report import Report
from cure_core.requests import ForgetRequest
from cure_core.splits import Split, split_people
from cure_core.unlearning import CureConfig, UnlearningResult, unlearn

REQUESTS = ("random_people", "hardest_people", "random_samples")


@dataclass(frozen=True)
class Setting:
    """What stays the same over the seeds of a study.

    `weights` is a path from the data root to start from, or None for a fresh start; `split` holds
    arguments of `split_people`; `request`, one of `REQUESTS`, says what must go: `forget_people`
    people, or as many images as they have on average; `method` is one of `objectives.METHODS`.
    `config.compile` holds for the training of teacher and oracle too.
    """

    encoder: str = "small"
    weights: str | None = None
    request: str = "random_people"
    forget_people: int = 15
    split: Mapping[str, float] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)
    method: str = "cure_plus"
    config: CureConfig = field(default_factory=CureConfig)
    n_pairs: int = 1500


@dataclass(frozen=True, repr=False)
class Case:
    """One seed's draw of a study: who is trained on, who must go, and how it will be judged."""

    seed: int
    faces: FaceSet
    setting: Setting
    start: nn.Module
    split: Split
    request: ForgetRequest
    protocol: Protocol

    @property
    def recipe(self) -> Recipe:
        return replace(self.setting.recipe, seed=self.seed)

    @property
    def config(self) -> CureConfig:
        return replace(self.setting.config, seed=self.seed)

    def __repr__(self) -> str:
        return f"Case(seed {self.seed}: {self.split}; {self.request})"


@dataclass(frozen=True, repr=False)
class Outcome:
    """A case carried out."""

    case: Case
    teacher: Trained
    result: UnlearningResult
    oracle: Trained
    report: Report

    def __repr__(self) -> str:
        return f"Outcome(seed {self.case.seed}: {self.report.ues()!r})"

    def tidy(self) -> pd.DataFrame:
        """Every measure, one a row, with seed, configuration, seconds, and digests beside."""
        case, result = self.case, self.result
        seconds = {
            "seconds": result.seconds,
            "seconds_teacher": self.teacher.seconds,
            "seconds_oracle": self.oracle.seconds,
        }
        return self.report.tidy(
            dataset=case.faces.name,
            request=case.setting.request,
            method=case.setting.method,
            seed=case.seed,
            encoder=case.setting.encoder,
            data=case.faces.fingerprint,
            setting=digest(asdict(case.setting)),
            **result.facts,
            **seconds,
        )

    def history(self) -> pd.DataFrame:
        """The loss terms over the epochs, with the seed beside."""
        return self.result.history.assign(seed=self.case.seed)


def prepare(faces: FaceSet, setting: Setting, seed: int) -> Case:
    """Draw a case: the split of people, the request, the pairs, all from `seed`.

    A request for the hardest people trains the teacher, to see who is like whom.
    Raises ValueError or ForgetRequestError where the set is too small for what is asked or the
    kind of request is unknown, KeyError for an unknown encoder or method, and FileNotFoundError
    where the weights to start from are missing.
    """
    objectives.build(setting.method)  # an unknown name is told before any training
    if setting.request not in REQUESTS:
        raise ValueError(f"request={setting.request!r}; there are {', '.join(REQUESTS)}")
    known = faces.attributes
    unseen = known.unseen.to_numpy(bool) if known is not None and "unseen" in known else None
    split = split_people(faces.identities, unseen=unseen, seed=seed, **setting.split)  # type: ignore[arg-type]
    weights = None if setting.weights is None else data_root() / setting.weights
    start = encoders.build(setting.encoder, weights, seed=seed)
    request = _request(faces, setting, seed, start, split)
    protocol = make_protocol(faces, split, request, n_pairs=setting.n_pairs, seed=seed)
    return Case(seed, faces, setting, start, split, request, protocol)


def train_teacher(case: Case, progress: bool | None = None) -> Trained:
    """The encoder that has seen everyone, from the cache where it was trained before."""
    return _train(case, case.split.train, progress)


def train_oracle(case: Case, progress: bool | None = None) -> Trained:
    """The encoder trained from the same start by the same recipe without the forget set."""
    return _train(case, case.request.retain_index, progress)


def forget(case: Case, trained: Trained, progress: bool | None = None) -> UnlearningResult:
    """The student: the teacher made to forget by the setting's method."""
    return unlearn(
        trained.encoder,
        case.request.forget,
        case.request.retain,
        case.config,
        objective=objectives.build(case.setting.method),
        progress=progress,
    )


def run(
    faces: FaceSet,
    setting: Setting,
    seed: int,
    *,
    n_bootstrap: int = 300,
    progress: bool | None = None,
) -> Outcome:
    """Everything for one seed: teacher, unlearning, oracle, report."""
    case = prepare(faces, setting, seed)
    teacher = train_teacher(case, progress)
    result = forget(case, teacher, progress)
    oracle = train_oracle(case, progress)
    report = evaluate(
        case.protocol,
        before=teacher.encoder,
        after=result.student,
        oracle=oracle.encoder,
        n_bootstrap=n_bootstrap,
        progress=progress,
    )
    return Outcome(case, teacher, result, oracle, report)


def _request(
    faces: FaceSet, setting: Setting, seed: int, start: nn.Module, split: Split
) -> ForgetRequest:
    train, count = split.train, setting.forget_people
    if setting.request == "random_people":
        return ForgetRequest.random_people(faces, train, count, seed)
    if setting.request == "random_samples":
        share = count / len(np.unique(faces.identities[train]))
        return ForgetRequest.random_samples(faces, train, round(share * len(train)), seed)
    recipe = replace(setting.recipe, seed=seed)
    images, people = ImageView(faces.images, train), faces.identities[train]
    teacher = train_cached(start, images, people, recipe, compile=setting.config.compile).encoder
    known = embed(teacher, images).numpy()
    return ForgetRequest.hardest_people(faces, train, count, known)


def _train(case: Case, index: np.ndarray, progress: bool | None) -> Trained:
    images, people = ImageView(case.faces.images, index), case.faces.identities[index]
    fast = case.setting.config.compile
    return train_cached(case.start, images, people, case.recipe, compile=fast, progress=progress)
