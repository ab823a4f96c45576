"""What a request achieved: the encoder before and after, by the study's measures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from torch import nn

from cure_core.encoders.embedding import raw_embeddings
from cure_core.encoders.images import mirrored
from cure_core.metrics.gallery import rank_one_hits
from cure_core.metrics.intervals import Interval, people_bootstrap
from cure_core.metrics.membership import membership_attack
from cure_core.metrics.pairs import similarities
from cure_core.metrics.ues import ScoredPairs, ues_intervals
from cure_study.erasure.pairs import (
    JudgedPairs,
    enrolled_and_probes,
    forget_pairs,
    pairs_among,
)
from cure_study.erasure.report import Estimate, Measure
from cure_study.erasure.request import Request, embed_by, normalised
from cure_study.evaluation.evaluate import Measure as PairMeasure
from cure_study.evaluation.evaluate import accuracy, eer, tar
from cure_study.evaluation.features import view_features
from cure_study.evaluation.space import half_resolution, shifted
from cure_study.experiments.attacks.outliers import detection_auc

MODELS = ("before", "after", "oracle")
Group = Literal["forgotten", "retained", "attacks", "summary"]
MOST_ATTACKED = 2000  # images of each side of an attack
FEATURES = (mirrored, shifted, half_resolution)  # changes of an image that an attack looks at
FEWEST_PEOPLE = 2  # on each side of an attack


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
        models = [m for m in MODELS if any(getattr(x, m) is not None for x in self.measures)]
        rows = {x.label: [_text(getattr(x, model)) for model in models] for x in self.measures}
        return pd.DataFrame.from_dict(rows, orient="index", columns=models)

    def __repr__(self) -> str:
        return self.table().to_string()

    def _repr_html_(self) -> str:
        return self.table().to_html()


class Embedded(NamedTuple):
    """One model's embeddings of the folder's images and of the strangers', rows of length 1."""

    model: nn.Module
    raw: np.ndarray
    stranger_raw: np.ndarray | None

    @property
    def unit(self) -> np.ndarray:
        return normalised(self.raw)


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
    models = {"before": before, "after": _embedded(request, student, progress)}
    if oracle is not None:
        models["oracle"] = _embedded(request, oracle, progress)
    sets = _pairs(request)
    values: dict[str, dict[str, Estimate]] = {name: {} for name in MEANINGS}
    scores = []
    for name, model in models.items():
        found = _on_pairs(request, model, sets) | _on_galleries(request, model, before)
        found |= _attacks(request, model, progress)
        if name != "before":
            found |= _ues(request, model, before, sets)
        for metric, estimate in found.items():
            values[metric][name] = estimate
        scores += [_scores(name, which, model, judged) for which, judged in sets.items()]
    kept = np.union1d(request.retain, request.judged)
    after = models["after"]
    cosine = (before.unit[kept] * after.unit[kept]).sum(1)
    names = [request.files.folder.files[i] for i in kept]
    moved = pd.DataFrame({"index": kept, "file": names, "cosine": cosine})
    moved = moved.sort_values("cosine", kind="stable")
    return Judged(
        [_measure(name, by_model) for name, by_model in values.items() if by_model],
        _joined(scores),
        moved.reset_index(drop=True),
        _still_forgotten(request, {name: models[name] for name in ("before", "after")}),
    )


def _embedded(request: Request, model: nn.Module, progress: bool | None) -> Embedded:
    files, device = request.files, request.files.setting.device
    raw = embed_by(model, files.folder.images, device, progress)
    if files.strangers is None:
        return Embedded(model, raw, None)
    return Embedded(model, raw, embed_by(model, files.strangers.images, device, progress))


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
    raw = model.stranger_raw if which == "test" else model.raw
    assert raw is not None  # there are no pairs of strangers without strangers
    return similarities(normalised(raw), judged.pairs)


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
                found |= _named(f"{metric}_{suffix}", interval)
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
    kept = np.union1d(request.retain, request.judged)
    for name, index in (("cosine_forget", request.forget), ("cosine_retain", kept)):
        found |= _share(request, name, (new[index] * old[index]).sum(1), people[index])
    return found


def _share(
    request: Request, name: str, values: np.ndarray, people: np.ndarray
) -> dict[str, Estimate]:
    """The mean of values (N,), with an interval over their people."""
    setting = request.files.setting
    n, seed = setting.n_bootstrap, setting.seed
    mean: Callable[[np.ndarray], float] = lambda i: float(values[i].mean())  # noqa: E731
    return _named(name, people_bootstrap(mean, people, people, n=n, seed=seed))


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
    return {k: v for name, new in names.items() for k, v in _named(new, found[name]).items()}


