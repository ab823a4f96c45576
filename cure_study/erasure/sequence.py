"""Requests in a row against the same at once: what is left of each, and what the others lose."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn

from cure_core import encoders
from cure_core.encoders.embedding import embed
from cure_core.metrics.pairs import similarities
from cure_core.runtime.progress import bar
from cure_core.training.arcface import Recipe
from cure_study.erasure.demo import write_demo
from cure_study.erasure.earlier import STUDENT
from cure_study.erasure.images import ImageFolder, read_folder
from cure_study.erasure.pairs import JudgedPairs, forget_pairs, pairs_among
from cure_study.erasure.run import forget
from cure_study.evaluation.evaluate import accuracy
from cure_study.evaluation.report import save_table
from cure_study.experiments.claimed_folder import claim_folder
from cure_study.paths import locked

TABLE = "requests_in_a_row"
REQUESTS = 10  # of one person each
SEEDS = (0, 1, 2)
FACES = {"people": 40, "images_per_person": 10, "leaving": REQUESTS, "strangers": 20}
RECIPE = Recipe(epochs=24, margin=0.2)
OTHERS, IN_A_ROW, AT_ONCE = 0, "in a row", "at once"


def run(folder: Path, seeds: Sequence[int] = SEEDS, progress: bool | None = None) -> pd.DataFrame:
    """Run the seeds that the table in `folder` lacks; returns all rows.

    A row: seed, arm (in a row, at once), done (requests so far), request (1 to 10; 0 for the people
    who stay), accuracy on pairs of that person and of others, and seconds of the whole arm so far.
    """
    claim_folder(folder, "requests", {"dataset": "synthfaces", **FACES, "recipe": vars(RECIPE)})
    path = folder / "figures" / f"{TABLE}.csv"
    with locked(path):
        tables = [pd.read_csv(path)] if path.is_file() else []
        done = {seed for table in tables for seed in table.seed}
        for seed in bar([seed for seed in seeds if seed not in done], "seeds", progress, "seed"):
            tables.append(_run(folder / f"seed-{seed}", seed))
            save_table(pd.concat(tables, ignore_index=True), path)
    return pd.concat(tables, ignore_index=True)


def _run(folder: Path, seed: int) -> pd.DataFrame:
    """Both arms on one draw of people, with an encoder of its own."""
    shutil.rmtree(folder, ignore_errors=True)
    files = write_demo(folder, replace(RECIPE, seed=seed), seed=seed, progress=False, **FACES)
    people = sorted(path.name for path in Path(files["images"]).iterdir())
    asking = list(np.random.default_rng([seed, 7]).permutation(people)[:REQUESTS])
    images = read_folder(files["images"])
    pairs = _pairs(images, asking, seed)
    rows = _rows(encoders.build("small", files["weights"]), images, pairs, 0, 0.0)
    both = [(arm, *row) for arm in (IN_A_ROW, AT_ONCE) for row in rows]
    options = {"encoder": "small", "n_bootstrap": 0, "seed": seed, "progress": False}
    spent, before = 0.0, None
    for number, person in enumerate(asking, 1):
        start = {"weights": files["weights"]} if before is None else {"after": before}
        out = folder / f"request-{number:02d}"
        spent += _forget(files["images"], folder, [person], out, **start, **options)
        student = encoders.build("small", out / STUDENT)
        both += [(IN_A_ROW, *row) for row in _rows(student, images, pairs, number, spent)]
        before = out
    out = folder / "at-once"
    weights = {"weights": files["weights"]}
    spent = _forget(files["images"], folder, asking, out, **weights, **options)
    student = encoders.build("small", out / STUDENT)
    both += [(AT_ONCE, *row) for row in _rows(student, images, pairs, REQUESTS, spent)]
    columns = ["arm", "done", "request", "accuracy", "seconds"]
    return pd.DataFrame(both, columns=columns).assign(seed=seed)[["seed", *columns]]


def _forget(images: str, folder: Path, people: list[str], out: Path, **options: object) -> float:
    """Seconds that a request for all images of some people took."""
    listed = folder / f"{out.name}.txt"
    listed.write_text("".join(f"{person}/\n" for person in people), encoding="utf-8")
    began = time.perf_counter()
    forget(images, listed, out=out, **options)  # type: ignore[arg-type]
    return time.perf_counter() - began


def _pairs(images: ImageFolder, asking: list[str], seed: int) -> dict[int, JudgedPairs]:
    """The pairs of each request's person, against people who stay; and of those alone."""
    names = np.array([file.split("/")[0] for file in images.files])
    people = np.unique(names, return_inverse=True)[1]
    staying = np.flatnonzero(~np.isin(names, asking))
    found = {OTHERS: pairs_among(staying, people, seed)}
    for number, person in enumerate(asking, 1):
        found[number] = forget_pairs(np.flatnonzero(names == person), staying, people, seed)
    return {number: judged for number, judged in found.items() if judged is not None}


def _rows(
    model: nn.Module,
    images: ImageFolder,
    pairs: dict[int, JudgedPairs],
    done: int,
    seconds: float,
) -> list[tuple[int, int, float, float]]:
    unit = embed(model, images.images).numpy()
    return [
        (done, number, _accuracy(unit, judged), round(seconds, 1))
        for number, judged in pairs.items()
    ]


def _accuracy(unit: np.ndarray, judged: JudgedPairs) -> float:
    score = similarities(unit, judged.pairs)
    return accuracy(score, judged.pairs.genuine, judged.folds)
