import json
import os
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from processes import in_two_processes
from torch import nn

from cure_core.config import CureConfig
from cure_core.training.arcface import Recipe
from cure_core.unlearning import UnlearningDivergedError
from cure_study.experiments import study
from cure_study.experiments.clusters import sweep
from cure_study.figures.index import tables_made_by
from cure_study.runner.figure_tables import adopt

FACES = {"people": 12, "images_per_person": 14, "unseen_people": 20, "unseen_images": 4,
         "unseen_pairs": 40, "cross_age_pairs": 0, "seed": 1}  # fmt: skip
SETTING = study.StudySetting(
    forget_people=3,
    split={"min_images": 5, "outsiders": 3, "heldout": 0.3},
    recipe=Recipe(epochs=20, batch_size=16, learning_rate=0.05),
    config=CureConfig(epochs=1, batch_size=(16, 16)),
    n_pairs=30,
)
RUNS = [
    sweep.SweepRun(0, "cure", *sweep.BASE),
    sweep.SweepRun(0, "cure_plus", "forget clusters", "0.5"),
    sweep.SweepRun(0, "cure", "target map", "one_to_one"),
]


def small(folder, runs):
    return sweep.sweep(folder, setting=SETTING, faces=FACES, runs=runs, progress=False)


def test_a_sweep_continues_where_it_stopped(tmp_path, monkeypatch):
    """Each run is saved at once and not repeated; the figures read the folder."""
    first = small(tmp_path, RUNS[:1])
    calls = []
    monkeypatch.setattr(
        sweep, "unlearn", lambda *given, **named: calls.append(named) or real(*given, **named)
    )
    rows = small(tmp_path, RUNS)
    assert [call["objective"](CureConfig()).described() for call in calls] == [
        "CurePlus",
        "Cure(target_map='one_to_one')",
    ]
    assert [sweep.SweepRun(*row) for row in rows[list(sweep.SweepRun._fields)].to_numpy()] == RUNS
    assert rows.ues.tolist()[:1] == pytest.approx(first.ues.tolist())
    assert rows.clusters_forget[1] == max(2, round(rows.clusters_forget[0] / 2))
    assert rows.target_map.tolist() == ["farthest", "farthest", "one_to_one"]
    small(tmp_path, RUNS)
    assert len(calls) == 2
    adopt(tmp_path, tmp_path / "kept")
    assert len(pd.read_csv(tmp_path / "kept" / "sensitivity.csv")) == 3
    with pytest.raises(ValueError, match="another setting; name another folder"):
        sweep.sweep(tmp_path, faces=FACES, runs=RUNS)


real = sweep.unlearn


@pytest.fixture
def cheap(tmp_path, monkeypatch):
    """The sweep with all computing replaced; returns a function that lists (run, process id)."""
    log = tmp_path / "log"

    def unlearn(teacher, forget, retain, config, objective, progress):
        time.sleep(0.05)
        with log.open("a") as file:
            file.write(f"{config} {objective(config).described()} {os.getpid()}\n")
        return SimpleNamespace(student=None, seconds=1.0, summary={"clusters_forget": 2})

    request = SimpleNamespace(forget=None, retain=None)
    case = SimpleNamespace(request=request, config=CureConfig(), protocol=None)
    monkeypatch.setattr(sweep.study, "prepare", lambda *_: case)
    monkeypatch.setattr(sweep.study, "train_teacher", lambda *_: SimpleNamespace(encoder=None))
    monkeypatch.setattr(sweep.manifests, "load", lambda *_, **__: None)
    monkeypatch.setattr(sweep, "choose_clusters", lambda *_, **__: SimpleNamespace(k=16))
    monkeypatch.setattr(sweep, "accuracies", lambda _: {"forget": 0.9, "retain": 0.9, "test": 0.9})
    for name in ("embed", "Space", "verification_only"):
        monkeypatch.setattr(sweep, name, lambda *_: None)
    monkeypatch.setattr(sweep, "unlearn", unlearn)
    return lambda: [line.rsplit(" ", 1) for line in log.read_text().splitlines()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork spares importing torch again")
def test_two_processes_share_the_runs_and_repeat_none(tmp_path, cheap):
    runs = [run for run in sweep.plan() if run.seed == 0]
    folder = tmp_path / "sweep"
    in_two_processes(lambda: small(folder, runs))
    assert set(Counter(run for run, _ in cheap()).values()) == {1}
    assert len({process for _, process in cheap()}) == 2
    rows = small(folder, runs)
    assert {sweep.SweepRun(*row) for row in rows[list(sweep.SweepRun._fields)].to_numpy()} == set(
        runs
    )
    assert len(cheap()) == len(rows) == len(runs)


def test_a_run_that_diverges_is_a_row_and_the_sweep_goes_on(tmp_path, cheap, monkeypatch):
    converges = sweep.unlearn

    def diverges(teacher, forget, retain, config, **rest):
        if config.temperature == 0.05:
            raise UnlearningDivergedError("the loss is not finite", nn.Identity(), pd.DataFrame())
        return converges(teacher, forget, retain, config, **rest)

    monkeypatch.setattr(sweep, "unlearn", diverges)
    runs = [
        sweep.SweepRun(0, "cure", *sweep.BASE),
        sweep.SweepRun(0, "cure", "temperature", "0.05"),
    ]
    runs.append(sweep.SweepRun(0, "cure", "temperature", "0.2"))
    rows = small(tmp_path / "sweep", runs)
    assert rows.value.tolist() == ["1", "0.05", "0.2"]
    assert rows.diverged.fillna("").tolist() == ["", "the loss is not finite", ""]


def test_values_that_look_like_numbers_stay_text(tmp_path, cheap):
    run = sweep.SweepRun(0, "cure", "forget clusters", "4.0")
    small(tmp_path / "sweep", [run])
    table = (tmp_path / "sweep" / "figures" / "sensitivity.csv").read_text()
    assert table.splitlines()[1].startswith("0,cure,forget clusters,4.0,")
    assert small(tmp_path / "sweep", [run]).value.tolist() == ["4.0"]
    assert len(cheap()) == 1


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{", "run.json is not the record of a run"),
        (b"\xff", "run.json is not the record of a run"),
        (json.dumps({"notebook": "02_unlearning"}), "is of other faces or another setting"),
    ],
)
def test_another_record_in_the_folder_is_refused(tmp_path, cheap, record, message):
    path = tmp_path / "run.json"
    path.write_bytes(record if isinstance(record, bytes) else record.encode())
    with pytest.raises(ValueError, match=message) as error:
        small(tmp_path, RUNS[:1])
    assert str(tmp_path) in str(error.value)
    assert not (tmp_path / "figures").exists()


