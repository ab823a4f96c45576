"""The comparison drawn: who forgets best, people or pictures, and who over-forgets."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cure_core.metrics.intervals import Interval, difference_interval
from cure_study.data.requests import PEOPLE_REQUESTS
from cure_study.experiments.comparison.methods import kind
from cure_study.experiments.comparison.tables import complete, summary
from cure_study.figures.style import PAGE, STYLE, Picture, legend_keys, note, note_row

PEER = "#0072B2"
OURS = {
    "cure": ("cure, the paper's", "#E69F00", "s"),
    "cure_plus": ("cure_plus, ours", "#D55E00", "o"),
    "cure_scatter": ("cure_scatter, ours", "#CC79A7", "^"),
}  # label, colour, marker
FRONTIER_COLUMNS = 5
REQUESTS = {
    "random_people": "random people",
    "hardest_people": "hardest people",
    "random_samples": "random samples",
}


def draw_comparison(rows: pd.DataFrame) -> Figure:
    """UES of every method, a panel a data set and request: interval over seeds, each seed small.

    A dotted line is the oracle's mean over the seeds drawn.
    """
    oracle = rows[rows.method == "oracle"]
    rows = _competing(rows)

    def panel(ax: Axes, dataset: str, request: str, methods: Sequence[str]) -> None:
        seeds = _of(rows, dataset, request)
        for method in methods:
            each = seeds[seeds.method == method].ues
            y = np.full(len(each), methods.index(method) + 0.28)
            ax.plot(each, y, ".", ms=2.5, color=method_colour(method), alpha=0.6)
        retrained = _of(oracle, dataset, request)
        retrained = retrained[retrained.seed.isin(seeds.seed)]
        ax.axvline(retrained.ues.mean(), color="black", lw=0.8, ls=":")

    line = Line2D([], [], color="black", lw=0.8, ls=":", label="oracle")
    return _scores(summary(rows), "ues", panel, line)


def draw_new_pictures(rows: pd.DataFrame) -> Figure:
    """UES by the pictures that were unlearned and by new ones of the same people, joined.

    A method whose marks lie apart has forgotten pictures more than people.
    """
    table = summary(_competing(rows[rows.request.isin(PEOPLE_REQUESTS)]))

    def panel(ax: Axes, dataset: str, request: str, methods: Sequence[str]) -> None:
        for row in _of(table, dataset, request).to_dict("records"):
            y, colour = methods.index(row["method"]), method_colour(row["method"])
            ax.plot([row["fresh"], row["ues"]], [y, y], color=colour, lw=0.6, ls=":")
            ax.plot(row["ues"], y, "o", ms=4, color=colour, mfc="white")

    style: dict[str, Any] = {"color": "#595959", "marker": "o", "ms": 4}
    fresh = Line2D([], [], lw=1.5, label="new pictures", **style)
    seen = Line2D([], [], ls="", mfc="white", label="pictures unlearned", **style)
    return _scores(table, "fresh", panel, fresh, seen)


def _scores(
    table: pd.DataFrame,
    name: str,
    panel: Callable[[Axes, str, str, Sequence[str]], None],
    *more: Line2D,
) -> Figure:
    """A score of a summary with its intervals, and what `panel` adds for a data set and request."""
    methods = _by_score(table, name)
    datasets, requests = _present(table)
    with mpl.rc_context(STYLE):
        figure, axes = _panels(datasets, requests, methods)
        for line, dataset in zip(axes, datasets, strict=True):
            for ax, request in zip(line, requests, strict=True):
                own = _of(table, dataset, request)
                _intervals(ax, own, methods, name)
                panel(ax, dataset, request, methods)
                _title(ax, dataset, request, int(own.seeds.max()) if len(own) else 0)
        axes[0, 0].set_xlim(-0.03, 1.03)
        figure.supxlabel("UES (CURE): 0 nothing forgotten or all lost, 1 perfect", fontsize=8)
        method_legend(figure, methods, *more)
    return figure


def has_comparison(rows: pd.DataFrame) -> bool:
    """Whether any row is of CURE or a peer."""
    return not _competing(rows).empty


def has_new_pictures(rows: pd.DataFrame) -> bool:
    """Whether any row of a request of people was judged on new pictures of theirs."""
    people = _competing(rows[rows.request.isin(PEOPLE_REQUESTS)])
    return "ues_fresh" in people and bool(people.ues_fresh.notna().any())


def draw_membership(rows: pd.DataFrame) -> Figure:
    """Membership recall on the forget set less the oracle's: 0 is what retraining would give.

    Interval over seeds, each seed small. Hollow where the attack tells nobody apart, by the method
    or by the oracle, so that their recalls say nothing.
    """
    rows = rows.assign(past=rows.membership_recall - rows.membership_recall_oracle)
    rows = _competing(rows)
    table = summary(rows)
    methods = _by_score(table)
    datasets, requests = _present(table)
    with mpl.rc_context(STYLE):
        figure, axes = _panels(datasets, requests, methods)
        for line, dataset in zip(axes, datasets, strict=True):
            for ax, request in zip(line, requests, strict=True):
                seeds = _of(rows, dataset, request)
                meaningful = _of(table, dataset, request).set_index("method").meaningful
                for method in meaningful.index:
                    each = seeds[seeds.method == method].past.dropna()
                    if each.empty:
                        note_row(ax, methods.index(method))
                        continue
                    y = methods.index(method)
                    colour = method_colour(method)
                    ax.plot(each, np.full(len(each), y + 0.25), ".", ms=3, color=colour, alpha=0.6)
                    found = difference_interval(each, "membership_recall")
                    mark_interval(ax, y, found, colour, colour if meaningful[method] else "white")
                ax.axvline(0, color="black", lw=0.8)
                _title(ax, dataset, request, seeds.seed.nunique())
        figure.supxlabel(
            "membership recall less the oracle's: right of 0 remembered, left over-forgotten",
            fontsize=8,
        )
        hollow = Line2D(
            [], [], ls="", marker="o", ms=4, color="#595959", mfc="white", label="attack at chance"
        )
        method_legend(figure, methods, hollow)
    return figure


def draw_frontier(rows: pd.DataFrame) -> Figure:
    """Forgetting against retention, each method a curve over its strength, a panel a peer.

    Peers are in the order of their tuned UES on the first data set, best first.

    The curves of CURE, cure_plus and cure_scatter stand in every panel; a marker grows with the
    strength, and that of the tuned strength has a black edge; contours are of equal UES. Means are
    over the seeds that every point of a data set has.
    """
    rows = on_common_seeds(rows).sort_values("dataset", ascending=False, kind="stable")
    datasets = list(dict.fromkeys(rows.dataset))
    tuned = rows.assign(ues=rows.ues.where(rows.factor == 1))
    peers = [m for m in _by_score(tuned) if kind(m) == "peer"]
    lines = -(-len(peers) // FRONTIER_COLUMNS)
    with mpl.rc_context(STYLE):
        height = 1.75 * lines * len(datasets) + 0.5
        figure = Picture(figsize=(PAGE, height), layout="constrained")
        parts = figure.subfigures(len(datasets), 1, squeeze=False)[:, 0]
        for part, dataset in zip(parts, datasets, strict=True):
            own = rows[rows.dataset == dataset]
            axes = part.subplots(lines, FRONTIER_COLUMNS, sharex=True, sharey=True, squeeze=False)
            means = own.groupby(["method", "factor"])[["forgetting", "stability"]].mean()
            for ax, peer in zip(axes.flat, peers, strict=False):
                _curves(ax, means, peer)
                if peer not in means.index:
                    note(ax, "not run")
            for ax in axes.flat[len(peers) :]:
                ax.set_visible(False)
            axes[0, 0].set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
            n = own.seed.nunique()
            part.suptitle(f"{dataset}, random people, n = {n}", fontsize=8, weight="bold")
            part.supxlabel("F, forgetting", fontsize=8)
            part.supylabel("S, stability", fontsize=8)
        keys = legend_keys(figure.get_axes())
        keys["as tuned"] = Line2D([], [], ls="", marker="o", ms=4, color="#BBBBBB", mec="black")
        keys["UES 0.2, 0.4, 0.6, 0.8"] = Line2D([], [], color="#BBBBBB", lw=0.8)
        figure.legend(
            keys.values(), keys.keys(), loc="outside upper center", ncols=3, frameon=False
        )
    return figure


def has_frontier(rows: pd.DataFrame) -> bool:
    """Whether any curve is a peer's, which has a panel."""
    return bool(rows.method.map(kind).eq("peer").any())


