"""The committed figures: what each shows, redrawn from the table it was drawn from."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from cure_core import figures, manifests
from cure_core.files import atomic_path

MAIN = "notebooks/02_unlearning.ipynb"


@dataclass(frozen=True)
class Entry:
    """A figure's line in `figures/index.yaml`: where it comes from and what it claims."""

    notebook: str
    paper: str
    caption: str


ENTRIES = {
    "faces": Entry(
        MAIN,
        "ours",
        "SynthFaces, the data set the study carries: drawn by code, nobody's. A row is a person; "
        "the captures differ in pose, light, expression, age, glasses, occlusion and quality.",
    ),
    "score_distributions": Entry(
        MAIN,
        "the forgetting that the paper's score summarises",
        "Cosine similarity of genuine (solid) and impostor (dashed) pairs. Unlearning pushes the "
        "two into each other for forgotten people and leaves retained people as they were; the "
        "oracle, which never saw the forgotten, still tells them apart. SynthFaces, profile quick, "
        "all seeds pooled.",
    ),
    "measures": Entry(
        MAIN,
        "the comparison of before and after, with the membership recall",
        "The student (after) is far less able than the oracle to recognise forgotten people, and "
        "loses little on retained and unseen people. Large: mean over seeds; small: each seed. "
        "SynthFaces, profile quick.",
    ),
    "roc": Entry(
        MAIN,
        "ours",
        "True against false accept rate. After unlearning forgotten people are recognised less "
        "than by the oracle at every false accept rate; retained and unseen people lose little. "
        "SynthFaces, profile quick, all seeds pooled.",
    ),
    "loss_terms": Entry(
        MAIN,
        "the loss terms of the method",
        "Each loss term of cure_plus over the epochs, without its weight; a line a seed. "
        "SynthFaces, profile quick.",
    ),
}


def adopt(run: Path, folder: Path) -> None:
    """Copy a run's tables into `folder`; refuses (ValueError) a run that is not of SynthFaces."""
    record = json.loads((run / "run.json").read_text())
    if record["parameters"].get("dataset") != "synthfaces":
        raise ValueError(
            f"{run} is a run on {record['parameters'].get('dataset')!r}; only figures of "
            "SynthFaces are kept in figures/"
        )
    tables = [run / "figures" / f"{name}.csv" for name in figures.DRAWN]
    if missing := [path.name for path in tables if not path.is_file()]:
        raise FileNotFoundError(f"{run} has no table {', '.join(missing)}; nothing was taken in")
    for path in tables:
        with atomic_path(folder / path.name) as temporary:
            shutil.copyfile(path, temporary)


def redraw(folder: Path) -> list[Path]:
    """Draw every figure of `folder` anew from its CSV, and write the index; returns the PNGs."""
    drawn = []
    for name in ENTRIES:
        if name in figures.DRAWN:
            data = pd.read_csv(folder / f"{name}.csv")
            figures.save_figure(figures.draw(name, data), None, name, folder)
        else:
            figures.save_figure(
                figures.draw_faces(manifests.load("synthfaces")), None, name, folder
            )
        drawn.append(folder / f"{name}.png")
    index = {
        name: {
            "files": [f"figures/{name}.png", f"figures/{name}.svg"],
            "data": f"figures/{name}.csv" if name in figures.DRAWN else None,
            "notebook": entry.notebook,
            "paper": entry.paper,
            "caption": entry.caption,
        }
        for name, entry in ENTRIES.items()
    }
    with atomic_path(folder / "index.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(index, sort_keys=False, width=100))
    return drawn
