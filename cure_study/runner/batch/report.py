"""A study's results as one self-contained HTML page."""

import base64
import io
import json
import re
import textwrap
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from cure_core.files import atomic_path
from cure_core.metrics.intervals import seed_interval
from cure_study.evaluation.report import LINES, MARKS, MODELS, marked
from cure_study.run_record import LOG
from cure_study.runner.batch.collect import LIBRARIES, collect, mixed_versions
from cure_study.runner.batch.state import STATES, State, rerun_command, state
from cure_study.runner.batch.study import Study, describe, differing
from cure_study.runner.runs import Run

ANSI = re.compile(r"\x1b\[[0-9;]*m")
MODEL = "after"  # the model whose measures come first, if there are several
HEADLINES = 8  # measures in the first table and figure; all of them follow
LOG_LINES = 20
IMAGE_WIDTH = 1100  # pixels of a run's figure on the page
LABELS = {(metric, which): label.strip() for metric, which, label in LINES}


def save(study: Study, where: Path, file: Path) -> Path:
    """Write `runs/STUDY.html`; `file` is the study's, for the commands that run a part again."""
    states = {run: state(run, where) for run in study.plan()}
    collected = collect(study, where)
    table = collected.table
    names = differing(run.parameters for run in states)
    rows = [_run(run, known, names, file, where) for run, known in states.items()]
    counts = Counter(known.what for known in states.values())
    environment = jinja2.Environment(loader=jinja2.PackageLoader(__package__), autoescape=True)
    environment.filters["png"] = lambda data: base64.b64encode(data).decode()
    page = environment.get_template("batch_report.html").render(
        name=study.name,
        yaml=file.read_text(encoding="utf-8"),
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        counts={what: counts[what] for what in STATES if counts[what]},
        mixed=mixed_versions(table) if len(table) else [],
        left_out=collected.left_out,
        notebooks=[
            _notebook(str(name), results, where)
            for name, results in (table.groupby("notebook", sort=False) if len(table) else [])
        ],
        failed=[row for row in rows if row["what"] in ("failed", "damaged")],
        runs=rows,
    )
    path = where / f"{study.name}.html"
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def measures(table: pd.DataFrame) -> pd.DataFrame:
    """Means over the seeds of each group: group, model, set, metric, seeds, value, low, high.

    The interval over the seeds is that of the measure's kind; of a single seed, what the results
    give. `seeds` counts those that have a value; a measure that no seed has a value of is kept,
    with NaN.
    """
    keys = ["group", "model", "set", "metric"]
    rows = []
    for key, results in table.groupby(keys, sort=False, dropna=False):
        by_seed = results.groupby("seed", dropna=False)[["value", "low", "high"]].mean()
        by_seed = by_seed.dropna(subset="value")
        if len(by_seed) > 1:
            value, low, high = seed_interval(by_seed.value, str(key[-1]))
        else:
            value, low, high = (np.nan,) * 3 if by_seed.empty else by_seed.iloc[0]
        rows.append((*key, len(by_seed), value, low, high))
    return pd.DataFrame(rows, columns=[*keys, "seeds", "value", "low", "high"])


def _notebook(name: str, table: pd.DataFrame, where: Path) -> dict[str, Any]:
    """What the page shows of one notebook: a table of headlines, a figure, and each group."""
    conditions = _conditions(table)
    means = measures(table)
    means["label"] = [_label(*key) for key in zip(means.metric, means.set, strict=True)]
    means["text"] = _texts(means)
    model = MODEL if MODEL in set(means.model) else means.model.iloc[0]
    first = means[means.model == model]
    known = list(LABELS.values())
    order = sorted(
        first.label.unique(),
        key=lambda label: (known.index(label) if label in known else len(known), label),
    )
    headlines = order[:HEADLINES]
    overview = first.pivot(index="group", columns="label", values="text")[headlines]
    overview = overview.reindex(sorted(conditions))  # a group without that model has its own table
    overview.insert(0, "seeds", means.groupby("group").seeds.max())
    overview.insert(0, "condition", overview.index.map(conditions))
    overview.index = overview.index + 1
    return {
        "name": name,
        "model": model,
        "overview": overview.rename_axis(None).rename_axis(None, axis=1),
        "figure": draw_groups(first, headlines, conditions, table[table.model == model]),
        "left_out": len(order) - len(headlines),
        "marks": "; ".join(
            meaning for mark, meaning in MARKS.items() if means.text.str.endswith(mark).any()
        ),
        "groups": [
            {
                "number": group + 1,
                "condition": conditions[group],
                "table": _table(means[means.group == group]),
                "figures": _figures(where / table.run[table.group == group].iloc[0]),
            }
            for group in overview.index - 1
        ],
    }


