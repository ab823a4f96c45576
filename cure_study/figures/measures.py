"""The measures of a study for teacher, student and oracle, and the loss terms behind them."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cure_study.figures import style

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

# a measure of the table: its label in the figure
FORGOTTEN = {
    "accuracy, forgotten": "accuracy",
    "TAR@FAR=1e-3, forgotten": "TAR@FAR=1e-3",
    "rank-1, old gallery": "rank-1, old gallery",
    "rank-1, re-enrolled": "rank-1, re-enrolled",
    "membership recall": "membership recall",
}
KEPT = {
    "accuracy, retained": "accuracy, retained",
    "accuracy, unseen": "accuracy, unseen",
    "TAR@FAR=1e-3, retained": "TAR@FAR=1e-3, retained",
    "TAR@FAR=1e-3, unseen": "TAR@FAR=1e-3, unseen",
}


def measure_table(tidy: pd.DataFrame) -> pd.DataFrame:
    """The charted measures from tidy results: measure, model, seed, value."""
    rows = [
        tidy[(tidy.metric == metric) & (tidy.set == which)].assign(measure=label)
        for metric, which, label in MEASURES
    ]
    return pd.concat(rows, ignore_index=True)[["measure", "model", "seed", "value"]]


@style.in_style
def draw_measures(data: pd.DataFrame) -> Figure:
    """Before, after and oracle: the mean over seeds large, each seed small.

    What should fall at the left, what should stay at the right.
    """
    panels = {"forgotten people": FORGOTTEN, "everyone else": KEPT}
    figure, axes = style.panels(1, 2, (style.PAGE, 2.4), sharex=True)
    for ax, (title, names) in zip(axes[0], panels.items(), strict=True):
        labels = [names[name] for name in names if name in set(data.measure)]
        rows = data[data.measure.isin(names)]
        rows = rows.assign(measure=rows.measure.map(names))
        style.draw_model_rows(ax, rows, labels, "measure", seeds=data.seed.nunique() > 1)
        style.label_rows(ax, labels)
        ax.set(title=title, xlim=(-0.03, 1.03))
        for row, label in enumerate(labels):
            if label.startswith("accuracy"):
                ax.plot([0.5, 0.5], [row - 0.4, row + 0.4], color="0.3", lw=0.8, ls=":")
    figure.supxlabel("share; dotted: chance")
    style.shared_legend(figure, 3, [style.MODEL_NAMES[model] for model in style.COLOURS])
    return figure


@style.in_style
def draw_losses(history: pd.DataFrame) -> Figure:
    """Every loss term over the epochs, unweighted, a panel a term, a thin line a seed."""
    terms = [name for name in history.columns if name not in ("epoch", "seed")]
    columns = min(4, len(terms))
    rows = -(-len(terms) // columns)
    figure, axes = style.panels(rows, columns, (style.PAGE, 1.6 * rows), sharex=True)
    for i, (ax, name) in enumerate(zip(axes.flat, terms, strict=False)):
        for _, seed in history.groupby("seed"):
            ax.plot(seed.epoch, seed[name], color="#0072B2", lw=1, marker=".", ms=3, alpha=0.7)
        lowest = i + columns >= len(terms)
        ax.tick_params(labelbottom=lowest)
        ax.set(title=name.replace("_", " "), xlabel="epoch" if lowest else "", ylabel="")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    for ax in axes.flat[len(terms) :]:
        ax.set_visible(False)
    figure.supylabel("mean over the epoch")
    return figure
