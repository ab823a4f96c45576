"""Sensitivity of the score to K, tau, temperature and the target map: one factor at a time.

For both methods, `cure_plus` and the paper's `cure`, and the factors that act in each. Every
finished run is saved at once, and not repeated. The faces are drawn with another seed of SynthFaces
than the study's, so that nothing is tuned on the people that the study reports on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from torch import nn

from cure_core.cluster_count import choose_clusters
from cure_core.config import CureConfig
from cure_core.encoders.embedding import embed
from cure_core.metrics.intervals import difference_interval
from cure_core.metrics.ues import unlearning_efficiency_score
from cure_core.objectives.registry import build
from cure_core.runtime.progress import bar
from cure_core.training.arcface import Recipe
from cure_core.unlearning import unlearn
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet
from cure_study.evaluation.evaluate import accuracies
from cure_study.evaluation.protocol import verification_only
from cure_study.evaluation.space import Space
from cure_study.experiments import study
from cure_study.experiments.attempts import attempt
from cure_study.experiments.claimed_folder import claim_folder
from cure_study.experiments.results_store import Row, Schema, Table, run_jobs


class SweepRun(NamedTuple):
    """One run: only `factor` departs from its default, to `value`; "base" is the defaults."""

    seed: int
    method: str
    factor: str
    value: str


TABLE = "sensitivity"
SCHEMA = Schema(
    SweepRun._fields,
    {"seed": int, "method": str, "factor": str, "value": str, "target_map": str, "diverged": str},
)
BASE = ("base", "1")  # factor and value of the run at the defaults
CLUSTERS = ("0.1", "0.25", "0.5", "2.0", "4.0", "10.0")  # as multiples of what "auto" chooses
# cure_plus recomputes no centroids and has no target map; the retain side is the same in both.
FACTORS: dict[str, dict[str, tuple[str, ...]]] = {
    "cure_plus": {
        "forget clusters": CLUSTERS,
        "retain clusters": ("0.25", "4.0"),
        "temperature": ("0.05", "0.2"),
    },
    "cure": {
        "forget clusters": CLUSTERS,
        "tau": ("0", "5"),
        "temperature": ("0.05", "0.2"),
        "target map": ("one_to_one",),
    },
}
FACES = {"seed": 1}
SEEDS = (0, 1, 2)
MAP_SEED = 3  # one more for the target map, whose effect is small next to the seeds'
# The teacher's recipe and the epochs are those of the profile quick.
RECIPE = Recipe(epochs=16, margin=0.2)
CONFIG = CureConfig(epochs=20)


def plan() -> Iterator[SweepRun]:
    """The runs: for each seed and method the defaults first, then each departure."""
    for seed in (*SEEDS, MAP_SEED):
        for method, factors in FACTORS.items():
            chosen = [name for name in factors if seed in SEEDS or name == "target map"]
            if chosen:
                yield SweepRun(seed, method, *BASE)
            for factor in chosen:
                yield from (SweepRun(seed, method, factor, value) for value in factors[factor])


def sweep(
    folder: str | Path,
    *,
    setting: study.StudySetting | None = None,
    faces: dict[str, Any] | None = None,
    runs: Sequence[SweepRun] | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Run what is missing of the plan in `folder`; returns all rows.

    A row: `SweepRun`, the settings it ran with, UES with its parts. Several processes with one
    folder share the runs. `folder` becomes a run folder that `make figures FROM=...` reads.
    `setting`, `faces` (options of SynthFaces) and `runs` make it smaller. Raises ValueError if
    `folder` holds a sweep of other faces or another setting, or a file that is not such a table.
    """
    options = FACES if faces is None else faces
    setting = setting or study.StudySetting(
        split=manifests.read("synthfaces").splits.model_dump(), recipe=RECIPE, config=CONFIG
    )
    folder = Path(folder)
    table = Table(folder / "figures" / f"{TABLE}.csv", SCHEMA)
    fields = setting.result_fields()
    claim_folder(folder, "sweep", {"dataset": "synthfaces", "options": options, "setting": fields})
    face_set = cache(lambda: manifests.load("synthfaces", **options))
    prepared = cache(lambda seed: _prepare(face_set(), setting, seed))
    run_jobs(
        bar(list(runs or plan()), "sweep", progress, unit="run"),
        lambda run, wait: table.once(run._asdict(), lambda: _run(run, *prepared(run.seed)), wait),
    )
    return table.rows()


def _prepare(
    faces: FaceSet, setting: study.StudySetting, seed: int
) -> tuple[study.Case, nn.Module, tuple[int, int], dict[str, float]]:
    """What the runs of a seed share: case, teacher, its automatic K, and its accuracies."""
    case = study.prepare(faces, setting, seed)
    teacher = study.train_teacher(case, False).encoder
    embeddings = (embed(teacher, images) for images in (case.request.forget, case.request.retain))
    forget, retain = (choose_clusters(x, seed=seed).k for x in embeddings)
    before = accuracies(Space(verification_only(case.protocol), teacher))
    return case, teacher, (forget, retain), before


def _run(
    run: SweepRun,
    case: study.Case,
    teacher: nn.Module,
    auto_clusters: tuple[int, int],
    before: dict[str, float],
) -> Row:
    config, target_map = departed(case.config, auto_clusters, run)
    student, summary = attempt(
        lambda: unlearn(
            teacher,
            case.request.forget,
            case.request.retain,
            config,
            objective=build(run.method, target_map=target_map),
            progress=False,
        )
    )
    del summary["seconds"]
    after = accuracies(Space(verification_only(case.protocol), student))
    ues = unlearning_efficiency_score(before, after)
    return {
        "tau": config.tau,
        "temperature": config.temperature,
        "target_map": target_map,
        **summary,
        "ues": ues.score,
        "forgetting": ues.forgetting,
        "stability": ues.stability,
        **{f"accuracy_{k}": v for k, v in after.items()},
    }


def departed(
    config: CureConfig, auto_clusters: tuple[int, int], run: SweepRun
) -> tuple[CureConfig, str]:
    """The config of a run and its target map, given the automatic K of forget and retain side."""
    forget, retain = auto_clusters
    if run.factor == "forget clusters":
        forget = max(2, round(forget * float(run.value)))
    if run.factor == "retain clusters":
        retain = max(2, round(retain * float(run.value)))
    config = replace(config, clusters=(forget, retain))
    if run.factor == "tau":
        config = replace(config, tau=int(run.value))
    if run.factor == "temperature":
        config = replace(config, temperature=float(run.value))
    return config, run.value if run.factor == "target map" else "farthest"


def effects(rows: pd.DataFrame) -> pd.DataFrame:
    """What each departure does to UES, paired by seed with the defaults.

    A row a method, factor and value: seeds, ues (their mean), and the mean difference from the
    defaults with its 95 % t-interval within [-1, 1] (difference, low, high).
    """
    keys = ["method", "factor", "value"]
    base = rows[rows.factor == BASE[0]].set_index(["method", "seed"]).ues
    table = []
    for names, runs in rows[rows.factor != BASE[0]].groupby(keys, sort=False):
        ues = runs.set_index(["method", "seed"]).ues
        differences = (ues - base.reindex(ues.index)).dropna()
        interval = difference_interval(differences, "ues") if len(differences) else (np.nan,) * 3
        table.append((*names, len(ues), ues.mean(), *interval))
    return pd.DataFrame(table, columns=[*keys, "seeds", "ues", "difference", "low", "high"])
