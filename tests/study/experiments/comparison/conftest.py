"""A plan for tiny faces, and one comparison run by it that several tests read."""

import copy
import json
import os
import time

import pytest
import torch

from cure_core import encoders
from cure_core.encoders import SmallEncoder
from cure_core.files import digest
from cure_study.data import manifests
from cure_study.data.faceset import FaceSet
from cure_study.experiments.comparison.plan import Plan
from cure_study.experiments.comparison.runs import compare
from cure_study.experiments.comparison.task import Trainer

DATASET = {
    "trials": 2,
    "encoder": "tiny",
    "forget_people": 3,
    "split": {"min_images": 6, "max_images": 7, "outsiders": 4, "heldout": 0.6},
    "teacher": {"epochs": 1, "batch_size": 16},
    "unlearning": {"batch_size": [8, 8], "clusters": [2, 3]},
    "epochs": 1,
    "n_pairs": 20,
    "validation": {"seeds": [100], "finals": [101], "finalists": 2, "n_pairs": 10},
    "seeds": [0, 1],
    "few_seeds": [0],
}
PLANNED = {
    "data": {"synthfaces": DATASET},
    "requests": ["random_people", "random_samples"],
    "methods": {
        "cure": {"search": {"learning_rate": [1e-4, 5e-4, 3e-3]}, "strength": "learning_rate"},
        "scrub": {"search": {"ascent": [0.2, 0.6, 1.0], "weights.retain": [0.1, 1.0, 2.0]}},
    },
    "references": {"supervised_scrub": {"search": {"temperature": [0.05, 0.1, 0.3]}}},
    "variants": {
        "supervised_scrub_40": {"of": "supervised_scrub", "noise": 0.4},
        "cure_no_cosine": {"of": "cure", "weights.cosine": 0},
    },
    "factors": [0.5],
}


def use_tiny(patch, faces, cache):
    patch.setitem(encoders.REGISTRY, "tiny", lambda: SmallEncoder(dim=8, widths=(4, 4, 4)))
    patch.setattr(manifests, "load", lambda *_, **__: faces)
    patch.setenv("CURE_CACHE", str(cache))  # teachers and oracles are trained once


@pytest.fixture(scope="session")
def tiny_faces(draw_faces):
    images, identities = draw_faces(people=14, each=7)
    return FaceSet("synthfaces", images, identities, "abc")


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tiny_faces, shared_cache):
    use_tiny(monkeypatch, tiny_faces, shared_cache)
    return tiny_faces


@pytest.fixture(scope="session")
def change():
    """A function: the fields of the plan with the entry at a path (a/b/c) changed."""

    def changed(path, value):
        plan = copy.deepcopy(PLANNED)
        *parents, last = path.split("/")
        place = plan
        for name in parents:
            place = place[name]
        place[last] = value
        return plan

    return changed


@pytest.fixture
def plan():
    return Plan(**PLANNED)


@pytest.fixture(scope="session")
def task(tiny_faces, shared_cache):
    with pytest.MonkeyPatch.context() as patch:
        use_tiny(patch, tiny_faces, shared_cache)
        return Trainer(Plan(**PLANNED), "synthfaces").task("random_people", 0)


@pytest.fixture(scope="session")
def compared(tiny_faces, shared_cache, tmp_path_factory):
    """The folder of the whole comparison; copy it to change it."""
    folder = tmp_path_factory.mktemp("compared")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        use_tiny(patch, tiny_faces, shared_cache)
        compare(Plan(**PLANNED), "synthfaces", folder, progress=False)
    torch.set_num_threads(threads)
    return folder


@pytest.fixture
def stand_ins(tmp_path, monkeypatch):
    """No model is trained and scores are hashes; returns a function: what ran, in what process."""
    log = tmp_path / "log"

    def measure(task, student):
        time.sleep(0.02)
        with log.open("a") as file:
            file.write(f"{json.dumps(student)} {os.getpid()}\n")
        return {
            "ues": int(digest(student[2:]), 16) % 97 / 100, "forgetting": 0.5, "stability": 1.0,
            "accuracy_forget": 0.6, "accuracy_retain": 0.9, "accuracy_test": 0.8,
            "membership_recall": 0.1, "membership_auc": 0.6,
        }  # fmt: skip

    monkeypatch.setattr(Trainer, "_prepare", lambda self, *request, **_: request[:2])
    monkeypatch.setattr(Trainer, "baseline", lambda self, task, name: ((*task, name), 1.0))
    monkeypatch.setattr(
        Trainer, "student", lambda self, task, *run: ((*task, *run), {"seconds": 1.0})
    )
    for name in ("search.measure_ues", "runs.measure_all", "runs.measure_attacks"):
        monkeypatch.setattr(f"cure_study.experiments.comparison.{name}", measure)
    return lambda: [line.rsplit(" ", 1) for line in log.read_text().splitlines()]
