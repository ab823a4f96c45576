"""Readers of what the project itself writes, or has a user write, given damaged files."""

import csv
import io
import json
import os
import shutil
import warnings
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from harness import DOCUMENTED, Target, assert_no_faults

from cure_core import encoders
from cure_core.config import CureConfig
from cure_core.encoders import SmallEncoder
from cure_core.encoders.model_files import write_model
from cure_core.training.arcface import Recipe, Trained
from cure_core.training.checkpoint import Checkpoint
from cure_core.unlearning import UnlearningResult
from cure_study import training_cache
from cure_study.experiments import study
from cure_study.experiments.claimed_folder import claim_folder
from cure_study.experiments.clusters import sweep
from cure_study.experiments.comparison.plan import read_plan
from cure_study.experiments.comparison.store import SCHEMAS
from cure_study.experiments.quality.study import SCHEMA as QUALITY
from cure_study.experiments.results_store import Digest, Json, Table, read_csv
from cure_study.figures import index as figure_index
from cure_study.paths import cache_root
from cure_study.run_record import RECORD, is_done, write_record
from cure_study.runner import runs
from cure_study.runner.batch import collect as batch_collect
from cure_study.runner.batch import study as batch
from cure_study.runner.batch.state import state
from cure_study.runner.cli import _changes
from cure_study.runner.run_folder import FAILURE, RESULTS

NOTEBOOK = "02_unlearning"
FIGURES = runs.ROOT / "figures"
PLAN = """\
data:
  faces:
    trials: 2
    encoder: small
    forget_people: 2
    options: {people: 8, seed: 3}
    teacher: {epochs: 2, margin: 0.2}
    epochs: 2
    n_pairs: 50
    oracle_again: true
    validation: {seeds: [100], finals: [101, 102], finalists: 2, n_pairs: 50}
    seeds: [0, 1]
    few_seeds: [0]
repeats:
  again: {of: faces, options: {seed: 4}}
requests: [random_people, hardest_people]
methods:
  cure_plus:
    search: {learning_rate: [0.0001, 0.0005, 0.003], weights.matching: [3.0, 30.0, 100.0]}
    strength: weights.matching
references:
  neg_grad: {search: {learning_rate: [0.0001, 0.0005, 0.003]}, only: faces}
variants:
  cure_plus_no_matching: {of: cure_plus, weights.matching: 0.0}
factors: [0.1, 1.0]
attacked: [cure_plus]
"""
STUDY = """\
notebooks: [02_unlearning]
profile: tiny
parameters: {n_bootstrap: 100, dataset: ''}
grid:
  method: [cure, cure_plus]
seeds: [0, 1]
cores: 1
memory: 2 GB
"""
CHANGES = {
    "mapping": "unlearning={epochs: 3, weights: {matching: 30.0}, temperature: 1e-1}",
    "list": "seeds=[0, 1, 2]",
    "text": 'method="cure_plus"',
}
RESULTS_CSV = """\
model,set,metric,value,low,high,seed,data,setting
student,,ues,0.75,0.5,0.875,0,00112233,9eaddde6641e07e5
student,unseen,accuracy,0.5,,,0,00112233,9eaddde6641e07e5
"""
IDENTITY = {"seed": 0, "images": "9eaddde6641e07e5"}
VALUES = {Digest: "9eaddde6641e07e5", Json: '{"a": 1.5}', str: 'text, "quoted" é', int: 3}


