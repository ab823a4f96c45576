"""The tables of docs/comparison_appendix.md: the parts, the search, wrong labels, costs."""

import json
from collections.abc import Callable, Iterable
from functools import cache, partial
from itertools import product

import pandas as pd

from cure_study.experiments.comparison.methods import LABELS, SUPERVISED, competitors, in_order
from cure_study.experiments.comparison.plan import Plan, read_plan
from cure_study.figures.ablations import CHANGES, WRONG_LABELS
from page_tables.rows import (
    DATASETS,
    REQUESTS,
    by_seed,
    change,
    comparison_rows,
    read,
    score,
)

MAIN = ("synthfaces", "lfw")
LONGER = "longer"


@cache
def plan() -> Plan:
    return read_plan()


def ablations(base: str) -> pd.DataFrame:
    """The change of UES by each change to a method, all else as tuned; blank if not run."""
    lines = []
    for suffix, label in CHANGES.items():
        variant, line = f"{base}_{suffix}", {"change": label}
        for dataset in MAIN:
            wide = by_seed(dataset)
            ran = variant in wide
            line[DATASETS[dataset]] = change(wide[variant] - wide[base], "ues") if ran else ""
        if suffix != LONGER and any(list(line.values())[1:]):
            lines.append(line)
    table = pd.DataFrame(lines)
    return table.loc[:, (table != "").any()]


def length() -> pd.DataFrame:
    """UES at the length of the comparison and at twice as many epochs, on the same seeds."""
    wide = by_seed("synthfaces")
    new = by_seed("synthfaces", score="ues_fresh")
    lines = []
    for method in in_order(m for m in LABELS if f"{m}_{LONGER}" in wide):
        both = wide[[method, f"{method}_{LONGER}"]].dropna()
        lines.append(
            {
                "method": LABELS[method],
                "as compared": f"{both.iloc[:, 0].mean():.3f}",
                "twice the length": score(both.iloc[:, 1], "ues"),
                "change": change(both.iloc[:, 1] - both.iloc[:, 0], "ues"),
                "twice, new images": score(new[f"{method}_{LONGER}"].dropna(), "ues"),
            }
        )
    return pd.DataFrame(lines)


def recall() -> pd.DataFrame:
    """Membership recall of CURE as one part of it changes, with the oracle's, on three seeds."""
    shown = ("random_map", "tau_2", "tau_never", "nearest_map", "frozen", "no_cosine")
    titles = {"cure": "CURE as tuned", **{f"cure_{change}": CHANGES[change] for change in shown}}
    titles |= {method: LABELS[method] for method in ("oracle", "oracle_again")}
    rows = comparison_rows("synthfaces")
    rows = rows[rows.seed.isin(rows[rows.method == "cure_frozen"].seed)]
    lines = []
    for method, title in titles.items():
        seeds = rows[rows.method == method]
        distance = (seeds.membership_recall - seeds.membership_recall_oracle).abs().mean()
        lines.append(
            {
                "": title,
                "membership recall": score(seeds.membership_recall, "recall", 2),
                "distance from the oracle's": f"{distance:.2f}",
                "F": f"{seeds.forgetting.mean():.2f}",
            }
        )
    return pd.DataFrame(lines)


def labels_help() -> pd.DataFrame:
    """UES of methods that are given labels, true or wrong, minus the same on pseudo-labels."""
    return _by_wrong_labels(
        (method, method.removeprefix("supervised_"), False) for method in SUPERVISED
    )


def wrong_labels() -> pd.DataFrame:
    """UES of CURE and CURE+ minus that of methods that are given labels."""
    return _by_wrong_labels(product(("cure", "cure_plus"), SUPERVISED, (True,)))


def _by_wrong_labels(cases: Iterable[tuple[str, str, bool]]) -> pd.DataFrame:
    """A row per data set and case: two methods, and whether the second one has the labels."""
    titles = {
        end: f"{share} % wrong" if share else "true labels" for end, share in WRONG_LABELS.items()
    }
    lines = []
    for dataset, (method, other, second) in product(MAIN, list(cases)):
        wide = by_seed(dataset)
        line = {"faces": DATASETS[dataset], "UES": f"{LABELS[method]} minus {LABELS[other]}"}
        for suffix, title in titles.items():
            left, right = (method, other + suffix) if second else (method + suffix, other)
            line[title] = change(wide[left] - wide[right], "ues")
        lines.append(line)
    return pd.DataFrame(lines)


