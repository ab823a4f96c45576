"""Sensitivity of the score to K, tau, temperature and the target map: one factor at a time.

Every finished run is appended to a table at once; a run that is there already is not done again.
The faces are a drawing of their own (another seed of SynthFaces), so that nothing is tuned on the
people that the study reports on.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from cure_core import manifests, study
from cure_core.choose_k import choose_clusters
from cure_core.config import CureConfig
from cure_core.embedding import embed
from cure_core.evaluation import evaluate
from cure_core.objectives.registry import build
from cure_core.progress import bar
from cure_core.recognition import Recipe
from cure_core.report import save_table
from cure_core.unlearning import unlearn

TABLE = "sensitivity"
BASE = "base"  # the factor of the run at the defaults, which belongs to every panel
FACTORS: dict[str, tuple[float | str, ...]] = {
    "forget clusters": (1 / 8, 1 / 4, 1 / 2, 2, 4),  # as multiples of what "auto" chooses
    "retain clusters": (1 / 8, 1 / 4, 1 / 2, 2, 4),
    "tau": (0, 2, 5),
    "temperature": (0.03, 0.05, 0.2, 0.5),
    "target map": ("one_to_one",),
}
FACES = {"seed": 1}
SEEDS = (0, 1, 2)
RECIPE = Recipe(epochs=16, margin=0.2)  # the teacher's in the profile quick


def plan(seeds: Sequence[int] = SEEDS) -> Iterator[tuple[int, str, float | str]]:
    """The runs, (seed, factor, value): for each seed the defaults first, then each departure."""
    for seed in seeds:
        yield seed, BASE, 1
        for factor, values in FACTORS.items():
            for value in values:
                yield seed, factor, value


def sweep(
    folder: str | Path,
    *,
    setting: study.Setting | None = None,
    faces: dict[str, Any] | None = None,
    runs: Sequence[tuple[int, str, float | str]] | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Do the runs of the plan that `folder` lacks, a row each; returns all rows.

    A row: seed, factor, value, then the settings it ran with, then UES with its parts. `folder`
    becomes a run folder that `make figures FROM=...` takes in. `setting`, `faces` (options of
    SynthFaces) and `runs` make it smaller.
    """
    options = FACES if faces is None else faces
    setting = setting or study.Setting(
        split=manifests.read("synthfaces").splits.model_dump(), recipe=RECIPE
    )
    folder = Path(folder)
    path = folder / "figures" / f"{TABLE}.csv"
    rows: list[dict[Any, Any]] = pd.read_csv(path).to_dict("records") if path.is_file() else []
    done = {(int(row["seed"]), row["factor"], str(row["value"])) for row in rows}
    missing = [run for run in (runs or list(plan())) if (run[0], run[1], _told(run[2])) not in done]
    record = {"notebook": "sweep", "parameters": {"dataset": "synthfaces", "options": options}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(record, indent=2))

    if not missing:
        return pd.DataFrame(rows)
    drawn = manifests.load("synthfaces", **options)

    @cache
    def prepared(seed: int) -> tuple[study.Case, Any, tuple[int, int]]:
        case = study.prepare(drawn, setting, seed)
        teacher = study.train_teacher(case, False).encoder
        spaces = (embed(teacher, s) for s in (case.request.forget, case.request.retain))
        forget, retain = (choose_clusters(x, seed=seed).k for x in spaces)
        return case, teacher, (forget, retain)

    for seed, factor, value in bar(missing, "sweep", progress, unit="run"):
        case, teacher, auto = prepared(seed)
        config, target_map = departed(case.config, auto, factor, value)
        request = case.request
        objective = build("cure", target_map=target_map)
        result = unlearn(
            teacher, request.forget, request.retain, config, objective=objective, progress=False
        )
        report = evaluate(
            case.protocol, before=teacher, after=result.student, n_bootstrap=0, progress=False
        )
        ues = report.ues()
        rows.append(
            {
                "seed": seed,
                "factor": factor,
                "value": _told(value),
                "tau": config.tau,
                "temperature": config.temperature,
                "target_map": target_map,
                **result.facts,
                "ues": ues.score,
                "forgetting": ues.forgetting,
                "stability": ues.stability,
                **{f"accuracy_{k}": v for k, v in report.accuracies("after").items()},
            }
        )
        save_table(pd.DataFrame(rows), path)
    return pd.DataFrame(rows)


def departed(
    config: CureConfig, auto: tuple[int, int], factor: str, value: float | str
) -> tuple[CureConfig, str]:
    """The config of a run and its target map; `auto` holds the K chosen on either side."""
    forget, retain = auto
    if factor == "forget clusters":
        forget = max(2, round(forget * float(value)))
    if factor == "retain clusters":
        retain = max(2, round(retain * float(value)))
    config = replace(config, clusters=(forget, retain))
    if factor == "tau":
        config = replace(config, tau=int(value))
    if factor == "temperature":
        config = replace(config, temperature=float(value))
    return config, str(value) if factor == "target map" else "farthest"


def _told(value: float | str) -> str:
    """A value as the table writes it, the same when it is read back."""
    return value if isinstance(value, str) else str(float(value))
