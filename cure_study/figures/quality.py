"""Which pictures are poor, what a score of quality is worth, and whether forgetting them helps."""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cure_core.metrics.intervals import difference_interval
from cure_study.data.faceset import FaceSet
from cure_study.figures.sheets import only_drawn
from cure_study.figures.style import COLUMN, PAGE, STYLE, Picture, note, note_missing

KINDS = {
    "no": ("as drawn", "0.45", "-"),
    "blurred": ("blurred", "#0072B2", "--"),
    "covered": ("covered", "#D55E00", "-."),
    "mislabelled": ("mislabelled", "#009E73", ":"),
}
ORDERINGS = {
    "random": ("random", "0.55", "-", 1.0),
    "oracle": ("oracle", "black", "-", 1.0),
    "truth": ("true quality", "#009E73", "--", 1.4),
    "fused": ("fused", "#D55E00", "-", 1.8),
}
OTHERS = ["#0072B2", "#56B4E9", "#CC79A7", "#E69F00", "#999933"]
RUNS = {
    ("cure_plus", "lowest"): ("cure_plus, lowest", "#D55E00", "o", "-"),
    ("cure", "lowest"): ("cure, lowest", "#E69F00", "s", "-"),
    ("fine_tune", "lowest"): ("fine-tuned without lowest", "#56B4E9", "^", "-"),
    ("cure_plus", "random"): ("cure_plus, random", "0.5", "o", "--"),
    ("cure_plus", "best"): ("cure_plus, best", "#CC79A7", "v", "--"),
    ("oracle", "lowest"): ("retrained without lowest", "#009E73", "D", ""),
    ("oracle", "random"): ("retrained without random", "black", "x", ""),
}
PROTOCOL_NAMES = {"unseen": "strangers, any age", "cross_age": "strangers, 30 years apart"}


def draw_quality_scores(data: pd.DataFrame) -> Figure:
    """Where each kind of picture lies in the order of quality: kind, rank, share."""
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(COLUMN, 2.4), layout="constrained")
        ax = figure.subplots()
        missing = []
        for kind, (label, colour, dash) in KINDS.items():
            own = data[data.kind == kind]
            if own.share.notna().any():
                ax.step(
                    own["rank"], own.share, dash, where="mid", color=colour, label=label, lw=1.2
                )
            elif not own.empty:
                missing.append(label)
        note_missing(ax, missing)
        ax.set(xlim=(0, 1), xlabel="rank by fused quality (0 poorest)")
        ax.set_ylim(bottom=0)
        ax.set_ylabel("share of the kind's pictures")
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def draw_quality_discard(data: pd.DataFrame) -> Figure:
    """Error against discard, a panel a data set: dataset, scorer, discarded, fnmr, area."""
    names = list(dict.fromkeys(data.dataset))
    singles = [n for n in dict.fromkeys(data.scorer) if n not in ORDERINGS]
    titles = {"synthfaces": "SynthFaces", "lfw": "LFW"}
    with mpl.rc_context(STYLE):
        figure = Picture(
            figsize=(PAGE if len(names) > 1 else PAGE * 0.6, 3.6), layout="constrained"
        )
        axes = figure.subplots(1, len(names), squeeze=False)[0]
        for ax, dataset in zip(axes, names, strict=True):
            missing: list[str] = []
            for i, name in enumerate([*singles, *ORDERINGS]):
                own = data[(data.dataset == dataset) & (data.scorer == name)]
                own = own.dropna(subset=["discarded", "fnmr"])
                if own.empty:
                    if name in set(data[data.dataset == dataset].scorer):
                        missing.append(name)
                    continue
                mean = own.groupby("discarded").fnmr.mean()
                dash = (":", "-.", "--")[i // 5 % 3]
                fallback = (name.replace("_", " "), OTHERS[i % 5], dash, 1.0)
                label, colour, dash, width = ORDERINGS.get(name, fallback)
                ax.plot(100 * mean.index, mean, dash, color=colour, lw=width, label=label)
            ax.set_title(titles.get(dataset, dataset))
            ax.set_xlabel("images discarded, poorest first (%)")
            note_missing(ax, missing)
            if data.discarded.notna().any():
                ax.set_xlim(0, 100 * data.discarded.max())
        axes[0].set_ylabel("false non-match rate at FMR 1e-3")
        handles = {h.get_label(): h for ax in axes for h in ax.get_lines()}
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False
        )
    return figure


