"""How many clusters, what they hold, where they are sent and how they move."""

from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cure_study.figures import style

SIDES = {"forget": "#D55E00", "retain": "#0072B2"}
# a panel's title: the criteria it holds, each with its line
PANELS: dict[str, dict[str, str]] = {
    "inertia": {"inertia": "-"},
    "silhouette": {"silhouette": "--", "silhouette by centroids": "-"},
    "Calinski-Harabasz": {"Calinski-Harabasz": "-"},
    "Davies-Bouldin (low is good)": {"Davies-Bouldin": "-"},
    "stability (ARI)": {"stability over seeds": "--", "stability over bootstrap": "-"},
}
AGREEMENT = {
    "purity": ("#0072B2", "o"),
    "NMI": ("#D55E00", "s"),
    "ARI": ("#009E73", "D"),
    "homogeneity": ("#CC79A7", "^"),
    "completeness": ("#E69F00", "v"),
}  # colour, marker
K_TICKS = (2, 10, 50, 200, 1000, 5000, 20000)
# colour, marker, label, size: a dot inside a diamond where the two maps agree
MAPS = {
    "farthest": ("#D55E00", "o", "farthest", 10),
    "one_to_one": ("#56B4E9", "D", "one to one", 38),
}
# a panel's title: the columns it shows, each with its label and line
DRIFT_PANELS: dict[str, dict[str, tuple[str, str]]] = {
    "distance of the centroids": {
        "step": ("from the last epoch's", "-"),
        "from_start": ("from the teacher's", "--"),
        "spread": ("from each other", ":"),
    },
    "share of images that change": {
        "moved_target": ("their target", "-"),
        "moved_cluster": ("their cluster", "--"),
    },
    "changes of target so far": {"changes": ("mean per image", "-")},
}
DRIFT_COLOURS = ("#D55E00", "#0072B2", "#009E73")


@style.in_style
def draw_criteria(data: pd.DataFrame) -> Figure:
    """Every criterion over K, a row a side: side, k, criterion, value, chosen, people."""
    figure, axes = style.panels(2, len(PANELS), (style.PAGE, 3.1))
    for line, side in zip(axes, SIDES, strict=True):
        side_rows = data[data.side == side]
        for ax, styles in zip(line, PANELS.values(), strict=True):
            for name, dashes in styles.items():
                look: dict[str, Any] = {"color": SIDES[side], "ls": dashes, "marker": ".", "ms": 3}
                _draw_over_k(ax, side_rows, name, **look)
            if side_rows[side_rows.criterion.isin(styles)].value.isna().all():
                style.note(ax, "no values")
            _mark_numbers(ax, side_rows)
            ax.yaxis.set_major_locator(MaxNLocator(4))
            ax.tick_params(labelsize=6.5)
            if ax.get_ylim()[1] >= 1000:
                ax.yaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k")
        line[0].set_ylabel(f"{side} side")
    for top, bottom, title in zip(*axes, PANELS, strict=True):
        top.set_title(title, fontsize=7.5)
        bottom.set_xlabel("clusters K")
    keys = [
        Line2D([], [], color="0.3", lw=1, label="solid: by centroids; over bootstrap"),
        Line2D([], [], color="0.3", lw=1, ls="--", label="dashed: classical; over seeds"),
        Line2D([], [], color="0.2", lw=0.9, marker="|", ls="", ms=9, label="chosen without labels"),
        Line2D([], [], color="0.2", lw=0.9, ls=":", label="number of people"),
    ]
    style.shared_legend(figure, 4, extra=keys)
    return figure


@style.in_style
def draw_agreement(data: pd.DataFrame) -> Figure:
    """Agreement of clusters with people over K, a panel a side: as `draw_criteria`."""
    figure, axes = style.panels(1, 2, (style.PAGE * 0.8, 2.5), sharey=True)
    for ax, side in zip(axes[0], SIDES, strict=True):
        side_rows = data[data.side == side]
        for name, (colour, marker) in AGREEMENT.items():
            look: dict[str, Any] = {"color": colour, "marker": marker, "ms": 3, "label": name}
            _draw_over_k(ax, side_rows, name, **look)
        if side_rows.value.isna().all():
            style.note(ax, "no values")
        _mark_numbers(ax, side_rows)
        ax.set(ylim=(-0.03, 1.03), xlabel="clusters K", title=f"{side} side")
    axes[0, 0].set_ylabel("agreement with people")
    style.shared_legend(figure, 5)
    return figure


