"""How many clusters, what they hold, where they are sent and how they move."""

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cure_study.figures.style import PAGE, STYLE, Picture, note, note_missing

SIDES = {"forget": "#D55E00", "retain": "#0072B2"}
# a panel's title to the criteria it holds, each with its line
PANELS: dict[str, dict[str, str]] = {
    "inertia": {"inertia": "-"},
    "silhouette": {"silhouette": "--", "silhouette by centroids": "-"},
    "Calinski-Harabasz": {"Calinski-Harabasz": "-"},
    "Davies-Bouldin (low is good)": {"Davies-Bouldin": "-"},
    "stability (ARI)": {"stability over seeds": "--", "stability over bootstrap": "-"},
}
AGREEMENT = {
    "purity": "#0072B2", "NMI": "#D55E00", "ARI": "#009E73",
    "homogeneity": "#CC79A7", "completeness": "#E69F00",
}  # fmt: skip
K_TICKS = (2, 10, 50, 200, 1000, 5000, 20000)
MARKS = {"purity": "o", "NMI": "s", "ARI": "D", "homogeneity": "^", "completeness": "v"}


def draw_criteria(data: pd.DataFrame) -> Figure:
    """Every criterion over K, a row a side: side, k, criterion, value, chosen, people."""
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 3.1), layout="constrained")
        axes = figure.subplots(2, len(PANELS), squeeze=False)
        for i, side in enumerate(SIDES):
            own = data[data.side == side]
            for j, (title, lines) in enumerate(PANELS.items()):
                ax = axes[i, j]
                for name, style in lines.items():
                    line = own[own.criterion == name].sort_values("k")
                    ax.plot(line.k, line.value, style, color=SIDES[side], lw=1, marker=".", ms=3)
                if own[own.criterion.isin(lines)].value.isna().all():
                    note(ax, "no values")
                _mark_numbers(ax, own)
                if i == 0:
                    ax.set_title(title, fontsize=7.5)
                ax.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
                ax.tick_params(labelsize=6.5)
                _compact(ax)
                ax.set_xlabel("clusters K" if i else "")
            axes[i, 0].set_ylabel(f"{side} side")
        _legend(
            figure,
            {"solid: by centroids; over bootstrap": "-", "dashed: classical; over seeds": "--"},
        )
    return figure


def draw_agreement(data: pd.DataFrame) -> Figure:
    """Agreement of clusters with people over K, a panel a side: as `draw_criteria`."""
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE * 0.8, 2.5), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True)
        for ax, side in zip(axes, SIDES, strict=True):
            own = data[data.side == side]
            for name, colour in AGREEMENT.items():
                line = own[own.criterion == name].sort_values("k")
                ax.plot(
                    line.k, line.value, color=colour, lw=1, marker=MARKS[name], ms=3, label=name
                )
            if own.value.isna().all():
                note(ax, "no values")
            _mark_numbers(ax, own)
            ax.set(ylim=(-0.03, 1.03), xlabel="clusters K")
            ax.set_title(f"{side} side")
        axes[0].set_ylabel("agreement with people")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False)
    return figure


def draw_sizes(data: pd.DataFrame) -> Figure:
    """Each cluster's size, the main person's part apart: side, rank, size, main_person."""
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 2.1), layout="constrained")
        axes = figure.subplots(1, 2, sharey=True, width_ratios=(1, 2))
        for ax, side in zip(axes, SIDES, strict=True):
            own = data[data.side == side]
            ax.bar(own["rank"], own.main_person, 0.85, color=SIDES[side], label="its main person")
            others = own["size"] - own.main_person
            ax.bar(own["rank"], others, 0.85, own.main_person, color="0.75", label="other people")
            ax.set_title(f"{side} side: {len(own)} clusters")
            ax.set_xlabel("cluster, largest first")
            ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
            ax.set_axisbelow(True)
            ax.legend(loc="upper right", frameon=False)
        axes[0].set_ylabel("images")
        axes[0].set_ylim(0, data["size"].max() * 1.35)
    return figure