def test_each_run_departs_from_the_defaults_by_one_factor():
    runs = list(sweep.plan())
    assert len(runs) == len(set(runs)) <= 80
    auto = (16, 80)
    for run in runs:
        base, _ = sweep.departed(
            CureConfig(), auto, sweep.SweepRun(run.seed, run.method, *sweep.BASE)
        )
        assert base == CureConfig(clusters=auto)
        assert sweep.SweepRun(run.seed, run.method, *sweep.BASE) in runs
        config, target_map = sweep.departed(CureConfig(), auto, run)
        differs = [name for name in ("clusters", "tau", "temperature")
                   if getattr(config, name) != getattr(base, name)]  # fmt: skip
        assert len(differs) + (target_map != "farthest") == (run.factor != "base"), run
    halved, _ = sweep.departed(
        CureConfig(), auto, sweep.SweepRun(0, "cure", "retain clusters", "0.5")
    )
    assert halved.clusters == (16, 40)


def test_effects_are_paired_by_seed_by_hand():
    """Differences 0.19 and 0.21: mean 0.2, t(0.975, 1) = 12.706, standard error 0.01."""
    rows = pd.DataFrame(
        [(0, "cure", "base", "1", 0.5), (1, "cure", "base", "1", 0.2),
         (0, "cure", "tau", "0", 0.69), (1, "cure", "tau", "0", 0.41),
         (0, "cure_plus", "base", "1", 0.9)],
        columns=["seed", "method", "factor", "value", "ues"],
    )  # fmt: skip
    (row,) = sweep.effects(rows).to_dict("records")
    assert (row["method"], row["factor"], row["value"], row["seeds"]) == ("cure", "tau", "0", 2)
    got = [row[name] for name in ("ues", "difference", "low", "high")]
    assert got == pytest.approx([0.55, 0.2, 0.2 - 0.12706, 0.2 + 0.12706], abs=1e-4)


def test_the_faces_and_the_setting_are_as_documented():
    """Other faces than any profile draws; the teacher and the epochs of the profile quick."""
    profiles = {
        path.stem: yaml.safe_load(path.read_text())
        for path in (Path(__file__).parents[4] / "notebooks" / "profiles").glob("*.yaml")
    }
    drawn = [p.get("dataset_options", {}).get("seed", 0) for p in profiles.values()]
    assert sweep.FACES["seed"] not in drawn
    assert Recipe(**profiles["quick"]["teacher"]) == sweep.RECIPE
    unlearning = profiles["quick"]["unlearning"] | {"amp": False}  # its rows are of float32
    assert CureConfig(**unlearning) == sweep.CONFIG
    assert tables_made_by("sweep") == [f"{sweep.TABLE}.csv"]
