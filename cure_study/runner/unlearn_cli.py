"""`cure unlearn`: the study without its notebook, for scripts and for many processes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NOTEBOOK = "02_unlearning"


def run_unlearning(profile: str, where: Path, changes: Mapping[str, Any] | None = None) -> Path:
    """Teacher, student, oracle and report for each seed of a profile; the tables go to `where`.

    Under `accelerate launch` all processes share the work and the first writes. What is trained
    lies in the cache afterwards, and what was stopped goes on: `cure study` with the same profile
    draws its figures without training anything.
    Two commands with the same `where` write their tables one after the other, never mixed.
    Raises FileNotFoundError for an unknown profile, ValueError for an unknown name or a value that
    does not fit, before any work.
    """
    import pandas as pd

    from cure_core.files import atomic_path
    from cure_core.runtime.distributed import join, on_rank_zero, rank
    from cure_study.data import manifests
    from cure_study.evaluation.report import save_table, summarise
    from cure_study.experiments import study
    from cure_study.paths import locked
    from cure_study.runner import parameters, runs

    source = runs.find_notebook(NOTEBOOK)
    given = runs.profile_parameters(source, profile)
    given = runs.declared(source) | runs.with_changes(source, given, changes or {}, "--set")
    parameters.check_machine(given)
    where.mkdir(parents=True, exist_ok=True)  # a place that cannot be written is reported at once
    setting = study.setting_of(given)
    join()
    dataset, options = given["dataset"], given["dataset_options"]
    on_rank_zero(lambda: len(manifests.load(dataset, **options)))  # decoded once, not by every one
    faces = manifests.load(dataset, **options)
    study.pretrain(faces, setting, given["seeds"])
    shown = {"n_bootstrap": given["n_bootstrap"], "progress": given["progress"]}
    outcomes = [study.run(faces, setting, seed, **shown) for seed in given["seeds"]]
    if rank() == 0:
        tidy = pd.concat([outcome.tidy() for outcome in outcomes], ignore_index=True)
        table = summarise(tidy)
        with locked(where / "parameters.json"):
            save_table(tidy, where / "results.csv")
            save_table(table.rename_axis("measure").reset_index(), where / "table.csv")
            with atomic_path(where / "parameters.json") as temporary:
                temporary.write_text(json.dumps(given, indent=1), encoding="utf-8")
        print(table.to_string(), end=f"\n\n{where}\n")
    return where
