"""The report of an evaluation: a table to read, tidy rows to keep."""

import platform
from collections.abc import Sequence
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

# metric, set, what a reader sees
LINES = (
    ("ues", "all", "UES (CURE)"),
    ("forgetting", "all", "  F, forgetting"),
    ("stability", "all", "  S, stability"),
    ("accuracy", "forget", "accuracy, forget pairs"),
    ("accuracy_fresh", "forget", "accuracy, new pictures of forgotten people"),
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


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What `evaluate` found.

    `rows`: model, set, metric, value, low, high (95 %, over people), one row a measure;
    `scores`: model, set, genuine, score, one row a pair.
    """

    rows: pd.DataFrame
    scores: pd.DataFrame

    def value(self, metric: str, which: str = "forget", model: str = "after") -> float:
        """One measure; KeyError where it was not taken."""
        rows = self.rows
        found = rows[(rows.metric == metric) & (rows.set == which) & (rows.model == model)]
        if found.empty:
            raise KeyError(f"no {metric} of {which} for {model} in this report")
        return float(found.value.iloc[0])

    def accuracies(self, model: str) -> dict[str, float]:
        """Ten-fold accuracy of the sets "forget", "retain" and "test"."""
        return {s: self.value("accuracy", s, model) for s in ("forget", "retain", "test")}

    def ues(self, model: str = "after", kept: Sequence[str] = ("retain", "test")) -> UES:
        """The Unlearning Efficiency Score of a model against the teacher."""
        before, after = self.accuracies("before"), self.accuracies(model)
        return unlearning_efficiency_score(before, after, kept)

    def tidy(self, **context: str | float) -> pd.DataFrame:
        """Every measure, the derived ones too, one a row, with `context` and versions beside."""
        before = self.accuracies("before")
        present = [model for model in MODELS if model in set(self.rows.model)]
        derived = []
        for model in present:
            accuracy, ues = self.accuracies(model), self.ues(model)
            values = {"ues": ues.score, "forgetting": ues.forgetting, "stability": ues.stability}
            values["h_mean"] = h_mean(before, accuracy)
            if "oracle" in present:
                values["tow"] = tug_of_war(accuracy, self.accuracies("oracle"))
            known = set(self.rows.metric[self.rows.model == model])  # with intervals over people
            derived += [
                {"model": model, "set": "all", "metric": name, "value": value}
                for name, value in values.items()
                if name not in known
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

    One seed: the value with its interval over people, where it has one. Several seeds: the mean
    with a 95 % interval over seeds (`seed_interval`), and each seed's value where they are few. A
    membership recall is marked with a `?` where the attack's AUC is too low for it to say anything,
    and with a dagger where it, or the AUC, is so low that the forgotten stand out by it; a last
    line says what the marks mean.
    """
    means = tidy[tidy.set == "forget"].groupby(["metric", "model"]).value.mean()
    several = tidy.seed.nunique() > 1
    table: dict[str, dict[str, str]] = {}
    for metric, which, label in LINES:
        lines = tidy[(tidy.metric == metric) & (tidy.set == which)]
        for model, own in lines.groupby("model"):
            if several:
                text = seeds_text(own.value, metric)
            else:
                text = Interval(*own[["value", "low", "high"]].iloc[0]).text()
            text += marked(metric, str(model), means)
            table.setdefault(label, {})[str(model)] = text
    cells = [cell for line in table.values() for cell in line.values()]
    for mark, meaning in MARKS.items():
        if any(cell.endswith(mark) for cell in cells):
            table[meaning] = {}
    models = [model for model in MODELS if model in set(tidy.model)]
    return pd.DataFrame.from_dict(table, orient="index", columns=models).fillna("")


def marked(metric: str, model: str, means: pd.Series) -> str:
    """What a reader must know of a membership recall or AUC, from the `means` of a model."""
    auc = means.get(("membership_auc", model), np.nan)
    if metric == "membership_auc" and auc < DETECTABLE_AUC:
        return MARK
    if metric != "membership_recall":
        return ""
    if auc < MEANINGFUL_AUC:
        return UNCERTAIN
    oracle = means.get((metric, "oracle"), np.nan)
    return MARK if detectable(means[metric, model], oracle) else ""


def save_table(table: pd.DataFrame, path: str | Path) -> Path:
    """Write a table as CSV, whole or not at all; returns the path."""
    path = Path(path)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)
    return path
