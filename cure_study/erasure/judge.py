"""What a request achieved: the encoder before and after, by the study's measures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from cure_core.metrics.gallery import rank_one_hits
from cure_core.metrics.intervals import Interval, people_bootstrap
from cure_core.metrics.pairs import similarities
from cure_core.metrics.ues import ScoredPairs, ues_intervals
from cure_study.erasure.attack import attack
from cure_study.erasure.embedded import Embedded, embed_request
from cure_study.erasure.measures import MEANINGS, described, named
from cure_study.erasure.pairs import (
    JudgedPairs,
    enrolled_and_probes,
    forget_pairs,
    pairs_among,
)
from cure_study.erasure.report import Estimate, Measure, models_of
from cure_study.erasure.request import Request
from cure_study.evaluation.evaluate import Measure as PairMeasure
from cure_study.evaluation.evaluate import accuracy, eer, tar


@dataclass(frozen=True, eq=False, repr=False)
class Judged:
    """What was measured.

    `scores`: model, set, genuine, score, one row a pair; `moved`: index (into the folder), file and
    cosine of every retained image, the most moved first; `earlier`: of each earlier request.
    """

    measures: list[Measure]
    scores: pd.DataFrame
    moved: pd.DataFrame
    earlier: list[Measure]

    def table(self) -> pd.DataFrame:
        """The measures as text, a column a model."""
        models = models_of(self.measures)
        rows = {
            measure.label: [e.text() if (e := measure.of(model)) else "" for model in models]
            for measure in self.measures
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=models)

    def __repr__(self) -> str:
        return self.table().to_string()

    def _repr_html_(self) -> str:
        return self.table().to_html()


def judge(
    request: Request,
    student: nn.Module,
    oracle: nn.Module | None = None,
    progress: bool | None = None,
) -> Judged:
    """Compare the student with the encoder it was made from, and with the oracle if there is one.

    A measure that cannot be computed (too few images of a person, no strangers) is left out. The
    intervals resample people. Raises ValueError naming an image whose embedding is not finite.
    """
    before = Embedded(request.files.encoder, request.raw, request.stranger_raw)
    models = {"before": before, "after": embed_request(request, student, progress)}
    if oracle is not None:
        models["oracle"] = embed_request(request, oracle, progress)
    sets = _pairs(request)
    values: dict[str, dict[str, Estimate]] = {name: {} for name in MEANINGS}
    scores = []
    for name, model in models.items():
        found = _on_pairs(request, model, sets) | _on_galleries(request, model, before)
        found |= attack(request, model, progress)
        if name != "before":
            found |= _ues(request, model, before, sets)
        for metric, estimate in found.items():
            values[metric][name] = estimate
        scores += [_scores(name, which, model, judged) for which, judged in sets.items()]
    kept = request.kept
    after = models["after"]
    cosine = (before.unit[kept] * after.unit[kept]).sum(1)
    names = [request.files.folder.files[i] for i in kept]
    moved = pd.DataFrame({"index": kept, "file": names, "cosine": cosine})
    moved = moved.sort_values("cosine", kind="stable")
    return Judged(
        [described(name, by_model) for name, by_model in values.items() if by_model],
        _joined(scores),
        moved.reset_index(drop=True),
        _still_forgotten(request, {name: models[name] for name in ("before", "after")}),
    )


def _pairs(request: Request) -> dict[str, JudgedPairs]:
    """The pairs of the sets "forget", "retain" and "test" (strangers) that have enough."""
    seed = request.files.setting.seed
    sets = {
        "forget": forget_pairs(request.forget, request.judged, request.people, seed),
        "retain": pairs_among(request.judged, request.people, seed),
    }
    if request.stranger_people is not None:
        everyone = np.arange(len(request.stranger_people))
        sets["test"] = pairs_among(everyone, request.stranger_people, seed)
    return {name: judged for name, judged in sets.items() if judged is not None}


def _score(model: Embedded, which: str, judged: JudgedPairs) -> np.ndarray:
    unit = model.stranger_unit if which == "test" else model.unit
    return similarities(unit, judged.pairs)


def _scores(name: str, which: str, model: Embedded, judged: JudgedPairs) -> pd.DataFrame:
    columns = {"genuine": judged.pairs.genuine, "score": _score(model, which, judged)}
    return pd.DataFrame({"model": name, "set": which, **columns})


def _on_pairs(
    request: Request, model: Embedded, sets: Mapping[str, JudgedPairs]
) -> dict[str, Estimate]:
    found: dict[str, Estimate] = {}
    kinds: dict[str, PairMeasure] = {"accuracy": accuracy, "tar": tar, "eer": eer}
    for which, judged in sets.items():
        suffix = "strangers" if which == "test" else which
        for metric, measure in kinds.items():
            if f"{metric}_{suffix}" in MEANINGS:
                score = _score(model, which, judged)
                interval = _bootstrap(request, measure, judged, score)
                found |= named(f"{metric}_{suffix}", interval)
    return found


def _bootstrap(
    request: Request, measure: PairMeasure, judged: JudgedPairs, score: np.ndarray
) -> Interval:
    setting, genuine, folds = request.files.setting, judged.pairs.genuine, judged.folds
    return people_bootstrap(
        lambda i: measure(score[i], genuine[i], folds[i]),
        *judged.people,
        n=setting.n_bootstrap,
        seed=setting.seed,
    )


def _on_galleries(request: Request, model: Embedded, before: Embedded) -> dict[str, Estimate]:
    """Identification among templates, and how far images have moved."""
    people, new, old = request.people, model.unit, before.unit
    enrolled, probes = enrolled_and_probes(request.forget, people)
    gallery = np.union1d(enrolled, request.retain)
    found: dict[str, Estimate] = {}
    for name, probe, templates in (
        ("rank1_old", probes, old),
        ("rank1_new", probes, new),
        ("rank1_retain", request.judged[np.isin(people[request.judged], people[gallery])], old),
    ):
        if len(probe):
            hits = rank_one_hits(new[probe], people[probe], templates[gallery], people[gallery])
            found |= _share(request, name, hits.astype(float), people[probe])
    for name, index in (("cosine_forget", request.forget), ("cosine_retain", request.kept)):
        found |= _share(request, name, (new[index] * old[index]).sum(1), people[index])
    return found


def _share(
    request: Request, name: str, values: np.ndarray, people: np.ndarray
) -> dict[str, Estimate]:
    """The mean of values (N,), with an interval over their people."""
    setting = request.files.setting
    n, seed = setting.n_bootstrap, setting.seed
    mean: Callable[[np.ndarray], float] = lambda i: float(values[i].mean())  # noqa: E731
    return named(name, people_bootstrap(mean, people, people, n=n, seed=seed))


def _ues(
    request: Request, model: Embedded, before: Embedded, sets: Mapping[str, JudgedPairs]
) -> dict[str, Estimate]:
    """UES (CURE) over the sets that can be judged; nothing without forget and retain pairs."""
    if not {"forget", "retain"} <= sets.keys():
        return {}
    setting = request.files.setting
    scored = {
        which: ScoredPairs(
            _score(before, which, judged),
            _score(model, which, judged),
            judged.pairs.genuine,
            judged.folds,
            *judged.people,
        )
        for which, judged in sets.items()
    }
    try:
        found = ues_intervals(
            scored, [w for w in sets if w != "forget"], setting.n_bootstrap, setting.seed
        )
    except ValueError:  # the encoder was at chance before: there is nothing to lose
        return {}
    names = {"score": "ues", "forgetting": "forgetting", "stability": "stability"}
    return {k: v for name, new in names.items() for k, v in named(new, found[name]).items()}


def _still_forgotten(request: Request, models: Mapping[str, Embedded]) -> list[Measure]:
    """Of each earlier request, the accuracy on its images: before and after this one."""
    measures = []
    total = len(request.files.earlier)
    for age, table in enumerate(request.files.earlier):
        index = table["index"].to_numpy(np.int64)
        people = request.people.copy()
        people[index] = people.max() + 1 + np.unique(table.group, return_inverse=True)[1]
        judged = forget_pairs(index, request.judged, people, request.files.setting.seed)
        if judged is None:
            continue
        label, group, meaning = MEANINGS["accuracy_forget"]
        by_model: dict[str, Any] = {
            name: Estimate.of(
                _bootstrap(request, accuracy, judged, _score(model, "forget", judged))
            )
            for name, model in models.items()
        }
        number = total - age
        measures.append(
            Measure(
                name=f"accuracy_request_{number}",
                label=f"{label} of request {number}",
                group=group,
                meaning=meaning,
                **by_model,
            )
        )
    return measures


def _joined(scores: list[pd.DataFrame]) -> pd.DataFrame:
    none = pd.DataFrame({"model": [], "set": [], "genuine": [], "score": []})
    return pd.concat(scores, ignore_index=True) if scores else none
