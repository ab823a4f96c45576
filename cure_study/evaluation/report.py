"""The report of an evaluation: a table to read, tidy rows to save."""

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from cure_core import __version__
from cure_core.files import atomic_path
from cure_core.metrics.intervals import Interval, seeds_text
from cure_core.metrics.membership import DETECTABLE_AUC, LEGEND, MARK, MEANINGFUL_AUC, detectable
from cure_core.metrics.oracle_gap import tug_of_war
from cure_core.metrics.ues import UES, h_mean, unlearning_efficiency_score

MODELS = ("before", "after", "oracle")
UNCERTAIN = " ?"
MARKS = {UNCERTAIN: "?: the attack is at chance, its recall means nothing", MARK: LEGEND}

# metric, set, label
LINES = (
    ("ues", "all", "UES (CURE)"),
    ("forgetting", "all", "  F, forgetting"),
    ("stability", "all", "  S, stability"),
    ("accuracy", "forget", "accuracy, forget pairs"),
    ("accuracy_fresh", "forget", "accuracy, new images of forgotten people"),
    ("accuracy", "retain", "accuracy, retain pairs"),
    ("accuracy", "test", "accuracy, unseen people"),
    ("tar", "forget", "TAR@FAR=1e-3, forget"),
    ("tar_cross", "forget", "TAR@FAR=1e-3, forget, impostors across sets"),
    ("tar", "retain", "TAR@FAR=1e-3, retain"),
    ("tar_cross", "retain", "TAR@FAR=1e-3, retain, impostors across sets"),
    ("tar", "test", "TAR@FAR=1e-3, unseen people"),
    ("eer", "forget", "EER, forget"),
    ("eer", "retain", "EER, retain"),
    ("eer", "test", "EER, unseen people"),
    ("accuracy_fixed", "forget", "accuracy at the teacher's threshold, forget"),
    ("membership_recall", "forget", "membership recall, forget"),
    ("membership_auc", "forget", "membership AUC"),
    ("membership_tpr_at_1pct_fpr", "forget", "membership TPR at 1 % FPR"),
    ("rank1_old_gallery", "forget", "rank-1 of forgotten people, old gallery"),
    ("rank1_new_gallery", "forget", "rank-1 of forgotten people, re-enrolled"),
    ("h_mean", "all", "H-mean (GS-LoRA)"),
    ("tow", "all", "ToW against the oracle (RUM)"),
)
KEY_LINES = (
    ("ues", "all"),
    *(("accuracy", which) for which in ("forget", "retain", "test")),
    *(("tar", "forget"), ("membership_recall", "forget")),
    *(("rank1_old_gallery", "forget"), ("rank1_new_gallery", "forget")),
)  # metric and set


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """The results of `evaluate`.

    `rows`: model, set, metric, value, low, high (95 %, over people), one row a measure;
    `scores`: model, set, genuine, score, one row a pair.
    """

    rows: pd.DataFrame
    scores: pd.DataFrame

    def value(self, metric: str, which: str = "forget", model: str = "after") -> float:
        """One measure; KeyError if it is not in the report."""
        rows = self.rows
        values = rows.value[(rows.metric == metric) & (rows.set == which) & (rows.model == model)]
        if values.empty:
            raise KeyError(f"no {metric} of {which} for {model} in this report")
        return float(values.iloc[0])

    def accuracies(self, model: str) -> dict[str, float]:
        """Ten-fold accuracy of the sets "forget", "retain" and "test"."""
        return {s: self.value("accuracy", s, model) for s in ("forget", "retain", "test")}

    def ues(self, model: str = "after", kept: Sequence[str] = ("retain", "test")) -> UES:
        """The Unlearning Efficiency Score of a model against the teacher."""
        before, after = self.accuracies("before"), self.accuracies(model)
        return unlearning_efficiency_score(before, after, kept)

    def tidy(self, **context: str | float) -> pd.DataFrame:
        """Every measure, the derived ones too, one a row, with `context` and versions."""
        before = self.accuracies("before")
        models = [model for model in MODELS if model in set(self.rows.model)]
        derived = []
        for model in models:
            accuracy, ues = self.accuracies(model), self.ues(model)
            values = {
                "ues": ues.score,
                "forgetting": ues.forgetting,
                "stability": ues.stability,
                "h_mean": h_mean(before, accuracy),
            }
            if "oracle" in models:
                values["tow"] = tug_of_war(accuracy, self.accuracies("oracle"))
            measured = set(self.rows.metric[self.rows.model == model])  # with intervals over people
            derived += [
                {"model": model, "set": "all", "metric": metric, "value": value}
                for metric, value in values.items()
                if metric not in measured
            ]
        rows = pd.concat([self.rows, pd.DataFrame(derived)], ignore_index=True)
        versions: dict[str, str | float] = {
            "cure_core": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
        return rows.assign(**context, **versions)

    def summary(self) -> pd.DataFrame:
        """The table of the study: a line a measure, a column a model."""
        return summarise(self.tidy(seed=0))

    def __repr__(self) -> str:
        return self.summary().to_string(na_rep="")

    def _repr_html_(self) -> str:
        return self.summary().to_html(na_rep="", border=0)


def summarise(tidy: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows of one seed or several as a table of text, a line a measure, a column a model.

    Each cell as `cell` writes it; the last lines explain its marks.
    """
    means = tidy[tidy.set == "forget"].groupby(["metric", "model"]).value.mean()
    table: dict[str, dict[str, str]] = {}
    for metric, which, label in LINES:
        rows = tidy[(tidy.metric == metric) & (tidy.set == which)]
        for model, measured in rows.groupby("model"):
            text = cell(measured, metric, str(model), means)
            table.setdefault(label, {})[str(model)] = text
    for meaning in legends(text for line in table.values() for text in line.values()):
        table[meaning] = {}
    models = [model for model in MODELS if model in set(tidy.model)]
    return pd.DataFrame.from_dict(table, orient="index", columns=models).fillna("")


def key_lines(table: pd.DataFrame) -> pd.DataFrame:
    """The lines of `KEY_LINES` of a saved `summarise`, for a terminal; of others the first lines.

    A cell is the mean with its interval and mark, without the values of the seeds.
    """
    labels = [label for metric, which, label in LINES if (metric, which) in KEY_LINES]
    first = table.columns[0]
    key = table[table[first].isin(labels)]
    lines = (table.head(len(labels)) if key.empty else key).set_index(first).rename_axis(None)
    return lines.astype(str).replace(r";[^?†]*(?=( \?| †)?$)", "", regex=True)


def cell(rows: pd.DataFrame, metric: str, model: str, means: pd.Series) -> str:
    """A measure of a model as text, from its rows of one seed or several, with its mark.

    One seed: the value with its interval over people, if it has one. Several seeds: the mean with
    a 95 % interval over seeds (`seed_interval`), and each seed's value if they are few. `means` as
    in `marked`.
    """
    if len(rows) == 1:
        text = Interval(*rows[["value", "low", "high"]].iloc[0]).text()
    else:
        values = rows.value.dropna()
        text = seeds_text(values, metric) if len(values) else ""
    return text + marked(metric, model, means)


def marked(metric: str, model: str, means: pd.Series) -> str:
    """The mark of an attack's AUC or recall, from the `means` by metric and model; else nothing.

    A dagger if the AUC is so far below 1/2, or the recall so far below the oracle's, that the
    forgotten stand out by it; a `?` if the AUC is at chance, so that the recall means nothing.
    """
    if not metric.endswith(("auc", "recall")):
        return ""
    auc, oracle_auc = (
        means.get((metric.replace("recall", "auc"), name), np.nan) for name in (model, "oracle")
    )
    if metric.endswith("auc"):
        return MARK if auc < DETECTABLE_AUC else ""
    if at_chance(auc):
        return UNCERTAIN
    oracle_recall = means.get((metric, "oracle"), np.nan)
    below = detectable(means[metric, model], oracle_recall) and not at_chance(oracle_auc)
    return MARK if below else ""


def at_chance(auc: float) -> bool:
    """Whether an attack is too near an AUC of 1/2 for its recall to mean anything; not if NaN."""
    return DETECTABLE_AUC <= auc < MEANINGFUL_AUC


def legends(cells: Iterable[str]) -> list[str]:
    """What the marks mean that these cells end in."""
    cells = list(cells)
    return [meaning for mark, meaning in MARKS.items() if any(c.endswith(mark) for c in cells)]


def save_table(table: pd.DataFrame, path: str | Path) -> Path:
    """Write a table as CSV, whole or not at all; returns the path."""
    path = Path(path)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)
    return path