def draw_groups(
    means: pd.DataFrame, labels: list[str], conditions: dict[int, str], table: pd.DataFrame
) -> bytes:
    """The measures of one model, one panel per label, one row per group, as a PNG.

    Squares and lines are the mean and interval of `means`, dots the seeds of `table`.
    """
    import matplotlib as mpl

    from cure_study.figures import COLOURS, PAGE, STYLE, Picture

    groups = sorted(means.group.unique())
    columns = min(len(labels), 4)
    rows = -(-len(labels) // columns)
    colour = COLOURS.get(means.model.iloc[0], "#0072B2")
    with mpl.rc_context(STYLE):
        height = rows * (0.8 + 0.25 * len(groups))
        figure = Picture(figsize=(PAGE * 1.3, height), layout="constrained")
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for ax, label in zip(axes.flat, labels, strict=False):
            for row in means[means.label == label].itertuples():
                y = groups.index(row.group)
                same = (table[["group", "metric", "set"]] == [row.group, row.metric, row.set]).all(
                    axis=1
                )
                seeds = table.value[same]
                ax.plot([row.low, row.high], [y, y], color=colour, lw=1)
                ax.plot(seeds, [y + 0.25] * len(seeds), "o", color=colour, ms=2.5, alpha=0.4)
                ax.plot(row.value, y, "s", color=colour, ms=4.5)
            ax.set_title(textwrap.fill(label, 26))
        for ax in axes.flat[len(labels) :]:
            ax.set_visible(False)
        ticks = [f"{g + 1}  {textwrap.shorten(conditions[g], 34, placeholder='…')}" for g in groups]
        axes[0, 0].set_yticks(range(len(groups)), ticks)
        axes[0, 0].set_ylim(len(groups) - 0.5, -0.5)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    return buffer.getvalue()


def _conditions(table: pd.DataFrame) -> dict[int, str]:
    """Each group's parameters, then versions, that are not the same in all groups."""
    groups = table.drop_duplicates("group").set_index("group")
    parameters = [json.loads(condition)[1] for condition in groups.condition]
    names = differing(parameters)
    versions = [name for name in (*groups.filter(like="version_"), *LIBRARIES) if name in groups]
    versions = [name for name in versions if groups[name].nunique(dropna=False) > 1]
    conditions = {}
    for (group, row), values in zip(groups.iterrows(), parameters, strict=True):
        parts = {name: values.get(name) for name in names}
        parts |= {name.removeprefix("version_"): row[name] for name in versions}
        conditions[int(group)] = describe(parts) or "as the study has it"  # type: ignore[call-overload]
    return conditions


def _label(metric: str, which: str) -> str:
    return LABELS.get((metric, which)) or ", ".join(filter(None, (metric, which)))


def _texts(means: pd.DataFrame) -> list[str]:
    """Values with their intervals, and the marks of `report.summarise` on membership."""
    forget = means[means.set.isin(["forget", ""])]
    by_group = forget.groupby(["group", "metric", "model"]).value.mean()
    texts = []
    for row in means.to_dict("records"):
        text = "no value" if pd.isna(row["value"]) else f"{row['value']:.3f}"
        if not pd.isna(row["low"]):
            text += f" [{row['low']:.3f}, {row['high']:.3f}]"
        if row["group"] in by_group.index:
            text += marked(row["metric"], row["model"], by_group[row["group"]])
        texts.append(text)
    return texts


def _table(means: pd.DataFrame) -> pd.DataFrame:
    """Every measure of one group, one per row; a column per model."""
    wide = means.pivot(index="label", columns="model", values="text")
    models = sorted(wide, key=lambda model: MODELS.index(model) if model in MODELS else len(MODELS))
    wide = wide.loc[list(dict.fromkeys(means.label)), models]
    return wide.rename_axis(None).rename_axis(None, axis=1)


def _figures(folder: Path) -> list[tuple[str, bytes]]:
    """Caption and PNG of each figure of a run, small enough for a page."""
    from PIL import Image

    figures = []
    for path in sorted(folder.glob("figures/*.png")):
        with Image.open(path) as image:
            image.thumbnail((IMAGE_WIDTH, IMAGE_WIDTH * 4))
            buffer = io.BytesIO()
            image.save(buffer, "PNG", optimize=True)
        figures.append((f"{path.stem.replace('_', ' ')} ({folder.name})", buffer.getvalue()))
    return figures


def _run(run: Run, known: State, names: list[str], file: Path, where: Path) -> dict[str, Any]:
    """What the page shows of a run."""
    log = where / f"{run.name}-failed" / LOG
    lines = log.read_text("utf-8", errors="replace").splitlines() if log.is_file() else []
    return {
        "name": run.name,
        "what": known.what,
        "parameters": describe({name: run.parameters.get(name) for name in names}),
        "seconds": f"{known.seconds:.0f}" if known.seconds else "",
        "error": known.error,
        "cell": known.cell,
        "log": "\n".join(ANSI.sub("", line) for line in lines[-LOG_LINES:]),
        "versions": describe({name[0]: value[:8] for name, value in run.versions.items() if value}),
        "command": rerun_command(file, run, where),
    }