def _curves(ax: Axes, means: pd.DataFrame, peer: str) -> None:
    grid = np.linspace(0, 1, 101)
    ax.contour(
        grid, grid, np.outer(grid, grid), levels=[0.2, 0.4, 0.6, 0.8],
        colors="#BBBBBB", linewidths=0.5,
    )  # fmt: skip
    of_peer = ("the peer of the panel", PEER, "D")
    for method, (label, colour, marker) in {**OURS, peer: of_peer}.items():
        if method in means.index:
            own = means.loc[method].sort_index()
            style: dict[str, Any] = {"color": colour, "marker": marker}
            ax.plot(own.forgetting, own.stability, lw=1, ms=3, label=label, **style)
            for size, (factor, point) in enumerate(own.iterrows()):
                edge = "black" if factor == 1 else "none"
                ax.plot(point.forgetting, point.stability, ms=2 + size, mec=edge, **style)
    ax.set_title(peer)


def on_common_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the seeds that have the most points of their data set: usually all of them."""
    points = rows.groupby(["dataset", "seed"]).method.transform("size")
    return rows[points == points.groupby(rows.dataset).transform("max")]


def _competing(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of CURE and its peers, on the requests and seeds that all have been run on."""
    methods = [m for m in dict.fromkeys(rows.method) if kind(m) in ("ours", "peer")]
    return complete(rows, methods)