@style.in_style
def draw_sizes(data: pd.DataFrame) -> Figure:
    """Each cluster's size, the main person's part apart: side, rank, size, main_person."""
    figure, axes = style.panels(1, 2, (style.PAGE, 2.1), sharey=True, width_ratios=(1, 2))
    for ax, side in zip(axes[0], SIDES, strict=True):
        bars = data[data.side == side]
        ax.bar(bars["rank"], bars.main_person, 0.85, color=SIDES[side], label="its main person")
        others = bars["size"] - bars.main_person
        ax.bar(bars["rank"], others, 0.85, bars.main_person, color="0.75", label="other people")
        ax.set_title(f"{side} side: {len(bars)} clusters")
        ax.set_xlabel("cluster, largest first")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_axisbelow(True)
        ax.legend(loc="upper right")
    axes[0, 0].set(ylabel="images", ylim=(0, data["size"].max() * 1.35))
    return figure


@style.in_style
def draw_farthest_map(data: pd.DataFrame) -> Figure:
    """Distances between clusters with each one's target under two maps, and targets' sources.

    cluster, target, distance, and a bool column for each map (`farthest_map.map_table`).
    """
    figure, axes = style.panels(1, 2, (style.PAGE * 0.85, 3.1), width_ratios=(1.35, 1))
    left, right = axes[0]
    distance = data.pivot_table(index="cluster", columns="target", values="distance")
    image = left.imshow(distance, cmap="Greys", vmin=0.7, interpolation="nearest")
    scale = min(1, 26 / (int(data.cluster.max()) + 1))
    for shift, (name, (colour, marker, label, size)) in zip((-0.2, 0.2), MAPS.items(), strict=True):
        pairs = data[data[name].astype(bool)]
        left.scatter(
            pairs.target, pairs.cluster, s=size * scale, marker=marker, label=label,
            facecolors=colour if marker == "o" else "none", edgecolors=colour, linewidths=1.2,
        )  # fmt: skip
        sources = data.groupby("target")[name].sum()
        right.bar(sources.index + shift, sources, 0.4, color=colour)
    left.set(xlabel="target cluster", ylabel="cluster")
    left.grid(False)
    figure.colorbar(image, ax=left, label="distance between centroids").outline.set_visible(False)
    right.set_axisbelow(True)
    right.set(xlabel="target cluster", ylabel="clusters sent to it")
    for axis in (left.xaxis, left.yaxis, right.xaxis, right.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    style.shared_legend(figure, 2)
    return figure


@style.in_style
def draw_drift(data: pd.DataFrame) -> Figure:
    """Centroids, assignments and targets over the epochs: the columns of `drift.watch_drift`."""
    figure, axes = style.panels(1, 3, (style.PAGE, 2.7))
    for ax, (title, lines) in zip(axes[0], DRIFT_PANELS.items(), strict=True):
        for colour, (name, (label, dashes)) in zip(DRIFT_COLOURS, lines.items(), strict=False):
            ax.plot(data.epoch, data[name], dashes, color=colour, marker=".", ms=4, label=label)
        top = data[list(lines)].max().max()  # NaN where no line has a value
        ax.set(title=title, xlabel="epoch", ylim=(0, 1.05 * max(1e-3, top)))
        style.note_missing(ax, [lines[name][0] for name in lines if data[name].isna().all()])
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        ax.yaxis.set_major_locator(MaxNLocator(4))
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), handlelength=3)
    return figure


def _draw_over_k(ax: Axes, rows: pd.DataFrame, criterion: str, **look: Any) -> None:
    line = rows[rows.criterion == criterion].sort_values("k")
    ax.plot(line.k, line.value, lw=1, **look)


def _mark_numbers(ax: Axes, rows: pd.DataFrame) -> None:
    """The number of clusters chosen (a line) and the number of people (dots)."""
    if rows.empty:
        return
    ax.axvline(rows.chosen.iloc[0], color="0.2", lw=0.9)
    ax.axvline(rows.people.iloc[0], color="0.2", lw=0.9, ls=":")
    ax.set_xscale("log")
    ax.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    ax.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    ax.set_xticks([k for k in K_TICKS if rows.k.min() <= k <= rows.k.max()])