def draw_quality_accuracy(data: pd.DataFrame) -> Figure:
    """Signed change of accuracy over the share forgotten, a panel a protocol.

    A row a run and protocol of natural training: method, order, fraction, protocol, seed, change.
    Mean over seeds with the 95 % t-interval.
    """
    own = data[data.training == "natural"]
    fractions = sorted(own.fraction.unique())
    with mpl.rc_context(STYLE):
        figure = Picture(figsize=(PAGE, 3.4), layout="constrained")
        protocols = list(dict.fromkeys(own.protocol))
        axes = figure.subplots(1, max(1, len(protocols)), sharey=True, squeeze=False)[0]
        if not protocols:
            note(axes[0], "not run")
        for ax, protocol in zip(axes, protocols, strict=False):
            missing = []
            for shift, ((method, order), look) in enumerate(RUNS.items()):
                label, colour, marker, dash = look
                runs = own[
                    (own.method == method) & (own.order == order) & (own.protocol == protocol)
                ]
                if runs.empty:
                    continue
                if (runs := runs.dropna(subset=["change"])).empty:
                    missing.append(label)
                    continue
                found = runs.groupby("fraction").change.apply(
                    difference_interval, measure="accuracy"
                )
                place = np.array([fractions.index(f) for f in found.index])
                place = place + 0.1 * (shift - (len(RUNS) - 1) / 2)
                mean, low, high = (np.array([v[k] for v in found]) for k in range(3))
                reach = np.nan_to_num(np.stack([mean - low, high - mean]))
                ax.errorbar(
                    place, 100 * mean, 100 * reach, color=colour, marker=marker, ms=3.5, lw=1,
                    ls=dash or "none", elinewidth=0.7, label=label,
                )  # fmt: skip
            _zero(ax)
            note_missing(ax, missing)
            ax.set_xticks(range(len(fractions)), [f"{100 * f:g}" for f in fractions])
            ax.set_xlabel("training pictures forgotten (%)")
            ax.set_title(PROTOCOL_NAMES.get(protocol, protocol))
        axes[0].set_ylabel("change of accuracy (percentage points)")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def draw_quality_deciles(data: pd.DataFrame, faces: FaceSet) -> Figure:
    """A contact sheet, a row a decile of quality, the poorest on top: decile, place, image.

    `image` indexes `faces`. Raises ValueError for any data set but SynthFaces.
    """
    only_drawn(faces)
    rows = [own.sort_values("place").image for _, own in data.groupby("decile")]
    sheet = np.concatenate(
        [np.concatenate([faces.images[int(i)] for i in row], axis=1) for row in rows]
    )
    with mpl.rc_context(STYLE):
        wide = PAGE - 0.5
        figure = Picture(figsize=(PAGE, wide * sheet.shape[0] / sheet.shape[1]))
        ax = figure.add_axes((0.5 / PAGE, 0.0, wide / PAGE, 1.0))
        ax.imshow(sheet, interpolation="none", aspect="auto")
        ax.grid(False)
        ax.set_xticks([])
        height = faces.images.shape[1]
        middles = [height * (i + 0.5) for i in range(len(rows))]
        ax.set_yticks(middles, [f"{i + 1}" for i in range(len(rows))])
        ax.set_ylabel("decile of quality (1 poorest)")
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    return figure


def decile_table(scores: np.ndarray, columns: int = 10, seed: int = 0) -> pd.DataFrame:
    """Pictures drawn at random from each tenth of the scores: decile, place, image."""
    rng = np.random.default_rng(seed)
    tenths = np.array_split(np.argsort(scores, kind="stable"), 10)
    rows = [
        {"decile": number, "place": place, "image": int(image)}
        for number, tenth in enumerate(tenths)
        for place, image in enumerate(rng.choice(tenth, min(columns, len(tenth)), replace=False))
    ]
    return pd.DataFrame(rows)


def _zero(ax: Axes) -> None:
    ax.axhline(0, color="0.3", lw=0.8)