def _attacks(request: Request, model: Embedded, progress: bool | None) -> dict[str, Estimate]:
    """Membership and detection against strangers; nothing without strangers."""
    files, setting = request.files, request.files.setting
    if files.strangers is None or request.stranger_people is None:
        return {}
    assert model.stranger_raw is not None
    rng = np.random.default_rng([setting.seed, 6])
    strangers = _some(rng, np.arange(len(request.stranger_people)))
    members = _some(rng, request.retain)[: len(strangers)]
    forget = _some(rng, request.forget)
    own, images = files.folder.images, files.strangers.images
    tables = {}
    for name, index, source, raw, people in (
        ("members", members, own, model.raw, request.people),
        ("forget", forget, own, model.raw, request.people),
        ("strangers", strangers, images, model.stranger_raw, request.stranger_people),
    ):
        views = _views(model.model, source, index, raw, setting.device, progress)
        tables[name] = views, people[index]
    found: dict[str, Estimate] = {}
    if min(len(np.unique(tables[name][1])) for name in ("members", "strangers")) >= FEWEST_PEOPLE:
        plain = {name: view_features(*table, m=0).to_numpy() for name, table in tables.items()}
        attack = membership_attack(
            plain["members"],
            plain["strangers"],
            plain["forget"],
            member_people=tables["members"][1],
            non_member_people=tables["strangers"][1],
            seed=setting.seed,
            n_bootstrap=setting.n_bootstrap,
        )
        found |= _named("membership_auc", Interval(attack.auc, attack.auc_low, attack.auc_high))
        found |= _named("membership_recall", Interval(attack.recall, np.nan, np.nan))
    several = {name: _with_others(*tables[name]) for name in ("forget", "strangers")}
    if min(len(np.unique(people)) for _, people in several.values()) >= FEWEST_PEOPLE:
        (gone, gone_people), (others, other_people) = several["forget"], several["strangers"]
        auc = detection_auc(
            view_features(gone, gone_people),
            view_features(others, other_people),
            gone_people,
            other_people,
            n_bootstrap=setting.n_bootstrap,
            seed=setting.seed,
        )
        found |= _named("detection_auc", auc)
    return found


def _some(rng: np.random.Generator, index: np.ndarray) -> np.ndarray:
    return rng.permutation(index)[:MOST_ATTACKED]


def _views(
    model: nn.Module,
    images: np.ndarray,
    index: np.ndarray,
    raw: np.ndarray,
    device: str | None,
    progress: bool | None,
) -> list[np.ndarray]:
    """Raw embeddings of the images at `index`, as they are and changed, as an attacker has them."""
    changed = [
        raw_embeddings(model, images[index], device=device, view=view, progress=progress).numpy()
        for view in FEATURES
    ]
    return [raw[index], *changed]


def _with_others(
    views: list[np.ndarray], people: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """The images of people who have at least two."""
    names, counts = np.unique(people, return_counts=True)
    rows = np.isin(people, names[counts >= 2])
    return [view[rows] for view in views], people[rows]


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
            name: _estimate(_bootstrap(request, accuracy, judged, _score(model, "forget", judged)))
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


def _measure(name: str, by_model: Mapping[str, Estimate]) -> Measure:
    values: dict[str, Any] = dict(by_model)
    return Measure(name=name, **MEANINGS[name]._asdict(), **values)


def _named(name: str, interval: Interval) -> dict[str, Estimate]:
    """A measure by its name; nothing if it is not defined."""
    return {} if np.isnan(interval.value) else {name: _estimate(interval)}


def _estimate(interval: Interval) -> Estimate:
    bounds = [None if np.isnan(bound) else float(bound) for bound in interval[1:]]
    return Estimate(value=float(interval.value), low=bounds[0], high=bounds[1])


def _text(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    low, high = (np.nan if b is None else b for b in (estimate.low, estimate.high))
    return Interval(estimate.value, low, high).text()


def train_oracle(request: Request, progress: bool | None = None) -> nn.Module:
    """An encoder trained from scratch on the retained images, by their identities."""
    from cure_core import encoders
    from cure_study.training_cache import train_cached

    files, setting = request.files, request.files.setting
    start = encoders.build(setting.encoder, seed=setting.seed)
    trained = train_cached(
        start,
        files.view(request.retain),
        request.people[request.retain],
        setting.recipe(),
        device=setting.device,
        progress=progress,
    )
    return trained.encoder
