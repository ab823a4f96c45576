"""`cure unlearn`: the study without its notebook, for scripts and for many processes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NOTEBOOK = "02_unlearning"


def run_unlearning(profile: str, folder: Path, changes: Mapping[str, Any] | None = None) -> None:
    """Teacher, student, oracle and report for each seed of a profile; the tables go to `folder`.

    Under `accelerate launch` all processes share the work and the first writes. What is trained is
    cached: a stopped command goes on, and `cure study` with the same profile draws its figures
    without training. Two commands with the same `folder` write one after the other.
    Raises FileNotFoundError for an unknown profile, ValueError for an unknown name or a value that
    does not fit, before any work.
    """
    import pandas as pd

    from cure_core.files import atomic_path
    from cure_core.runtime.distributed import on_rank_zero, rank
    from cure_study.data import manifests
    from cure_study.evaluation.report import save_table, summarise
    from cure_study.experiments import study
    from cure_study.experiments.seeds import run_seeds
    from cure_study.paths import locked
    from cure_study.processes import join
    from cure_study.runner import parameters, runs

    source = runs.find_notebook(NOTEBOOK)
    given = runs.declared(source) | runs.profile_parameters(source, profile, changes)
    parameters.check_machine(given)
    folder.mkdir(parents=True, exist_ok=True)  # a place that cannot be written is reported at once
    setting = study.setting_of(given)
    join()
    dataset, options = given["dataset"], given["dataset_options"]
    on_rank_zero(lambda: len(manifests.load(dataset, **options)))  # one process decodes it
    faces = manifests.load(dataset, **options)
    options = {name: given[name] for name in ("n_bootstrap", "progress")}
    outcomes = list(run_seeds(faces, setting, given["seeds"], **options))
    if rank() == 0:
        tidy = pd.concat([outcome.tidy() for outcome in outcomes], ignore_index=True)
        table = summarise(tidy)
        with locked(folder / "parameters.json"):
            save_table(tidy, folder / "results.csv")
            save_table(table.rename_axis("measure").reset_index(), folder / "table.csv")
            with atomic_path(folder / "parameters.json") as temporary:
                temporary.write_text(json.dumps(given, indent=1), encoding="utf-8")
        print(table.to_string(), end=f"\n\n{folder}\n")
