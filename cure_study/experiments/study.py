"""One study from data to report: the same steps for every data set, seed and scale."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from cure_core import encoders, objectives
from cure_core.checks import known_fields, one_of, whole
from cure_core.encoders.embedding import embed, module_device, weight_arrays
from cure_core.files import digest
from cure_core.runtime.amp import resolved
from cure_core.training.arcface import Recipe, Trained, with_state
from cure_core.unlearning import CureConfig, UnlearningResult, unlearn
from cure_study.code_version import code_version
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet, ImageView
from cure_study.data.requests import REQUESTS, ForgetRequest, check_count
from cure_study.data.splits import Split, check_split, split_people
from cure_study.evaluation.evaluate import evaluate
from cure_study.evaluation.protocol import Protocol, make_protocol
from cure_study.evaluation.report import Report
from cure_study.paths import data_root
from cure_study.training_cache import architecture, model_cached, train_cached

MACHINE = ("device", "processes")  # the fields of a setting on which no result depends


@dataclass(frozen=True)
class StudySetting:
    """What is the same for all seeds of a study.

    `weights` is the path, relative to the data root, of the weights to start from; None: random
    ones. `split` holds arguments of `split_people`. `request`, one of `REQUESTS`, says what is to
    be forgotten: `forget_people` people, or as many images as they have on average. `method` is one
    of `objectives.METHODS`. `config.compile` and `config.amp` apply to the training of teacher and
    oracle too. `device` (None: the CPU) and `processes`, one per GPU, change results only by
    rounding. Raises ValueError for a field with a wrong type or out of range.
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
    device: str | None = None
    processes: int = 1

    def __post_init__(self) -> None:
        for name, kind in (("recipe", Recipe), ("config", CureConfig)):
            if not isinstance(value := getattr(self, name), kind):
                raise ValueError(f"{name} is a {type(value).__name__}; pass a {kind.__name__}")
        for name in ("encoder", "method", "weights", "device"):
            value = getattr(self, name)
            if not isinstance(value, str) and (value is not None or name in ("encoder", "method")):
                raise ValueError(f"{name}={value!r}; it is text")
        one_of("request", self.request, REQUESTS)
        one_of("method", self.method, objectives.METHODS)
        amp = resolved(self.config.amp, self.device or "cpu")  # results depend on it
        config = objectives.METHODS[self.method].filled_in(replace(self.config, amp=amp))
        object.__setattr__(self, "config", config)
        for name in ("forget_people", "n_pairs", "processes"):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1))
        check_split(self.split)

    def result_fields(self) -> dict[str, Any]:
        """The fields on which results depend: all but the machine's."""
        return {name: value for name, value in asdict(self).items() if name not in MACHINE}


def setting_of(parameters: Mapping[str, Any]) -> StudySetting:
    """The setting that the parameters of notebook 02, or of a profile, describe.

    `split` overrides the manifest's. Raises ValueError naming a parameter that is missing, an
    unknown field (with the nearest known one) or a value that is not accepted.
    """
    same_name = ("encoder", "weights", "forget_people", "method", "n_pairs", *MACHINE)
    needed = ("dataset", "split", "teacher", "unlearning", *same_name)
    if missing := [name for name in needed if name not in parameters]:
        raise ValueError(f"the parameters lack {', '.join(missing)}")
    split = manifests.read(parameters["dataset"]).splits.model_dump()
    return StudySetting(
        split=split | known_fields("split", parameters["split"], list(split)),
        recipe=_built(Recipe, "teacher", parameters),
        config=_built(CureConfig, "unlearning", parameters),
        **{name: parameters[name] for name in same_name},
    )


def _built(kind: type[Any], name: str, parameters: Mapping[str, Any]) -> Any:
    """A dataclass from the mapping in the parameter `name`, which its errors mention."""
    values = known_fields(name, parameters[name], [field.name for field in fields(kind)])
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error


@dataclass(frozen=True, eq=False, repr=False)
class Case:
    """One seed of a study: the split, the forget request and the evaluation protocol."""

    seed: int
    faces: FaceSet
    setting: StudySetting
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


@dataclass(frozen=True, eq=False, repr=False)
class Outcome:
    """The results of a case."""

    case: Case
    teacher: Trained
    result: UnlearningResult
    oracle: Trained
    report: Report

    def __repr__(self) -> str:
        return f"Outcome(seed {self.case.seed}: {self.report.ues()!r})"

    def tidy(self) -> pd.DataFrame:
        """One row per measure, with the seed, the setting, the run times and digests as columns."""
        case = self.case
        return self.report.tidy(
            dataset=case.faces.name,
            request=case.setting.request,
            method=case.setting.method,
            seed=case.seed,
            encoder=case.setting.encoder,
            data=case.faces.fingerprint,
            setting=digest(case.setting.result_fields()),
            **self.result.summary,
            seconds=self.result.seconds,
            seconds_teacher=self.teacher.seconds,
            seconds_oracle=self.oracle.seconds,
        )

    def history(self) -> pd.DataFrame:
        """The loss terms of each epoch, with the seed as a column."""
        return self.result.history.assign(seed=self.case.seed)


