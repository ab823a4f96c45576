"""The tables about requests of your own: lookalikes, requests in a row, the report's fields."""

import types
from collections.abc import Callable
from typing import Any, get_args, get_origin

import pandas as pd
from pydantic import BaseModel

from cure_study.erasure.report import Part, Report
from page_tables.rows import DATASETS, each_seed, read

STAGES = {  # arm, and after how many requests
    "before": ("in a row", 0),
    "ten in a row": ("in a row", 10),
    "ten at once": ("at once", 10),
}


def lookalikes() -> pd.DataFrame:
    """Precision and recall of what the list forgot, from each threshold: means over the draws."""
    rows = read("lookalikes").groupby(["dataset", "deviations"], sort=False).mean()
    return pd.DataFrame(
        {
            "data": DATASETS[str(dataset)],
            "threshold": f"{deviations:g} deviations (cosine {row.threshold:.2f})",
            "found, of those that the list forgot": f"{row.recall:.0%}",
            "right, of those found": f"{row.precision:.0%}",
        }
        for (dataset, deviations), row in rows.iterrows()  # type: ignore[misc]
    )


def in_a_row() -> pd.DataFrame:
    """Accuracy of each seed on those who asked, the mean over the ten, and on those who stay."""
    rows = read("requests_in_a_row")
    asked, staying = rows[rows.request > 0], rows[rows.request == 0]
    own = asked[(asked.arm == "in a row") & (asked.done == asked.request)]
    lines = []
    for stage, (arm, done) in STAGES.items():
        kind = (asked.arm == arm) & (asked.done == done)
        kept = staying[(staying.arm == arm) & (staying.done == done)]
        lines.append(_line(stage, asked[kind], kept, kept.groupby("seed").seconds.max()))
    lines.insert(1, _line("each after its own request", own, None, None))
    return pd.DataFrame(lines)


def _line(
    stage: str, asked: pd.DataFrame, staying: pd.DataFrame | None, seconds: pd.Series | None
) -> dict[str, str]:
    worst = asked.groupby("seed").accuracy.max()
    return {
        "when": stage,
        "those who asked, mean": each_seed(asked.groupby("seed").accuracy.mean()),
        "the most recognisable of them": each_seed(worst),
        "people who stay": "" if staying is None else each_seed(staying.accuracy, 3),
        "seconds": "" if seconds is None or not seconds.max() else each_seed(seconds, 0),
    }


def report_fields() -> pd.DataFrame:
    """The fields of `report.json`, those of a part under its name."""
    return pd.DataFrame(_fields(Report, ""))


def _fields(model: type[BaseModel], prefix: str) -> list[dict[str, str]]:
    lines = []
    for name, item in model.model_fields.items():
        part, several = _part(item.annotation)
        path = f"{prefix}{name}" + ("[]" if several else "")
        meaning = item.description or ""
        if part is None:
            lines.append({"field": f"`{path}`", "type": _type(item.annotation), "meaning": meaning})
        else:
            meaning = meaning or (part.__doc__ or "").split("\n")[0]
            lines.append({"field": f"`{path}`", "type": "list" if several else "object",
                          "meaning": meaning})  # fmt: skip
            if part.__name__ not in ("Estimate",) and name != "still_forgotten":
                lines += _fields(part, f"{path}.")
    return lines


def _part(annotation: Any) -> tuple[type[Part] | None, bool]:
    """The part that a field holds, if any, and whether it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation, False
    inner = [_part(item)[0] for item in get_args(annotation)]
    found = next((part for part in inner if part is not None), None)
    return found, get_origin(annotation) is list and found is not None


def _type(annotation: Any) -> str:
    names = {str: "text", int: "whole number", float: "number"}
    if annotation in names:
        return names[annotation]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is types.UnionType or type(None) in args:
        kinds = [_type(item) for item in args if item is not type(None)]
        return " or ".join([*kinds, "null"])
    if origin is dict:
        return f"object of {_type(args[1])}"
    if origin in (list, tuple):
        return f"list of {_type(args[0])}"
    if args:  # a choice
        return " or ".join(f"`{item}`" for item in args)
    return "any"


TABLES: dict[str, Callable[[], pd.DataFrame]] = {
    "requests-lookalikes": lookalikes,
    "requests-in-a-row": in_a_row,
    "requests-report": report_fields,
}