def tiny(seed=0):
    """A network of every kind of layer, of some hundred weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SmallEncoder(dim=4, widths=(2, 3, 4)).eval()


def tensors(network):
    return {name: tensor.tolist() for name, tensor in network.state_dict().items()}


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def named(path, read):
    """`read`, whose documented errors may name another file than the one that is damaged."""

    def reading():
        try:
            return read()
        except DOCUMENTED as error:
            raise ValueError(f"{path}: {error}") from error

    return reading


def profile(folder, argument, monkeypatch):
    notebook, own = argument
    source = runs.find_notebook(notebook)
    content = runs.profile_path(notebook, own).read_bytes()
    monkeypatch.setattr(runs, "NOTEBOOKS", folder)
    path = written(folder / "profiles" / f"{own}.yaml", content)
    return Target(
        f"profile {own} of {notebook}", path, lambda: runs.profile_parameters(source, own)
    )


def batch_study(folder, planned, monkeypatch):
    path = written(folder / "own.yaml", STUDY)
    monkeypatch.setattr(runs, "code_version", lambda *modules: "code")
    if not planned:
        return Target("batch study", path, lambda: batch.read(path).model_dump())
    plan = named(path, lambda: [run.record() for run in batch.read(path).plan()])
    return Target("batch study, planned", path, plan)


def comparison_plan(folder, _, monkeypatch):
    path = written(folder / "own.yaml", PLAN)
    return Target("comparison plan", path, lambda: read_plan(path).model_dump())


def notebook(folder, _, monkeypatch):
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# A study\n"]},
        {
            "cell_type": "code",
            "metadata": {"tags": ["parameters"]},
            "source": ["seed: int = 0\n", "seeds = [0, 1]\n", "split = {'a': -1.5}\n"],
        },
        {"cell_type": "code", "metadata": {}, "source": "print(seed)", "outputs": []},
    ]
    path = written(folder / "own.ipynb", json.dumps({"cells": cells, "nbformat": 4}, indent=1))
    read = lambda: repr((runs.declared(path), runs.notebook_version(path)))  # noqa: E731
    return Target("notebook", path, read)


def set_option(folder, name, monkeypatch):
    """The text of `--set`, which its errors name as that."""
    source = runs.find_notebook(NOTEBOOK)
    path = written(folder / "--set", CHANGES[name])

    def read():
        changes = _changes([path.read_bytes().decode(errors="surrogateescape")])
        return runs.with_changes(source, {}, changes, "--set")

    return Target(f"--set, {name}", path, read)


def stored_state(value):
    state = {"parts": {"student": torch.full((3, 2), value)}, "history": [{"loss": value}]}
    return state, repr(state)


def checkpoint(folder, which, monkeypatch):
    """One state of a run, or two: where the newest is damaged, a warning says so."""
    path = folder / "own.pt"
    (older, older_read), (newer, _) = stored_state(1.0), stored_state(2.0)
    if which != "alone":
        Checkpoint(path, IDENTITY).save(older)
    Checkpoint(path, IDENTITY).save(newer)
    if which == "only the older":
        path.unlink()
    damaged = path if which in ("alone", "the newest") else folder / "own.pt.1"

    def read():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = repr(Checkpoint(path, IDENTITY).load())
        if caught and found == older_read:
            raise ValueError(str(caught[0].message))
        return found

    return Target(f"checkpoint, {which}", damaged, read, detects_damage=True)


def views(folder, _, monkeypatch):
    made = (torch.arange(12.0).reshape(2, 3, 2), torch.ones(2, 2))
    read = lambda: repr(Checkpoint(folder / "own.pt", IDENTITY).views(lambda: made))  # noqa: E731
    read()
    return Target("views beside a checkpoint", folder / "own.pt.views", read, detects_damage=True)


def weights(folder, kind, monkeypatch):
    monkeypatch.setitem(encoders.REGISTRY, "small", tiny)
    path = folder / f"own.{'safetensors' if 'safetensors' in kind else 'pt'}"
    state = tiny(1).state_dict()
    if kind == "safetensors with digest":
        write_model(path, state, {"epochs": 3})
    elif kind == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=kind == "pt")
    digest = kind == "safetensors with digest"
    read = lambda: repr(tensors(encoders.build("small", path)))  # noqa: E731
    return Target(f"weights, {kind}", path, read, detects_damage=digest)


def cached_encoder(folder, _, monkeypatch):
    trained = Trained(tiny(1), (2.0, 1.5), 3.0)
    monkeypatch.setattr(training_cache, "train", lambda *arguments, **options: trained)
    images = np.zeros((2, 112, 112, 3), np.uint8)

    def read():
        found = training_cache.train_cached(tiny(), images, np.arange(2), Recipe(epochs=2))
        return repr((tensors(found.encoder), found.losses, found.seconds))

    read()
    (path,) = (cache_root() / "encoders").glob("*.safetensors")
    return Target("encoder in the cache", path, read, detects_damage=True)


def cached_student(folder, _, monkeypatch):
    history, config = pd.DataFrame({"epoch": [1, 2], "matching": [0.5, 0.25]}), CureConfig(epochs=2)
    made = UnlearningResult(tiny(2), history, {"clusters_forget": 3.0}, config, 4.0)
    monkeypatch.setattr(study, "unlearn", lambda *arguments, **options: made)
    monkeypatch.setattr(study, "code_version", lambda *modules: "code")
    case = SimpleNamespace(
        faces=SimpleNamespace(fingerprint="faces"),
        request=SimpleNamespace(
            forget=[], retain=[], forget_index=np.arange(2), retain_index=np.arange(2, 4)
        ),
        setting=study.StudySetting(config=config),
        config=config,
        seed=0,
    )
    teacher = Trained(tiny(1), (), 0.0)

    def read():
        found = study.forget(case, teacher)
        told = (tensors(found.student), found.history.to_dict("list"), found.summary, found.seconds)
        return repr(told)

    read()
    (path,) = (cache_root() / "students").glob("*.safetensors")
    return Target("student in the cache", path, read, detects_damage=True)


SCHEMA_OF = {
    **SCHEMAS,
    "sensitivity": sweep.SCHEMA,
    "quality": QUALITY,
}


def table_rows(schema):
    """Rows that differ in the last column of the key, with a value of each type."""
    kinds = {**dict.fromkeys(schema.key, None), **(schema.types or {}), "ues": None, "flag": None}
    row = {name: VALUES.get(kind, 0.5) for name, kind in kinds.items()} | {"flag": True}
    rows = [row | {"seed": seed, "ues": ues} for seed, ues in ((0, 0.25), (1, None), (12, -1e-7))]
    return [{name: schema.check(name, value) for name, value in own.items()} for own in rows]


def result_table(folder, name, monkeypatch):
    schema = SCHEMA_OF[name]
    file = io.StringIO(newline="")
    rows = csv.DictWriter(file, list(table_rows(schema)[0]), lineterminator="\n")
    rows.writeheader()
    rows.writerows(table_rows(schema))
    path = written(folder / f"{name}.csv", file.getvalue())
    return Target(f"result table, {name}", path, lambda: repr(read_csv(path, schema)))


def stored_table(folder, which, monkeypatch):
    """A table's two files, one of them damaged on the disk: no tool has written it since."""
    schema, path = SCHEMAS["frontier"], folder / "tables" / "frontier.csv"
    for row in table_rows(schema):
        Table(path, schema).put(row)
    store = path.with_name(".frontier.store")
    kept = {file: (file.read_bytes(), file.stat()) for file in (path, store / "rows.sqlite")}

    def reset():
        shutil.rmtree(path.parent)
        for file, (content, then) in kept.items():
            written(file, content)
            os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))

    def read():
        then = kept[path][1]
        os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))
        return repr(Table(path, schema).find({}))

    damaged = path if which == "csv" else store / "rows.sqlite"
    documented = (*DOCUMENTED, OSError)
    return Target(f"stored table, {which}", damaged, read, documented, True, reset)