def prepare(faces: FaceSet, setting: StudySetting, seed: int) -> Case:
    """Draw a case: the split of people, the request and the pairs, all from `seed`.

    The request `hardest_people` needs a trained teacher, to measure similarity between people; it
    is trained after all other checks. Raises ValueError or ForgetRequestError if the data set is
    too small, ValueError for an unknown encoder or method, and FileNotFoundError if the initial
    weights are missing.
    """
    objectives.build(setting.method)  # an unknown name is an error before any training
    table = faces.attributes
    unseen = table.unseen.to_numpy(bool) if table is not None and "unseen" in table else None
    split = split_people(faces.identities, unseen=unseen, seed=seed, **setting.split)  # type: ignore[arg-type]
    people = len(np.unique(faces.identities[split.train]))
    check_count(setting.forget_people, people, "people")
    weights = None if setting.weights is None else data_root() / setting.weights
    start = encoders.build(setting.encoder, weights, seed=seed)
    request = _request(faces, setting, seed, start, split)
    protocol = make_protocol(faces, split, request, n_pairs=setting.n_pairs, seed=seed)
    return Case(seed, faces, setting, start, split, request, protocol)


def train_teacher(case: Case, progress: bool | None = None) -> Trained:
    """The encoder trained on everyone; from the cache if it has been trained before."""
    return _train(case.faces, case.setting, case.seed, case.start, case.split.train, progress)


def train_oracle(case: Case, progress: bool | None = None) -> Trained:
    """The encoder trained from the same start by the same recipe, without the forget set."""
    index = case.request.retain_index
    return _train(case.faces, case.setting, case.seed, case.start, index, progress)


def forget(case: Case, trained: Trained, progress: bool | None = None) -> UnlearningResult:
    """The student: the teacher after unlearning the request by the setting's method.

    An interrupted run resumes from its checkpoint; a finished one comes from the cache. If several
    processes need the same student, one makes it and the others wait.
    """
    inputs = (
        *(code_version("cure_core.unlearning"), case.faces.fingerprint, case.seed),
        *(case.setting.result_fields(), case.request.forget_index, case.request.retain_index),
    )
    result = model_cached(
        "student",
        digest(*inputs, *architecture(trained.encoder), *weight_arrays(trained.encoder)),
        run=lambda path: unlearn(
            trained.encoder,
            case.request.forget,
            case.request.retain,
            case.config,
            objective=objectives.build(case.setting.method),
            checkpoint=path,
            progress=progress,
        ),
        pack=lambda result: (
            result.student.state_dict(),
            {
                "history": result.history.to_dict("list"),
                "summary": dict(result.summary),
                "seconds": result.seconds,
            },
        ),
        unpack=lambda state, metadata: UnlearningResult(
            student=with_state(trained.encoder, state),
            history=pd.DataFrame(metadata["history"]),
            summary=metadata["summary"],
            config=case.config,
            seconds=metadata["seconds"],
        ),
    )
    result.student.to(module_device(trained.encoder))
    return result


def run(
    faces: FaceSet,
    setting: StudySetting,
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
    faces: FaceSet, setting: StudySetting, seed: int, start: nn.Module, split: Split
) -> ForgetRequest:
    train, count = split.train, setting.forget_people
    if setting.request == "random_people":
        return ForgetRequest.random_people(faces, train, count, seed)
    if setting.request == "random_samples":
        fraction = count / len(np.unique(faces.identities[train]))
        return ForgetRequest.random_samples(faces, train, round(fraction * len(train)), seed)
    teacher = _train(faces, setting, seed, start, train, False).encoder
    embeddings = embed(teacher, ImageView(faces.images, train)).numpy()
    return ForgetRequest.hardest_people(faces, train, count, embeddings)


def _train(
    faces: FaceSet,
    setting: StudySetting,
    seed: int,
    start: nn.Module,
    index: np.ndarray,
    progress: bool | None,
) -> Trained:
    trained = train_cached(
        start,
        ImageView(faces.images, index),
        faces.identities[index],
        replace(setting.recipe, seed=seed),
        device=setting.device,
        compile=setting.config.compile,
        amp=setting.config.amp,
        progress=progress,
    )
    trained.encoder.to(setting.device or "cpu")
    return trained
