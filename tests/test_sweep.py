from collections import Counter

import pandas as pd
import pytest
import yaml

from cure_core import study, sweep
from cure_core.config import CureConfig
from cure_core.figure_index import ENTRIES, adopt
from cure_core.recognition import Recipe

FACES = {"people": 12, "images_per_person": 8, "unseen_people": 20, "unseen_images": 4,
         "unseen_pairs": 40, "cross_age_pairs": 0, "seed": 1}  # fmt: skip
SETTING = study.Setting(
    forget_people=3,
    split={"min_images": 5, "outsiders": 3, "heldout": 0.3},
    recipe=Recipe(epochs=15, batch_size=16, learning_rate=0.05, margin=0.2),
    config=CureConfig(epochs=1, batch_size=(16, 16)),
    n_pairs=30,
)
RUNS = [(0, "base", 1), (0, "forget clusters", 0.5), (0, "target map", "one_to_one")]


def small(folder, runs):
    return sweep.sweep(folder, setting=SETTING, faces=FACES, runs=runs, progress=False)


def test_a_sweep_goes_on_where_it_was(tmp_path, monkeypatch):
    """Each run is a row at once; what is there is not done again; figures take the folder in."""
    first = small(tmp_path, RUNS[:1])
    calls = []
    monkeypatch.setattr(
        sweep, "unlearn", lambda *given, **named: calls.append(named) or real(*given, **named)
    )
    rows = small(tmp_path, RUNS)
    assert len(calls) == 2
    assert rows.factor.tolist() == ["base", "forget clusters", "target map"]
    assert rows.ues.tolist()[:1] == pytest.approx(first.ues.tolist())
    assert rows.clusters_forget[1] == max(2, round(rows.clusters_forget[0] / 2))
    assert rows.target_map.tolist() == ["farthest", "farthest", "one_to_one"]
    small(tmp_path, RUNS)
    assert len(calls) == 2
    adopt(tmp_path, tmp_path / "kept")
    assert len(pd.read_csv(tmp_path / "kept" / "sensitivity.csv")) == 3


real = sweep.unlearn


def test_each_run_leaves_the_defaults_by_one_factor():
    runs = list(sweep.plan(seeds=(4,)))
    assert Counter(factor for _, factor, _ in runs)["base"] == 1
    base, _ = sweep.departed(CureConfig(), (16, 80), "base", 1)
    assert base == CureConfig(clusters=(16, 80))
    for _, factor, value in runs[1:]:
        config, target_map = sweep.departed(CureConfig(), (16, 80), factor, value)
        differs = [name for name in ("clusters", "tau", "temperature")
                   if getattr(config, name) != getattr(base, name)]  # fmt: skip
        assert len(differs) + (target_map != "farthest") == 1, (factor, value)
    halved, _ = sweep.departed(CureConfig(), (16, 80), "retain clusters", 0.5)
    assert halved.clusters == (16, 40)


def test_the_faces_and_teacher_are_as_documented():
    """Other faces than any profile draws, and the teacher's recipe of the profile quick."""
    profiles = [
        yaml.safe_load(path.read_text())
        for path in (sweep.Path(__file__).parents[1] / "notebooks" / "profiles").glob("*.yaml")
    ]
    drawn = [p.get("dataset_options", {}).get("seed", 0) for p in profiles]
    assert sweep.FACES["seed"] not in drawn
    (quick,) = (p for p in profiles if p.get("dataset") == "synthfaces" and len(p["seeds"]) == 3)
    assert Recipe(**quick["teacher"]) == sweep.RECIPE
    assert ENTRIES[sweep.TABLE].made_by == "sweep"
