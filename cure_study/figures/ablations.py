"""What the parts of a method are worth, and labels: one change at a time, drawn."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cure_core.metrics.intervals import difference_interval
from cure_study.experiments.comparison.methods import base_method, kind
from cure_study.figures.comparison import OURS, PEER
from cure_study.figures.style import PAGE, STYLE, Picture

NOISE = {0: "", 20: "_20", 40: "_40"}  # per cent of wrong labels, and how a row says it
CHANGES = {
    "no_cosine": "without the cosine term",
    "no_contrastive": "without the contrastive term",
    "no_contrastive_forget": "contrastive term without its forget side",
    "no_contrastive_retain": "contrastive term without its retain side",
    "no_matching": "without matching",
    "no_dispersion": "without dispersion",
    "no_scatter": "without the scatter term",
    "dispersion_matching": "dispersion and matching alone",
    "distribution": "with the distribution term",
    "nearest_map": "to the nearest cluster",
    "random_map": "to a random cluster",
    "one_to_one": "each target used once",
    "tau_2": "centroids renewed every second epoch",
    "tau_never": "centroids never renewed",
    "frozen": "statistics of batch norm frozen",
    "colder": "temperature 0.005",
    "more_retained": "64 retained a batch, not 32",
    "fewer_retained": "16 retained a batch",
    "spherical": "spherical K-means",
    "gaussian_mixture": "a Gaussian mixture",
    "hdbscan": "HDBSCAN",
    "longer": "twice the length",
    "transferred": "the winner of SynthFaces",
}  # what the end of a variant's name says is changed


def draw_ablations(rows: pd.DataFrame) -> Figure:
    """What each change to a method costs or gains in UES, paired by request and seed.

    Below each method its changes, the dearest on the first data set first. Lines are 95 %
    intervals over the seeds (Student's t), from three seeds on.
    """
    changes = _changes(rows)
    datasets = sorted(set(changes.dataset), reverse=True)
    lines = _lines(changes, datasets)
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 0.18 * len(lines) + 0.8), layout="constrained")
        axes = figure.subplots(1, len(datasets), sharey=True, sharex=True, squeeze=False)[0]
        for ax, dataset in zip(axes, datasets, strict=True):
            own = changes[changes.dataset == dataset]
            for method, each in own.groupby("method", sort=False):
                y = list(lines).index(str(method))
                _, colour, marker = OURS.get(each.base.iloc[0], ("", PEER, "D"))
                ax.plot(
                    each.change, np.full(len(each), y + 0.25), ".", ms=3, color=colour, alpha=0.6
                )
                mean, low, high = difference_interval(each.change, "ues")
                if len(each) > 2:  # of two seeds it would be wider than the picture
                    ax.plot([low, high], [y, y], color=colour, lw=1, alpha=0.7)
                ax.plot(mean, y, marker, ms=4, color=colour)
            ax.axvline(0, color="black", lw=0.8)
            seeds = own.groupby("method").seed.nunique()
            few, most = seeds.min(), seeds.max()
            n = f"{most}" if few == most else f"{few} to {most}"
            ax.set_title(f"{dataset}, random people, n = {n}")
        axes[0].set_yticks(range(len(lines)), lines.values())
        for label, name in zip(axes[0].get_yticklabels(), lines, strict=True):
            label.set_weight("bold" if name in set(changes.base) else "normal")
        axes[0].set_ylim(len(lines) - 0.4, -0.6)
        figure.supxlabel("change of UES (CURE) against the method as it is", fontsize=8)
    return figure


def _lines(changes: pd.DataFrame, datasets: Sequence[str]) -> dict[str, str]:
    """What stands where, from the top: a method and below it its changes, as they are named."""
    means = changes.pivot_table(index="method", columns="dataset", values="change")[datasets]
    order = means.bfill(axis=1).iloc[:, 0].sort_values().index
    of = changes.drop_duplicates("method").set_index("method").base
    bases = [*(base for base in OURS if base in set(of)), *sorted(set(of) - set(OURS))]
    lines: dict[str, str] = {}
    for base in bases:
        lines[base] = base
        for method in order[(of[order] == base).to_numpy()]:
            change = method.removeprefix(f"{base}_")
            lines[method] = CHANGES.get(change, change.replace("_", " "))
    return lines


def has_ablations(rows: pd.DataFrame) -> bool:
    """Whether any row varies another that is there too."""
    return not _changes(rows).empty


def has_label_noise(rows: pd.DataFrame) -> bool:
    """Whether any row is of a supervised method."""
    return bool(rows.method.str.startswith("supervised_").any())


def draw_label_noise(rows: pd.DataFrame) -> Figure:
    """UES of supervised methods as their labels go wrong, beside CURE, which reads none."""
    names = {"supervised_scrub": "SCRUB", "supervised_neg_grad_plus": "NegGrad+"}
    datasets = sorted(set(rows.dataset[rows.method.isin(names)]), reverse=True)
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE / 2 * max(1, len(datasets)), 2.4), layout="constrained")
        axes = figure.subplots(1, len(datasets), sharey=True, squeeze=False)[0]
        for ax, dataset in zip(axes, datasets, strict=True):
            seeds = rows[(rows.dataset == dataset) & (rows.request == "random_people")]
            ran = seeds[seeds.method == "supervised_scrub"].seed
            for (method, label), colour, marker in zip(
                names.items(), (PEER, "#56B4E9"), ("o", "^"), strict=True
            ):
                free = seeds[seeds.method == method.removeprefix("supervised_")]
                level = free[free.seed.isin(ran)].ues.mean()
                ax.axhline(level, color=colour, ls=":", lw=1, label=f"{label}, no labels")
                shares = {f"{method}{suffix}": share for share, suffix in NOISE.items()}
                own = seeds[seeds.method.isin(shares)]
                own = own.assign(share=own.method.map(shares))
                ax.plot(own.share, own.ues, ".", ms=3, color=colour, alpha=0.5)
                means = own.groupby("share").ues.mean()
                ax.plot(means.index, means, color=colour, marker=marker, ms=4, label=label)
            for method, dash in (("cure_plus", "-"), ("cure", "--")):
                colour = OURS[method][1]
                level = seeds[(seeds.method == method) & seeds.seed.isin(ran)].ues.mean()
                ax.axhline(level, color=colour, ls=dash, lw=1, label=f"{method}, no labels")
            ax.set_title(f"{dataset}, random people")
            ax.set_xlabel("wrong labels (%)")
            ax.set_xticks(list(NOISE))
        axes[0].set(ylabel="UES (CURE)", ylim=(-0.02, 1.02))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=6.5
        )
    return figure


def _changes(rows: pd.DataFrame) -> pd.DataFrame:
    """Each ablation's UES less that of what it varies, on the same request and seed."""
    lines = []
    for (dataset, request, seed), case in rows.groupby(["dataset", "request", "seed"]):
        ues = case.set_index("method").ues
        for method in ues.index:
            if kind(str(method)) != "ablation":
                continue
            base = base_method(str(method))
            if base is not None and base in ues:
                lines.append((dataset, request, seed, method, base, ues[method] - ues[base]))
    columns = ["dataset", "request", "seed", "method", "base", "change"]
    return pd.DataFrame(lines, columns=columns).dropna(subset=["change"])