def finished_run(folder):
    """A run with its folder, done."""
    versions = {"notebook": "1a", "code": "2b", "data": "3c", "weights": ""}
    run = runs.Run("own.ipynb", "tiny", {"seed": 0}, {"seed": 0, "method": "cure"}, versions)
    where = folder / "runs"
    written(where / run.name / RESULTS, RESULTS_CSV)
    write_record(where / run.name, run.record() | {"seconds": 12.5})
    return run, where


def run_folder(folder, argument, monkeypatch):
    """A finished run: collected, or asked for its state."""
    name, how = argument
    run, where = finished_run(folder)

    def collected():
        found = batch_collect.collect(SimpleNamespace(plan=lambda: [run], name="own"), where)
        if found.left_out:
            raise ValueError(found.left_out[0])
        return found.table.to_csv()

    def asked():
        known = state(run, where)
        if known.what == "damaged":
            assert not is_done(where / run.name)
            raise ValueError(known.error)
        return asdict(known), is_done(where / run.name)

    read = {"collected": collected, "state": asked}[how]
    return Target(f"{name} of a run, {how}", where / run.name / name, read, detects_damage=True)


def failed_run(folder, _, monkeypatch):
    run, where = finished_run(folder)
    shutil.rmtree(where / run.name)
    record = run.record() | {"error": "ValueError: é", "cell": 3, "seconds": 2.5, "host": "here"}
    path = written(where / f"{run.name}-failed" / FAILURE, json.dumps(record, indent=2))

    def read():
        known = state(run, where)
        if known.what == "damaged":
            raise ValueError(known.error)
        return f"{known.what} {known.seconds:.1f} {known.error} {known.cell}"

    return Target("failure.json of a run", path, read)


