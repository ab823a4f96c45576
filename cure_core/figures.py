"""Every figure of the study: drawn from a tidy table, returned as an object to restyle."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from cure_core.faces.faceset import FaceSet
from cure_core.files import atomic_path
from cure_core.metrics.verification import roc
from cure_core.report import save_table

COLUMN, PAGE = 3.5, 7.2  # widths in inches
COLOURS = {"before": "#0072B2", "after": "#D55E00", "oracle": "#009E73"}  # Okabe and Ito
DASHES = {"before": "", "after": (4, 1.5), "oracle": (1, 1)}
MARKERS = {"before": "o", "after": "s", "oracle": "D"}
SET_NAMES = {"forget": "forgotten people", "retain": "retained people", "test": "unseen people"}
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.5,
    "figure.dpi": 110,
    "savefig.dpi": 300,
    "svg.hashsalt": "cure",
    "svg.fonttype": "none",
}


class Picture(Figure):
    """A figure that a notebook shows without pyplot, in the study's style; saved at `print_dpi`."""

    print_dpi = 300.0

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with mpl.rc_context(STYLE):
            self.savefig(buffer, format="png", dpi="figure")
        return buffer.getvalue()


def score_histogram(scores: pd.DataFrame, bins: int = 40) -> pd.DataFrame:
    """Similarity scores as shares a bin: model, set, pair, score (the bin's middle), share."""
    low = np.floor(10 * scores.score.min()) / 10
    edges = np.linspace(low, 1, bins + 1)
    rows = []
    for (model, which, genuine), own in scores.groupby(["model", "set", "genuine"]):
        counts, _ = np.histogram(own.score.clip(low, 1), edges)
        rows.append(
            pd.DataFrame(
                {
                    "model": model,
                    "set": which,
                    "pair": "genuine" if genuine else "impostor",
                    "score": (edges[:-1] + edges[1:]) / 2,
                    "share": counts / counts.sum(),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def draw_scores(data: pd.DataFrame) -> Figure:
    """Genuine and impostor scores of forgotten and retained people, a column a model."""
    models = [model for model in COLOURS if model in set(data.model)]
    kinds = {"genuine": "#0072B2", "impostor": "#E69F00"}
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 3.4), layout="constrained")
        axes = figure.subplots(2, len(models), sharex=True, sharey="row", squeeze=False)
        for i, which in enumerate(("forget", "retain")):
            for j, model in enumerate(models):
                ax = axes[i, j]
                own = data[(data.set == which) & (data.model == model)]
                for kind, colour in kinds.items():
                    line = own[own.pair == kind]
                    ax.fill_between(
                        line.score, line.share, step="mid", alpha=0.35, color=colour, lw=0
                    )
                    style = "-" if kind == "genuine" else "--"
                    ax.step(line.score, line.share, style, where="mid", color=colour, lw=1)
                ax.set_title(f"{model}: {SET_NAMES[which]}")
                if i == 1:
                    ax.set_xlabel("cosine similarity")
                if j == 0:
                    ax.set_ylabel("share of pairs")
        handles = [
            mpl.lines.Line2D(
                [], [], color=colour, ls="-" if kind == "genuine" else "--", label=kind
            )
            for kind, colour in kinds.items()
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    return figure


def roc_table(scores: pd.DataFrame, points: int = 150) -> pd.DataFrame:
    """ROC curves: model, set, far, tar; thinned to FARs evenly spaced in log, each exact."""
    rows = []
    for (model, which), own in scores.groupby(["model", "set"]):
        curve = roc(own.score[own.genuine], own.score[~own.genuine])
        grid = np.geomspace(1 / (~own.genuine).sum(), 1, points)
        at = np.searchsorted(curve.far.to_numpy(), grid, side="right") - 1
        part = curve.iloc[np.unique(at)].assign(model=str(model), set=str(which))
        rows.append(part[["model", "set", "far", "tar"]])
    return pd.concat(rows, ignore_index=True)


def draw_roc(data: pd.DataFrame) -> Figure:
    """True accept rate against false accept rate, a panel a set, a line a model."""
    models = [model for model in COLOURS if model in set(data.model)]
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 2.5), layout="constrained")
        axes = figure.subplots(1, 3, sharey=True)
        for ax, which in zip(axes, SET_NAMES, strict=True):
            own = data[(data.set == which) & (data.far > 0)]
            sns.lineplot(
                own, x="far", y="tar", hue="model", style="model", hue_order=models,
                style_order=models, palette=COLOURS, dashes=DASHES, ax=ax, lw=1.4,
                estimator=None, legend=which == "test",
            )  # fmt: skip
            chance = np.geomspace(1e-4, 1)
            ax.plot(chance, chance, color="0.5", lw=0.8, label="chance")
            ax.set(xscale="log", ylim=(-0.02, 1.02), xlim=(6e-4, 1.1))
            ax.set_title(SET_NAMES[which])
            ax.set_xlabel("false accept rate")
            ax.set_ylabel("true accept rate")
        handles, labels = axes[-1].get_legend_handles_labels()
        axes[-1].get_legend().remove()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure


