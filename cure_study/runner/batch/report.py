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


def save(study: Study, runs_folder: Path, file: Path) -> Path:
    """Write `runs/STUDY.html`; `file` is the study's, for the commands that run a part again."""
    states = {run: state(run, runs_folder) for run in study.plan()}
    collected = collect(study, runs_folder)
    table = collected.table
    names = differing(run.parameters for run in states)
    rows = [_run(run, known, names, file, runs_folder) for run, known in states.items()]
    counts = Counter(known.what for known in states.values())
    environment = jinja2.Environment(loader=jinja2.PackageLoader(__package__), autoescape=True)
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    page = environment.get_template("batch_report.html").render(
        name=study.name,
        yaml=file.read_text(encoding="utf-8"),
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        counts={what: counts[what] for what in STATES if counts[what]},
        mixed=mixed_versions(table) if len(table) else [],
        left_out=collected.left_out,
        notebooks=[
            _notebook(str(name), results, runs_folder)
            for name, results in (table.groupby("notebook", sort=False) if len(table) else [])
        ],
        failed=[row for row in rows if row["what"] in ("failed", "damaged")],
        runs=rows,
    )
    path = runs_folder / f"{study.name}.html"
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


def _notebook(name: str, table: pd.DataFrame, runs_folder: Path) -> dict[str, Any]:
    """What the page shows of one notebook: a table of headlines, a figure, and each group."""
    conditions = _conditions(table)
    rows = {group: f"{group + 1}  {textwrap.shorten(c, 34)}" for group, c in conditions.items()}
    means = measures(table)
    for results in (means, table := table.copy()):
        keys = zip(results.metric, results.set, strict=True)
        results["label"] = [_label(metric, which) for metric, which in keys]
        results["condition"] = results.group.map(rows)
    means["text"] = _texts(means)
    model = MODEL if MODEL in set(means.model) else means.model.iloc[0]
    first = means[means.model == model]
    seeds = table[table.model == model].drop(columns=["low", "high"])
    seeds = seeds.rename(columns={"value": "seed_value"})
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
        "figure": draw_measures(
            first[first.label.isin(headlines)], seeds[seeds.label.isin(headlines)]
        ),
        "left_out": len(order) - len(headlines),
        "marks": "; ".join(
            meaning for mark, meaning in MARKS.items() if means.text.str.endswith(mark).any()
        ),
        "groups": [
            {
                "number": group + 1,
                "condition": conditions[group],
                "table": _table(means[means.group == group]),
                "figures": _figures(runs_folder / table.run[table.group == group].iloc[0]),
            }
            for group in overview.index - 1
        ],
    }


def draw_measures(means: pd.DataFrame, seeds: pd.DataFrame) -> bytes:
    """A panel per label, a row per condition: mean and interval, and below them each seed; a PNG.

    Both tables have the columns label and condition; `means` has value, low and high, `seeds` has
    seed_value.
    """
    import seaborn.objects as so

    panels = means.label.nunique()
    columns = min(panels, 4)
    height = -(-panels // columns) * (0.8 + 0.25 * means.condition.nunique())
    plot = (
        so.Plot(pd.concat([means, seeds], ignore_index=True), y="condition")
        .facet("label", wrap=columns)
        .share(x=False)
        .add(so.Range(), xmin="low", xmax="high", orient="y")
        .add(so.Dot(marker="s", pointsize=5), x="value")
        .add(so.Dots(pointsize=3), so.Shift(y=0.25), x="seed_value")
        .label(x="", y="", title=lambda label: textwrap.fill(label, 26))
        .layout(size=(3 + 2 * columns, height), engine="constrained")
        .theme({"font.size": 8, "axes.titlesize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7})
    )
    buffer = io.BytesIO()
    plot.save(buffer, format="png", dpi=130, metadata={"Software": None})
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
    """Caption and WebP of each figure of a run, small enough for a page."""
    from PIL import Image

    figures = []
    for path in sorted(folder.glob("figures/*.png")):
        with Image.open(path) as image:
            image.thumbnail((IMAGE_WIDTH, IMAGE_WIDTH * 4))
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "WEBP", quality=80)
        figures.append((f"{path.stem.replace('_', ' ')} ({folder.name})", buffer.getvalue()))
    return figures


def _run(run: Run, known: State, names: list[str], file: Path, runs_folder: Path) -> dict[str, Any]:
    """What the page shows of a run."""
    log = runs_folder / f"{run.name}-failed" / LOG
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
        "command": rerun_command(file, run, runs_folder),
    }