def tidy_results(folder, _, monkeypatch):
    path = written(folder / RESULTS, RESULTS_CSV)

    def read():
        rows = batch_collect.read_results(path)
        return rows.to_csv(), float(rows[["value", "low", "high"]].sum().sum())

    return Target("results of a run", path, read)


def sweep_record(folder, _, monkeypatch):
    claim = lambda: claim_folder(folder, "sweep", {"seed": 1, "setting": {"a": [1.5]}})  # noqa: E731
    claim()
    return Target("record of a sweep", folder / RECORD, claim, detects_damage=True)


def figure_table(folder, name, monkeypatch):
    path = written(folder / f"{name}.csv", (FIGURES / f"{name}.csv").read_bytes())

    def read():
        figure = figure_index.figure_from_table(name, path, list)
        return None if figure is None else len(figure.axes)

    return Target(f"table of the figure {name}", path, read)


def submission(folder, _, monkeypatch):
    """A notebook that a student handed in; a student reads the errors, beside the notebook."""
    from cure_study.course.submission import NotGradedError, read_submission

    path = notebook(folder, None, monkeypatch).path

    def read():
        try:
            return repr(read_submission(path))
        except NotGradedError as error:
            raise ValueError(f"{path}: {error}") from error

    return Target("submission", path, read)


TARGETS = {
    "profile": (profile, (NOTEBOOK, "quick"), 4000),
    "profile-lfw": (profile, (NOTEBOOK, "lfw"), 2000),
    "profile-quality": (profile, ("03_quality_aware_forgetting", "quick"), 2000),
    "study": (batch_study, False, 4000),
    "study-planned": (batch_study, True, 1000),
    "plan": (comparison_plan, None, 3000),
    "notebook": (notebook, None, 4000),
    **{f"set-{x}": (set_option, x, 3000) for x in CHANGES},
    **{
        f"checkpoint-{x.replace(' ', '-')}": (checkpoint, x, 1000)
        for x in ("alone", "the newest", "the older", "only the older")
    },
    "views": (views, None, 1000),
    **{
        f"weights-{x.replace(' ', '-')}": (weights, x, 2000)
        for x in ("safetensors", "safetensors with digest", "pt", "pt of old")
    },
    "cached-encoder": (cached_encoder, None, 1000),
    "cached-student": (cached_student, None, 1000),
    **{f"table-{x}": (result_table, x, 3000) for x in SCHEMA_OF},
    **{f"stored-{x}": (stored_table, x, 300) for x in ("csv", "sqlite")},
    "run-record": (run_folder, (RECORD, "state"), 2000),
    **{f"run-{x}": (run_folder, (x, "collected"), 1000) for x in (RECORD, RESULTS)},
    "failure": (failed_run, None, 3000),
    "results": (tidy_results, None, 3000),
    "sweep": (sweep_record, None, 2000),
    "figure": (figure_table, "cost", 300),
    "submission": (submission, None, 2000),
}


def faults(name, folder, count, monkeypatch):
    build, argument, _ = TARGETS[name]
    folder = Path(folder) / "own"
    folder.mkdir()
    assert_no_faults(build(folder, argument, monkeypatch), count, monkeypatch)


@pytest.mark.parametrize("name", TARGETS)
def test_a_few_damaged_files(name, tmp_path, monkeypatch):
    faults(name, tmp_path, 3, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_many_damaged_files(name, tmp_path, monkeypatch):
    faults(name, tmp_path, TARGETS[name][2], monkeypatch)
