"""The comparison of methods: UES, UES on new images of the same people, membership recall."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cure_core.metrics.intervals import difference_interval
from cure_core.metrics.membership import MEANINGFUL_AUC
from cure_study.data.requests import PEOPLE_REQUESTS
from cure_study.experiments.comparison.methods import LABELS, competitors, in_order
from cure_study.experiments.comparison.tables import complete
from cure_study.figures import style

PEER = "#0072B2"
OUR_LOOKS = {
    "cure": ("#E69F00", "s"),
    "cure_plus": ("#D55E00", "o"),
    "cure_scatter": ("#CC79A7", "^"),
}  # colour, marker
REQUESTS = {
    "random_people": "random people",
    "hardest_people": "hardest people",
    "random_samples": "random images",
}
UES_LABEL = "UES (CURE): 0 nothing forgotten or all lost, 1 perfect"
Panels = list[tuple[Axes, pd.DataFrame]]  # each with its rows


@style.in_style
def draw_comparison(rows: pd.DataFrame) -> Figure:
    """UES of every method, a panel a data set and request: interval over seeds, each seed small.

    A dotted line is the oracle's mean over the same seeds.
    """
    oracle = rows.loc[rows.method == "oracle", ["dataset", "request", "seed", "ues"]]
    figure, methods, cases = _panels(competing(rows))
    for ax, case in cases:
        for y, seeds, colour in method_rows(case, methods):
            style.draw_method_row(ax, y, seeds.ues, "ues", colour)
        same = case[["dataset", "request", "seed"]].drop_duplicates().merge(oracle)
        ax.axvline(same.ues.mean(), color="black", lw=0.8, ls=":")
    _label_scores(figure, methods, Line2D([], [], color="black", lw=0.8, ls=":", label="oracle"))
    return figure


@style.in_style
def draw_new_images(rows: pd.DataFrame) -> Figure:
    """UES by the images that were unlearned and by new ones of the same people, joined.

    A method whose marks lie apart has forgotten images more than people. One without new images of
    some seed has no mean.
    """
    figure, methods, cases = _panels(competing(rows[rows.request.isin(PEOPLE_REQUESTS)]))
    for ax, case in cases:
        for y, seeds, colour in method_rows(case, methods):
            new = seeds.ues_fresh if seeds.ues_fresh.notna().all() else seeds.ues_fresh[:0]
            style.draw_method_row(ax, y, new, "ues", colour)
            ax.plot([new.mean(), seeds.ues.mean()], [y, y], color=colour, lw=0.6, ls=":")
            ax.plot(seeds.ues.mean(), y, "o", ms=4, color=colour, mfc="white")
    look: dict[str, Any] = {"color": style.GREY, "marker": "o", "ms": 4}
    new_images = Line2D([], [], lw=1.5, label="new images", **look)
    unlearned = Line2D([], [], ls="", mfc="white", label="images unlearned", **look)
    _label_scores(figure, methods, new_images, unlearned)
    return figure


@style.in_style
def draw_membership(rows: pd.DataFrame) -> Figure:
    """Membership recall on the forget set minus the oracle's: 0 is what retraining would give.

    Interval over seeds, each seed small. Hollow if the attack on the method or on the oracle is at
    chance, so that their recalls say nothing.
    """
    rows = rows.assign(difference=rows.membership_recall - rows.membership_recall_oracle)
    figure, methods, cases = _panels(competing(rows))
    for ax, case in cases:
        for y, seeds, colour in method_rows(case, methods):
            aucs = seeds[["membership_auc", "membership_auc_oracle"]].mean()
            style.draw_method_row(
                ax, y, seeds.difference, "membership_recall", colour,
                interval=difference_interval, filled=bool((aucs >= MEANINGFUL_AUC).all()),
            )  # fmt: skip
        ax.axvline(0, color="black", lw=0.8)
    figure.supxlabel(
        "membership recall minus the oracle's: above 0 remembered, below 0 over-forgotten"
    )
    look: dict[str, Any] = {"color": style.GREY, "marker": "o", "ms": 4, "mfc": "white", "ls": ""}
    method_legend(figure, methods, Line2D([], [], label="attack at chance", **look))
    return figure


def has_comparison(rows: pd.DataFrame) -> bool:
    """Whether any row is of CURE or a peer."""
    return not competing(rows).empty


def has_new_images(rows: pd.DataFrame) -> bool:
    """Whether any row of a request of people was evaluated on new images of them."""
    people = competing(rows[rows.request.isin(PEOPLE_REQUESTS)])
    return "ues_fresh" in people and bool(people.ues_fresh.notna().any())


def method_rows(
    case: pd.DataFrame, methods: Sequence[str]
) -> Iterator[tuple[int, pd.DataFrame, str]]:
    """The place, the rows and the colour of each method that was run; peers have one colour."""
    for y, method in enumerate(methods):
        seeds = case[case.method == method]
        if len(seeds):
            yield y, seeds, OUR_LOOKS[method][0] if method in OUR_LOOKS else PEER


def method_legend(figure: Figure, methods: Sequence[str], *extra: Line2D) -> None:
    """A legend of those of ours that are drawn, the peers, and `extra`."""
    ours = [
        (LABELS[method], colour) for method, (colour, _) in OUR_LOOKS.items() if method in methods
    ]
    lines = [
        Line2D([], [], color=colour, marker="o", ms=4, lw=1.5, label=label)
        for label, colour in [*ours, ("label-free peers", PEER)]
    ]
    style.shared_legend(figure, min(len(lines) + len(extra), 4), extra=[*lines, *extra])


def competing(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of CURE and its peers, on the requests and seeds that all have been run on."""
    return complete(rows, competitors(rows.method))


def _panels(rows: pd.DataFrame) -> tuple[Figure, list[str], Panels]:
    """A figure with a panel for each data set and request, and a row for each method."""
    methods, datasets = in_order(rows.method), style.datasets_in(rows)
    requests = [request for request in REQUESTS if request in set(rows.request)]
    size = (style.PAGE, len(datasets) * (0.19 * len(methods) + 0.4) + 0.5)
    figure, axes = style.panels(len(datasets), len(requests), size, sharex=True, sharey=True)
    style.label_rows(axes[0, 0], [LABELS[method] for method in methods], margin=0.6)
    cases = []
    for ax, (dataset, request) in zip(axes.flat, product(datasets, requests), strict=True):
        case = rows[(rows.dataset == dataset) & (rows.request == request)]
        ax.set_title(f"{style.DATASETS[dataset]}, {REQUESTS[request]}, n = {case.seed.nunique()}")
        if case.empty:
            style.note(ax, "not run")
        cases.append((ax, case))
    return figure, methods, cases


def _label_scores(figure: Figure, methods: Sequence[str], *extra: Line2D) -> None:
    figure.get_axes()[0].set_xlim(-0.03, 1.03)
    figure.supxlabel(UES_LABEL)
    method_legend(figure, methods, *extra)
