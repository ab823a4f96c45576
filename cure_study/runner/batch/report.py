"""A study's results as one HTML page that needs nothing beside it."""

import base64
import io
import json
import re
import textwrap
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from cure_core.files import atomic_path
from cure_core.metrics.intervals import seed_interval
from cure_study.evaluation.report import LINES, MARKS, MODELS, marked
from cure_study.runner.batch.collect import LIBRARIES, flags, gather
from cure_study.runner.batch.state import STATES, State, again, state
from cure_study.runner.batch.study import Study, told, varying
from cure_study.runner.run_folder import LOG
from cure_study.runner.runs import Run

ANSI = re.compile(r"\x1b\[[0-9;]*m")
MODEL = "after"  # whose measures come first, where there are several models
HEADLINES = 8  # measures in the first table and figure; all of them follow
LOG_LINES = 20
PICTURE_WIDTH = 1100  # pixels of a run's figure on the page


def save(study: Study, where: Path, file: Path) -> Path:
    """Write `runs/STUDY.html`; `file` is the study's, for the commands that run a part again."""
    states = {run: state(run, where) for run in study.plan()}
    collected = gather(study, where)
    table = collected.table
    names = varying(run.parameters for run in states)
    shown_runs = [_run(run, own, names, file, where) for run, own in states.items()]
    page = _template().render(
        name=study.name,
        yaml=file.read_text(encoding="utf-8"),
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        counts={what: n for what in STATES if (n := _count(states, what))},
        flags=flags(table) if len(table) else [],
        left_out=collected.left_out,
        notebooks=[_notebook(str(name), table[table.notebook == name], where)
                   for name in (table.notebook.unique() if len(table) else [])],
        failed=[run for run in shown_runs if run["what"] in ("failed", "damaged")],
        runs=shown_runs,
    )  # fmt: skip
    path = where / f"{study.name}.html"
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def measures(table: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds of each group: group, model, set, metric, seeds, value, low, high.

    The interval over the seeds is that of the measure's kind; of a single seed, what the results
    give. A blank model or set is a value like any other; `seeds` counts those that have a value,
    and a measure that no seed has a value of is kept, with NaN.
    """
    keys = ["group", "model", "set", "metric"]
    rows = []
    named = table.assign(**table[["model", "set"]].astype(object).fillna(""))
    for key, own in named.groupby(keys, sort=False, dropna=False):
        by_seed = own.groupby("seed", dropna=False)[["value", "low", "high"]].mean()
        by_seed = by_seed.dropna(subset="value")
        if by_seed.empty:
            value = low = high = np.nan
        elif len(by_seed) > 1:
            value, low, high = seed_interval(by_seed.value, str(key[-1]))
        else:
            value, low, high = by_seed.iloc[0]
        rows.append((*key, len(by_seed), value, low, high))
    return pd.DataFrame(rows, columns=[*keys, "seeds", "value", "low", "high"])


def _notebook(name: str, table: pd.DataFrame, where: Path) -> dict[str, Any]:
    """What the page shows of one notebook: a table of headlines, a figure, and each group."""
    labels = _labels(table)
    means = measures(table)
    model = MODEL if MODEL in set(means.model) else means.model.iloc[0]
    means["label"] = [_label(*key) for key in zip(means.metric, means.set, strict=True)]
    means["text"] = _texts(means)
    known = [label.strip() for _, _, label in LINES]
    order = sorted(
        means[means.model == model].label.unique(),
        key=lambda label: (known.index(label) if label in known else len(known), label),
    )
    headlines = order[:HEADLINES]
    first = means[(means.model == model) & means.label.isin(headlines)].copy()
    overview = first.pivot(index="group", columns="label", values="text")[headlines]
    overview = overview.reindex(sorted(labels))  # a group without that model has its own table
    overview.insert(0, "seeds", means.groupby("group").seeds.max())
    overview.insert(0, "condition", overview.index.map(labels))
    overview.index = overview.index + 1
    return {
        "name": name,
        "model": model,
        "overview": overview.rename_axis(None).rename_axis(None, axis=1),
        "figure": draw_groups(first, headlines, labels, table, model),
        "left_out": len(order) - len(headlines),
        "marks": "; ".join(
            meaning for end, meaning in MARKS.items() if means.text.str.endswith(end).any()
        ),
        "groups": [
            {
                "number": group + 1,
                "label": labels[group],
                "table": _full(means[means.group == group]),
                "pictures": _pictures(table[table.group == group], where),
            }
            for group in overview.index - 1
        ],
    }


def draw_groups(
    means: pd.DataFrame, names: list[str], labels: dict[int, str], table: pd.DataFrame, model: str
) -> bytes:
    """The named measures, a panel each, a row a group: mean and interval large, each seed small.

    Returns a PNG.
    """
    import matplotlib as mpl

    from cure_study.figures import COLOURS, PAGE, STYLE, StudyFigure

    groups = sorted(means.group.unique())
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    colour = COLOURS.get(model, "#0072B2")
    with mpl.rc_context(STYLE):
        height = rows * (0.8 + 0.25 * len(groups))
        figure = StudyFigure(figsize=(PAGE * 1.3, height), layout="constrained")
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for ax, name in zip(axes.flat, names, strict=False):
            for row in means[means.label == name].itertuples():
                y = groups.index(row.group)
                at = (table.group == row.group) & (table.model == model)
                seeds = table[at & (table.metric == row.metric) & (table.set == row.set)].value
                ax.plot([row.low, row.high], [y, y], color=colour, lw=1)
                ax.plot(seeds, [y + 0.25] * len(seeds), "o", color=colour, ms=2.5, alpha=0.4)
                ax.plot(row.value, y, "s", color=colour, ms=4.5)
            ax.set_title(textwrap.fill(name, 26))
        for ax in axes.flat[len(names) :]:
            ax.set_visible(False)
        ticks = [f"{g + 1}  {textwrap.shorten(labels[g], 34, placeholder='…')}" for g in groups]
        axes[0, 0].set_yticks(range(len(groups)), ticks)
        axes[0, 0].set_ylim(len(groups) - 0.5, -0.5)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def _labels(table: pd.DataFrame) -> dict[int, str]:
    """Each group by what it differs in from the others: parameters, then versions."""
    groups = table.drop_duplicates("group").set_index("group")
    conditions = {g: json.loads(text)[1] for g, text in groups.condition.items()}
    names = varying(conditions.values())
    versions = [name for name in (*groups.filter(like="version_"), *LIBRARIES) if name in groups]
    differing = [name for name in versions if groups[name].nunique(dropna=False) > 1]
    labels = {}
    for group in map(int, groups.index):
        row = groups.loc[group]
        parts = {name: conditions[group].get(name) for name in names}
        parts |= {name.removeprefix("version_"): row[name] for name in differing}
        labels[group] = told(parts) or "as the study has it"
    return labels


def _label(metric: str, which: str) -> str:
    for known, known_set, label in LINES:
        if (known, known_set) == (metric, which):
            return label.strip()
    return f"{metric}, {which}" if which else metric


def _texts(means: pd.DataFrame) -> list[str]:
    """Values with their intervals, and the marks of `report.summarise` on membership."""
    forget = means[means.set.isin(["forget", ""])]
    by_group = {
        group: rows.groupby(["metric", "model"]).value.mean()
        for group, rows in forget.groupby("group")
    }
    texts = []
    for row in means.to_dict("records"):
        text = "no value" if pd.isna(row["value"]) else f"{row['value']:.3f}"
        if not pd.isna(row["low"]):
            text += f" [{row['low']:.3f}, {row['high']:.3f}]"
        known = by_group.get(row["group"])
        texts.append(text if known is None else text + marked(row["metric"], row["model"], known))
    return texts


def _full(means: pd.DataFrame) -> pd.DataFrame:
    """Every measure of one group, a line a measure, a column a model."""
    wide = means.pivot(index="label", columns="model", values="text")
    models = [model for model in MODELS if model in wide]
    models += [str(model) for model in wide if model not in models]
    wide = wide.loc[list(dict.fromkeys(means.label)), models]
    return wide.rename_axis(None).rename_axis(None, axis=1)


def _pictures(table: pd.DataFrame, where: Path) -> list[tuple[str, bytes]]:
    """The figures of the group's first run, small enough for a page."""
    from PIL import Image

    folder = where / table.run.iloc[0]
    pictures = []
    for path in sorted(folder.glob("figures/*.png")):
        with Image.open(path) as image:
            image.thumbnail((PICTURE_WIDTH, PICTURE_WIDTH * 4))
            buffer = io.BytesIO()
            image.save(buffer, "PNG", optimize=True)
        pictures.append((f"{path.stem.replace('_', ' ')} ({folder.name})", buffer.getvalue()))
    return pictures


def _run(run: Run, own: State, names: list[str], file: Path, where: Path) -> dict[str, Any]:
    """What the page shows of a run."""
    log = where / f"{run.name}-failed" / LOG
    ends = log.read_text("utf-8", errors="replace").splitlines() if log.is_file() else []
    return {
        "name": run.name,
        "what": own.what,
        "told": told({name: run.parameters.get(name) for name in names}),
        "seconds": f"{own.seconds:.0f}" if own.seconds else "",
        "error": own.error,
        "cell": own.cell,
        "log": "\n".join(ANSI.sub("", line) for line in ends[-LOG_LINES:]),
        "versions": told({name[0]: value[:8] for name, value in run.versions.items() if value}),
        "again": again(file, run, where),
    }


def _count(states: dict[Run, State], what: str) -> int:
    return sum(own.what == what for own in states.values())


def _template() -> jinja2.Template:
    environment = jinja2.Environment(loader=jinja2.PackageLoader("cure_core"), autoescape=True)
    environment.filters["png"] = lambda data: base64.b64encode(data).decode()
    return environment.get_template("batch_report.html")