def _by_score(table: pd.DataFrame, name: str = "ues") -> list[str]:
    """The methods by their mean score on the first data set, best first; then all others."""
    first = table[table.dataset == table.dataset.iloc[0]]
    ranked = (part.groupby("method")[name].mean().sort_values(ascending=False).index
              for part in (first, table))  # fmt: skip
    return list(dict.fromkeys([str(method) for part in ranked for method in part]))


def _present(table: pd.DataFrame) -> tuple[list[str], list[str]]:
    known = set(table.request)
    return list(dict.fromkeys(table.dataset)), [r for r in REQUESTS if r in known]


def _of(rows: pd.DataFrame, dataset: str, request: str) -> pd.DataFrame:
    return rows[(rows.dataset == dataset) & (rows.request == request)]


def _intervals(ax: Axes, table: pd.DataFrame, methods: Sequence[str], name: str) -> None:
    for own in table.to_dict("records"):
        y, colour = methods.index(own["method"]), method_colour(own["method"])
        interval = Interval(own[name], own[f"{name}_low"], own[f"{name}_high"])
        mark_interval(ax, y, interval, colour, colour)


def mark_interval(ax: Axes, y: int, interval: Interval, colour: str, filling: str) -> None:
    """A mean with its interval, at the height of its method."""
    value, low, high = interval
    if np.isnan(value):
        note_row(ax, y)
        return
    ax.plot([low, high], [y, y], color=colour, lw=1.5, alpha=0.7)
    ax.plot(value, y, "o", ms=4, color=colour, mfc=filling)


def _panels(
    datasets: Sequence[str], requests: Sequence[str], methods: Sequence[str]
) -> tuple[Figure, np.ndarray]:
    """A figure with a line of panels a data set, a panel a request and a row a method."""
    height = len(datasets) * (0.19 * len(methods) + 0.4) + 0.5
    figure = Picture(figsize=(PAGE, height), layout="constrained")
    axes = figure.subplots(len(datasets), len(requests), sharex=True, sharey=True, squeeze=False)
    axes[0, 0].set_yticks(range(len(methods)), methods)
    axes[0, 0].set_ylim(len(methods) - 0.4, -0.6)
    return figure, axes


def _title(ax: Axes, dataset: str, request: str, n: int) -> None:
    """What a panel shows, over how many seeds; without any it says so in its middle."""
    ax.set_title(f"{dataset}, {REQUESTS[request]}, n = {n}")
    if n == 0:
        note(ax, "not run")


def method_colour(method: str) -> str:
    """Ours have a colour each, peers one."""
    return OURS[method][1] if method in OURS else PEER


def method_legend(figure: Figure, drawn: Sequence[str], *more: Line2D) -> None:
    """Above the panels: who of ours is `drawn`, the peers, and what else there is to know."""
    named = [(label, colour) for method, (label, colour, _) in OURS.items() if method in drawn]
    handles = [
        Line2D([], [], color=colour, marker="o", ms=4, lw=1.5, label=label)
        for label, colour in [*named, ("label-free peers", PEER)]
    ]
    handles += more
    ncols = min(len(handles), 4)
    figure.legend(handles=handles, loc="outside upper center", ncols=ncols, frameon=False)
