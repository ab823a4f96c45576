"""Write the tables of the pages that come from the CSV files in `figures/`.

Usage: python docs/tables.py. In README.md and docs/*.md a table stands between
`<!-- table: NAME -->` and `<!-- end of table -->`; NAME is a key of `TABLES`.
"""

import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import pandas as pd

from cure_core.files import atomic_path
from cure_core.metrics.intervals import difference_interval, seed_interval
from cure_study.figures.ablations import CHANGES, SUPERVISED, WRONG_LABELS, ues_changes
from cure_study.figures.attacks_by_method import ATTACKS
from cure_study.figures.comparison import OUR_LOOKS, competing, methods_by_score

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKED = re.compile(r"(<!-- table: (\S+) -->\n)(.*?)(<!-- end of table -->\n)", re.DOTALL)
DATASETS = {"synthfaces": "SynthFaces", "lfw": "LFW"}
COVERAGE_POPULATIONS = (
    *("recall near 0, skewed", "recall near 0, counts of 100"),
    *("AUC near 1, skewed", "UES of 0.94, clipped at 1", "UES of 0.67"),
)
COVERAGE_METHODS = (
    *("Student's t, cut to [0, 1]", "t of arcsine roots", "t, logit of the mean"),
    *("Beta posterior", "bootstrap t", "score, dispersion and t (chosen)", "Anderson"),
)


@cache
def read(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "figures" / f"{name}.csv")


def random_people(dataset: str) -> pd.DataFrame:
    """The rows of the comparison on the main request of a data set."""
    rows = read("comparison")
    return rows[(rows.dataset == dataset) & (rows.request == "random_people")]


def comparison(dataset: str) -> pd.DataFrame:
    """Every method, best first; the references' values stand in the heads of the columns."""
    rows = random_people(dataset)
    means = rows.groupby("method").mean(numeric_only=True)
    before, oracle = means.loc["teacher"], means.loc["oracle"]
    competing_rows = competing(read("comparison"))
    rows = rows[rows.index.isin(competing_rows.index)]
    lines = []
    for method in methods_by_score(rows):
        seeds = rows[rows.method == method]
        mean = seeds.mean(numeric_only=True)
        _, _, note = OUR_LOOKS.get(method, ("",))[0].partition(",")
        lines.append(
            {
                "": f"`{method}`" + (f",{note}" if note else ""),
                f"UES (CURE) (oracle {oracle.ues:.2f})": seed_interval(seeds.ues, "ues").text(),
                "the same on new images of the forgotten "
                f"(oracle {oracle.ues_fresh:.2f})": seed_interval(seeds.ues_fresh, "ues").text(),
                "F": f"{mean.forgetting:.3f}",
                "S": f"{mean.stability:.3f}",
                f"rank-1 once re-enrolled (before {before.rank1_new_gallery:.2f}, "
                f"oracle {oracle.rank1_new_gallery:.2f})": f"{mean.rank1_new_gallery:.2f}",
                f"ToW (before {before.tow:.2f})": f"{mean.tow:.2f}",
                "membership recall "
                f"(oracle {oracle.membership_recall:.2f})": f"{mean.membership_recall:.3f}",
            }
        )
    return pd.DataFrame(lines)


def ablations() -> pd.DataFrame:
    """Each change of ours, a column a method and data set; bold if the interval excludes 0."""

    def cell(changes: pd.Series) -> str:
        interval = difference_interval(changes, "ues")
        return (
            f"**{interval.text()}**" if interval.low > 0 or interval.high < 0 else interval.text()
        )

    changes = ues_changes(read("comparison"))
    changes = changes[(changes.request == "random_people") & changes.base.isin(OUR_LOOKS)]
    cells = changes.groupby(["dataset", "base", "method"]).change.apply(cell)
    columns = {
        (dataset, base): f"{prefix}`{base}`"
        for dataset, prefix in (("synthfaces", ""), ("lfw", "LFW's "))
        for base in OUR_LOOKS
        if (dataset, base) in cells.index.droplevel("method")
    }
    return pd.DataFrame(
        {"change": label}
        | {
            title: cells.get((dataset, base, f"{base}_{change}"), "")
            for (dataset, base), title in columns.items()
        }
        for change, label in CHANGES.items()
        if any((*where, f"{where[1]}_{change}") in cells.index for where in columns)
    )