def draw_farthest_map(data: pd.DataFrame) -> Figure:
    """Distances between clusters with each one's target under two maps, and who draws how many.

    cluster, target, distance, and a bool column for each map (`farthest_map.map_table`).
    """
    count = int(data.cluster.max()) + 1
    # A dot inside a diamond where the two maps agree.
    looks = {
        "farthest": ("#D55E00", "o", "farthest", 10),
        "one_to_one": ("#56B4E9", "D", "one to one", 38),
    }
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE * 0.85, 3.1), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        distance = data.pivot_table(index="cluster", columns="target", values="distance")
        image = left.imshow(distance, cmap="Greys", vmin=0, interpolation="nearest")
        for name, (colour, marker, label, size) in looks.items():
            own = data[data[name].astype(bool)]
            left.scatter(
                own.target, own.cluster, s=size * min(1, 26 / count), marker=marker, label=label,
                facecolors=colour if marker == "o" else "none", edgecolors=colour, linewidths=1.2,
            )  # fmt: skip
        left.set(xlabel="target cluster", ylabel="cluster")
        left.grid(False)
        bar = figure.colorbar(image, ax=left, label="distance between centroids")
        bar.outline.set_visible(False)
        right.set_axisbelow(True)
        for shift, (name, (colour, _, label, _)) in zip((-0.2, 0.2), looks.items(), strict=True):
            drawn = data.groupby("target")[name].sum()
            right.bar(drawn.index + shift, drawn, 0.4, color=colour, label=label)
        right.set(xlabel="target cluster", ylabel="clusters sent to it")
        for axis in (left.xaxis, left.yaxis, right.xaxis, right.yaxis):
            axis.set_major_locator(mpl.ticker.MaxNLocator(integer=True))
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return figure


def draw_drift(data: pd.DataFrame) -> Figure:
    """Centroids, assignments and targets over the epochs: the columns of `drift.watch_drift`."""
    panels = {
        "how far centroids lie": {
            "step": ("from the last epoch's", "-"),
            "from_start": ("from the teacher's", "--"),
            "spread": ("from each other", ":"),
        },
        "share of samples that change": {
            "moved_cluster": ("cluster", "-"),
            "moved_target": ("target", "--"),
        },
        "changes of target so far": {"changes": ("mean of a sample", "-")},
    }
    colours = ("#D55E00", "#0072B2", "#009E73")
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 2.3), layout="constrained")
        for ax, (title, lines) in zip(figure.subplots(1, 3), panels.items(), strict=True):
            for colour, (name, (label, style)) in zip(colours, lines.items(), strict=False):
                ax.plot(data.epoch, data[name], style, color=colour, marker=".", ms=4, label=label)
            ax.set_title(title)
            ax.set_xlabel("epoch")
            top = data[list(lines)].max().max()  # NaN where no line has a value
            ax.set_ylim(0, 1.45 * max(1e-3, top))  # room for the legend
            note_missing(ax, [lines[name][0] for name in lines if data[name].isna().all()])
            ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True, nbins=5))
            ax.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
            ax.legend(loc="upper left", frameon=False)
    return figure


def _mark_numbers(ax: Axes, own: pd.DataFrame) -> None:
    """What was chosen (a line) and how many people there are (dots)."""
    if own.empty:
        return
    ax.axvline(own.chosen.iloc[0], color="0.2", lw=0.9)
    ax.axvline(own.people.iloc[0], color="0.2", lw=0.9, ls=":")
    ax.set_xscale("log")
    ax.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    ax.xaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    low, high = own.k.min(), own.k.max()
    ax.set_xticks([k for k in K_TICKS if low <= k <= high])


def _compact(ax: Axes) -> None:
    if ax.get_ylim()[1] >= 1000:
        ax.yaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k")


def _legend(figure: Figure, styles: dict[str, str]) -> None:
    lines = [
        mpl.lines.Line2D([], [], color="0.3", ls=ls, lw=1, label=t) for t, ls in styles.items()
    ]
    lines += [
        mpl.lines.Line2D([], [], color="0.2", lw=0.9, marker="|", ls="", ms=9, label="chosen"),
        mpl.lines.Line2D([], [], color="0.2", lw=0.9, ls=":", label="people there are"),
    ]
    figure.legend(handles=lines, loc="outside upper center", ncols=4, frameon=False)