def frontier(dataset: str) -> pd.DataFrame:
    """Each method at the strength with its highest mean UES; means over three seeds."""
    rows = read("frontier")
    rows = rows[rows.dataset == dataset]
    means = rows.groupby(["method", "factor"])[["ues", "forgetting", "stability"]].mean()
    lines = []
    for method in in_order(rows.method):
        factor, best = max(means.loc[method].iterrows(), key=lambda point: point[1].ues)
        lines.append(
            {
                "method": LABELS[method],
                "best strength, of the tuned one": f"{factor:g}",
                "UES": f"{best.ues:.3f}",
                "F": f"{best.forgetting:.2f}",
                "S": f"{best.stability:.2f}",
            }
        )
    return pd.DataFrame(lines)


def costs() -> pd.DataFrame:
    """Time and memory of each method on SynthFaces; bare steps train without an objective."""
    rows = read("method_costs").set_index("method")
    lines = []
    for method in [*in_order(set(rows.index) - {"bare steps"}), "bare steps"]:
        cost = rows.loc[method]
        lines.append(
            {
                "method": LABELS.get(method, method),
                "seconds": f"{cost.seconds:.1f}",
                "of retraining's time": f"{cost.time_to_oracle:.2f}",
                "of bare steps' time": f"{cost.time_to_bare:.2f}",
                "of retraining's memory": f"{cost.memory_to_oracle:.2f}",
            }
        )
    return pd.DataFrame(lines)


def winners(dataset: str) -> dict[str, dict[str, float]]:
    """The settings that each method was judged with."""
    rows = comparison_rows(dataset)
    return {
        method: json.loads(rows.settings[rows.method == method].iloc[0])
        for method in competitors(rows.method)
    }


def validation() -> pd.DataFrame:
    """UES of each winner on the requests that chose it, and on the reported seeds."""
    lines: dict[str, dict[str, str]] = {}
    for dataset in MAIN:
        trials = read("tuning")
        trials = trials[trials.dataset == dataset]
        for method, settings in winners(dataset).items():
            same = trials.settings.map(json.loads).map(lambda found, won=settings: found == won)
            chosen = trials[same & (trials.method == method)].drop_duplicates("seed").ues.mean()
            reported = by_seed(dataset)[method].mean()
            line = lines.setdefault(method, {"method": LABELS[method]})
            line[f"{DATASETS[dataset]}, validation"] = f"{chosen:.3f}"
            line[f"{DATASETS[dataset]}, reported"] = f"{reported:.3f}"
    return pd.DataFrame(lines[method] for method in in_order(lines))


def search_ends() -> pd.DataFrame:
    """The settings that won at an end of their range, so that more may lie beyond it."""
    lines = []
    for dataset, method in product(MAIN, in_order(winners("synthfaces"))):
        for setting, (low, _, high) in plan().methods[method].search.items():
            won = winners(dataset)[method][setting]
            if won in (low, high):
                lines.append(
                    {
                        "faces": DATASETS[dataset],
                        "method": LABELS[method],
                        "setting": f"`{setting}`",
                        "won with": f"{won:g}",
                        "range": f"{low:g} to {high:g}",
                    }
                )
    return pd.DataFrame(lines)


def requests(dataset: str) -> pd.DataFrame:
    """UES of every method on each kind of request."""
    wide = {title: by_seed(dataset, request) for request, title in REQUESTS.items()}
    return pd.DataFrame(
        {"method": LABELS[method]}
        | {title: score(values[method], "ues") for title, values in wide.items()}
        for method in competitors(map(str, wide["random people"]))
    )


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "length": length,
    "recall": recall,
    "labels-help": labels_help,
    "wrong-labels": wrong_labels,
    "costs": costs,
    "validation": validation,
    "search-ends": search_ends,
    **{f"requests-{dataset}": partial(requests, dataset) for dataset in DATASETS},
    **{f"frontier-{dataset}": partial(frontier, dataset) for dataset in MAIN},
    **{
        f"ablations-{base}": partial(ablations, base)
        for base in ("cure", "cure_plus", "cure_scatter")
    },
}