def draw_losses(history: pd.DataFrame) -> Figure:
    """Every loss term over the epochs, unweighted, a panel a term, a thin line a seed."""
    terms = [name for name in history.columns if name not in ("epoch", "seed")]
    columns = min(4, len(terms))
    rows = -(-len(terms) // columns)
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 1.6 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
        for ax, name in zip(axes.flat, terms, strict=False):
            for _, own in history.groupby("seed"):
                ax.plot(own.epoch, own[name], color="#0072B2", lw=1, marker=".", ms=3, alpha=0.7)
            ax.set_title(name.replace("_", " "))
            ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True, nbins=5))
        for ax in axes.flat[len(terms) :]:
            ax.set_visible(False)
        for i, ax in enumerate(axes.flat[: len(terms)]):
            ax.tick_params(labelbottom=i + columns >= len(terms))
            ax.set_xlabel("epoch" if i + columns >= len(terms) else "")
        figure.supylabel("mean over the epoch", fontsize=8)
    return figure


MEASURES = (
    ("accuracy", "forget", "accuracy, forgotten"),
    ("accuracy", "retain", "accuracy, retained"),
    ("accuracy", "test", "accuracy, unseen"),
    ("tar", "forget", "TAR@FAR=1e-3, forgotten"),
    ("tar", "retain", "TAR@FAR=1e-3, retained"),
    ("tar", "test", "TAR@FAR=1e-3, unseen"),
    ("membership_recall", "forget", "membership recall"),
    ("rank1_old_gallery", "forget", "rank-1, old gallery"),
    ("rank1_new_gallery", "forget", "rank-1, re-enrolled"),
)


def measure_table(tidy: pd.DataFrame) -> pd.DataFrame:
    """The charted measures from tidy results: measure, model, seed, value."""
    rows = [
        tidy[(tidy.metric == metric) & (tidy.set == which)].assign(measure=label)
        for metric, which, label in MEASURES
    ]
    return pd.concat(rows, ignore_index=True)[["measure", "model", "seed", "value"]]


def draw_measures(data: pd.DataFrame) -> Figure:
    """Before, after and oracle side by side: the mean over seeds large, each seed small."""
    labels = list(dict.fromkeys(data.measure))
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE * 0.75, 0.32 * len(labels) + 0.9), layout="constrained")
        ax = figure.subplots()
        for offset, model in zip((-0.22, 0, 0.22), COLOURS, strict=True):
            own = data[data.model == model]
            if own.empty:
                continue
            y = own.measure.map(labels.index) + offset
            look: dict[str, Any] = {"color": COLOURS[model], "marker": MARKERS[model], "ls": ""}
            if data.seed.nunique() > 1:
                ax.plot(own.value, y, ms=2.5, alpha=0.45, **look)
            mean = own.groupby("measure").value.mean()
            place = mean.index.map(labels.index) + offset
            ax.plot(mean, place, ms=5, label=model, **look)
        ax.set_yticks(range(len(labels)), labels)
        ax.set(ylim=(len(labels) - 0.5, -0.5), xlim=(-0.03, 1.03))
        ax.set_xlabel("share (0.5 is chance for an accuracy)")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.1), ncols=3, frameon=False)
    return figure


def draw_faces(faces: FaceSet, people: int = 6, captures: int = 9) -> Figure:
    """A contact sheet of drawn faces, a row a person. Raises ValueError for any other data set."""
    if faces.name != "synthfaces":
        raise ValueError(f"only SynthFaces are shown in figures, not {faces.name!r}")
    shown = [np.flatnonzero(faces.identities == p)[:captures] for p in range(people)]
    sheet = np.concatenate([np.concatenate(list(faces.images[row]), axis=1) for row in shown])
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, PAGE * sheet.shape[0] / sheet.shape[1]))
        figure.print_dpi = sheet.shape[1] / PAGE  # a pixel of the sheet is a pixel of the file
        ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        ax.imshow(sheet, interpolation="none")
        ax.set_axis_off()
    return figure


DRAWN: dict[str, Callable[[pd.DataFrame], Figure]] = {
    "score_distributions": draw_scores,
    "measures": draw_measures,
    "roc": draw_roc,
    "loss_terms": draw_losses,
}


def draw(name: str, data: pd.DataFrame) -> Figure:
    """The named figure from its table; the names are the keys of `DRAWN`."""
    return DRAWN[name](data)


def save_figure(figure: Figure, data: pd.DataFrame | None, name: str, folder: str | Path) -> None:
    """Write a figure as PNG and SVG with the CSV it was drawn from, each whole or not at all."""
    folder = Path(folder)
    if data is not None:
        save_table(data, folder / f"{name}.csv")
    with mpl.rc_context(STYLE):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # a second pass would move everything by a hair
        for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
            with atomic_path(folder / f"{name}{suffix}") as temporary:
                dpi = getattr(figure, "print_dpi", Picture.print_dpi)
                figure.savefig(temporary, metadata=metadata, dpi=dpi)
