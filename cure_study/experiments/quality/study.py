"""Does forgetting low-quality images leave a better model? The runs, a row each.

from cure_study.experiments.quality import setting, study

rows = study.run(setting.QualitySetting(), seeds=[0, 1, 2, 3, 4], path="rows.csv")
"""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import pandas as pd

from cure_core.runtime.progress import bar
from cure_study.experiments.quality.experiment import Experiment
from cure_study.experiments.quality.faces import verification_set
from cure_study.experiments.quality.setting import Condition, QualitySetting, conditions
from cure_study.experiments.results_store import Digest, Row, Schema, Table, run_jobs, to_frame
from cure_study.paths import cache_root

SCHEMA = Schema(
    ("setting", "seed", *Condition._fields),
    {"setting": Digest, "seed": int, "training": str, "method": str, "order": str}
    | {"fraction": float, "diverged": str},
)


def rows_path(setting: QualitySetting) -> Path:
    """Where a setting's rows are kept by default: in the cache, by its digest."""
    return cache_root() / "quality" / f"{setting.key}.csv"


def run(
    setting: QualitySetting,
    seeds: Iterable[int],
    path: str | Path | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Run every condition of every seed that has no row in the CSV file `path`.

    Several processes with one `path` share the runs. Returns the rows of this setting and these
    seeds, in the order of `conditions`. Raises ValueError for a file that is not a table of such
    rows, and what the steps raise; the rows saved by then stay.
    """
    table = Table(path if path is not None else rows_path(setting), SCHEMA)
    for name in setting.judges:  # an unknown one fails before any training
        verification_set(name)
    jobs = [(seed, condition) for seed in seeds for condition in conditions(setting)]
    # The runs of a seed follow one another: one experiment in memory is enough.
    experiment = lru_cache(1)(lambda seed, training: Experiment(setting, seed, training))

    def key(seed: int, condition: Condition) -> Row:
        return {"setting": setting.key, "seed": seed, **condition._asdict()}

    def run_one(job: tuple[int, Condition], wait: bool) -> bool:
        seed, condition = job
        return table.once(
            key(*job), lambda: experiment(seed, condition.training).run(condition), wait
        )

    run_jobs(bar(jobs, "runs", progress, unit="run"), run_one)
    return to_frame([row for job in jobs for row in table.find(key(*job))], SCHEMA)