def recall() -> pd.DataFrame:
    """The membership recall of the paper's objective as one part of it changes."""
    shown = ("random_map", "tau_2", "tau_never", "nearest_map", "frozen", "no_cosine")
    methods = {"cure": "as tuned", **{f"cure_{change}": CHANGES[change] for change in shown}}
    rows = random_people("synthfaces")
    rows = rows[rows.seed.isin(rows[rows.method == "cure_frozen"].seed)]
    oracle = rows[rows.method == "oracle"].membership_recall.mean()
    lines = []
    for method, label in {**methods, "oracle_again": "a second oracle"}.items():
        seeds = rows[rows.method == method]
        distance = (seeds.membership_recall - seeds.membership_recall_oracle).abs().mean()
        interval = seed_interval(seeds.membership_recall, "recall")
        lines.append(
            {
                "": label,
                f"membership recall (oracle {oracle:.3f})": interval.text(),
                "its distance from the oracle's, mean": f"{distance:.2f}",
                "F": f"{seeds.forgetting.mean():.2f}",
            }
        )
    return pd.DataFrame(lines)


def wrong_labels() -> pd.DataFrame:
    """UES of ours less that of supervised methods with wrong labels, paired by seed."""
    titles = {0: "true labels", 20: "20 % wrong", 40: "40 % wrong"}
    lines = []
    for dataset, title in DATASETS.items():
        ues = random_people(dataset).pivot(index="seed", columns="method", values="ues")
        for method in ("cure", "cure_plus"):
            for other, (label, *_) in SUPERVISED.items():
                line = {"on the same seeds": f"{title}: `{method}` less {label} with labels"}
                for suffix, share in WRONG_LABELS.items():
                    less = (ues[method] - ues[f"{other}{suffix}"]).dropna()
                    line[titles[share]] = difference_interval(less, "ues").text()
                lines.append(line)
    return pd.DataFrame(lines)


def attacks(dataset: str) -> pd.DataFrame:
    """Each attack on each method's student, best UES of the comparison first; blank if not run."""
    rows = read("attacks")
    rows = rows[rows.dataset == dataset]
    methods = [m for m in methods_by_score(random_people("synthfaces")) if m in set(rows.method)]
    methods.sort(key=lambda method: method in ("oracle", "teacher"))
    lines = []
    for method in methods:
        name = method if method in ("oracle", "teacher") else f"`{method}`"
        line = {DATASETS[dataset]: name}
        for column, (label, _) in ATTACKS.items():
            values = rows[rows.method == method][column]
            text = seed_interval(values, column).text() if values.notna().all() else ""
            line[label.replace("\n", " ")] = text
        lines.append(line)
    return pd.DataFrame(lines)


def coverage() -> pd.DataFrame:
    """How often intervals hold the true mean, and how wide they are."""
    rows = read("interval_coverage")
    rows = rows[rows.kind == "share"].set_index(["method", "population", "n"])
    lines = []
    for method in COVERAGE_METHODS:
        for population in COVERAGE_POPULATIONS:
            few, more = rows.loc[(method, population, 3)], rows.loc[(method, population, 5)]
            lines.append(
                {
                    "interval": method,
                    "values": population,
                    "coverage, n = 3": f"{few.coverage:.2f}",
                    "coverage, n = 5": f"{more.coverage:.2f}",
                    "width, n = 3": f"{few.width:.2f}",
                    "width, n = 5": f"{more.width:.2f}",
                }
            )
    return pd.DataFrame(lines)


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "comparison-synthfaces": partial(comparison, "synthfaces"),
    "comparison-lfw": partial(comparison, "lfw"),
    "ablations": ablations,
    "recall": recall,
    "wrong-labels": wrong_labels,
    "attacks-synthfaces": partial(attacks, "synthfaces"),
    "attacks-lfw": partial(attacks, "lfw"),
    "coverage": coverage,
}


def markdown(table: pd.DataFrame) -> str:
    lines = [table.columns, ["---"] * table.shape[1], *table.to_numpy()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def with_tables(page: str) -> str:
    """The text of a page with its tables written again."""
    return MARKED.sub(lambda m: m[1] + markdown(TABLES[m[2]]()) + m[4], page)


def main() -> None:
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        if (written := with_tables(text)) != text:
            with atomic_path(path) as temporary:
                temporary.write_text(written, encoding="utf-8")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
