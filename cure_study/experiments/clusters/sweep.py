"""Sensitivity of the score to K, tau, temperature and the target map: one factor at a time.

For both methods, `cure_plus` and the paper's `cure`, where a factor acts. Every finished run is
written to a table at once; a run that is there already is not done again. The faces are a drawing
of their own (another seed of SynthFaces), so that nothing is tuned on the people that the study
reports on.
"""

import json
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
from cure_core.files import atomic_path
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
from cure_study.experiments.results_store import Row, Schema, Table, run_jobs
from cure_study.paths import locked


class Run(NamedTuple):
    """One run: `factor` leaves its default for `value`, all else stays; "base" leaves nothing."""

    seed: int
    method: str
    factor: str
    value: str


class _Prepared(NamedTuple):
    """What all runs of a seed share; `before` are the teacher's accuracies."""

    case: study.Case
    teacher: nn.Module
    auto: tuple[int, int]
    before: dict[str, float]


TABLE = "sensitivity"
SCHEMA = Schema(
    Run._fields,
    {"seed": int, "method": str, "factor": str, "value": str, "target_map": str, "diverged": str},
)
BASE = ("base", "1")  # the run at the defaults, which belongs to every panel
CLUSTERS = ("0.1", "0.25", "0.5", "2.0", "4.0", "10.0")  # as multiples of what "auto" chooses
# cure_plus renews no centroids and has no target map; the retain side is the same in both.
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
MAP_SEEDS = (*SEEDS, 3)  # one more for the map, whose effect is small beside the seeds'
# The teacher's recipe and the epochs are those of the profile quick.
RECIPE = Recipe(epochs=16, margin=0.2)
CONFIG = CureConfig(epochs=20)


def plan() -> Iterator[Run]:
    """The runs: for each seed and method the defaults first, then each departure."""
    for seed in MAP_SEEDS:
        for method, factors in FACTORS.items():
            own = {f: v for f, v in factors.items() if seed in SEEDS or f == "target map"}
            if own:
                yield Run(seed, method, *BASE)
            for factor, values in own.items():
                yield from (Run(seed, method, factor, value) for value in values)


def sweep(
    folder: str | Path,
    *,
    setting: study.StudySetting | None = None,
    faces: dict[str, Any] | None = None,
    runs: Sequence[Run] | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Run what of the plan has no row in `folder`; returns all rows.

    A row: `Run`, the settings it ran with, UES with its parts. Several processes with one folder
    share the runs. `folder` becomes a run folder that `make figures FROM=...` takes in. `setting`,
    `faces` (options of SynthFaces) and `runs` make it smaller. Raises ValueError where `folder`
    holds a sweep of other faces or another setting, or a file that is not such a table.
    """
    options = FACES if faces is None else faces
    setting = setting or study.StudySetting(
        split=manifests.read("synthfaces").splits.model_dump(), recipe=RECIPE, config=CONFIG
    )
    folder = Path(folder)
    table = Table(folder / "figures" / f"{TABLE}.csv", SCHEMA)
    _claim(
        folder, {"dataset": "synthfaces", "options": options, "setting": setting.result_fields()}
    )

    @cache
    def drawn() -> FaceSet:
        return manifests.load("synthfaces", **options)

    @cache
    def prepared(seed: int) -> _Prepared:
        case = study.prepare(drawn(), setting, seed)
        teacher = study.train_teacher(case, False).encoder
        spaces = (embed(teacher, s) for s in (case.request.forget, case.request.retain))
        forget, retain = (choose_clusters(x, seed=seed).k for x in spaces)
        return _Prepared(
            case,
            teacher,
            (forget, retain),
            accuracies(Space(verification_only(case.protocol), teacher)),
        )

    def made(run: Run) -> Row:
        case, teacher, auto, before = prepared(run.seed)
        config, target_map = departed(case.config, auto, run)
        student, facts = attempt(
            lambda: unlearn(
                teacher,
                case.request.forget,
                case.request.retain,
                config,
                objective=build(run.method, target_map=target_map),
                progress=False,
            )
        )
        del facts["seconds"]
        after = accuracies(Space(verification_only(case.protocol), student))
        ues = unlearning_efficiency_score(before, after)
        return {
            "tau": config.tau,
            "temperature": config.temperature,
            "target_map": target_map,
            **facts,
            "ues": ues.score,
            "forgetting": ues.forgetting,
            "stability": ues.stability,
            **{f"accuracy_{k}": v for k, v in after.items()},
        }

    run_jobs(
        bar(list(runs or plan()), "sweep", progress, unit="run"),
        lambda run, wait: table.once(run._asdict(), lambda: made(run), wait),
    )
    return table.rows()


def departed(config: CureConfig, auto: tuple[int, int], run: Run) -> tuple[CureConfig, str]:
    """The config of a run and its target map; `auto` holds the K chosen on either side."""
    forget, retain = auto
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
    for names, own in rows[rows.factor != BASE[0]].groupby(keys, sort=False):
        ues = own.set_index(["method", "seed"]).ues
        less = (ues - base.reindex(ues.index)).dropna()
        found = difference_interval(less, "ues") if len(less) else (np.nan,) * 3
        table.append((*names, len(ues), ues.mean(), *found))
    return pd.DataFrame(table, columns=[*keys, "seeds", "ues", "difference", "low", "high"])


def _claim(folder: Path, parameters: dict[str, Any]) -> None:
    """Write what a sweep is of into its folder, or make sure that it is what is there."""
    path = folder / "run.json"
    record = json.loads(json.dumps({"notebook": "sweep", "parameters": parameters}))
    with locked(path):
        if not path.is_file():
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(record, indent=2), encoding="utf-8")
            return
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(
                f"{path} is not the record of a run ({error}); remove it if the table beside it is "
                "of this sweep, or name another folder"
            ) from error
        if found != record:
            raise ValueError(
                f"{path} is of a sweep of other faces or another setting; name another folder, "
                f"or remove {folder}"
            )
