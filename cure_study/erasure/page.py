"""The report as one self-contained HTML page, for its three readers."""

import base64
import io
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from PIL import Image

from cure_core.files import atomic_path
from cure_study import figures
from cure_study.erasure import words
from cure_study.erasure.report import Report, models_of

PAGE = "report.html"
SHOWN = 24  # lookalikes with their image; the CSV has all
THUMBNAIL = 72  # pixels a side
NAMED = 200  # files left out that the page names; report.json has all
NAMES = {"before": "before", "after": "after", "oracle": "retrained"}
GROUPS = {
    "summary": "In one number",
    "forgotten": "The forgotten",
    "retained": "Everyone else",
    "attacks": "Attacks",
}


def write_page(
    report: Report,
    folder: Path,
    *,
    scores: pd.DataFrame,
    lookalikes: pd.DataFrame,
    lookalike_images: np.ndarray,
    moved_images: np.ndarray,
) -> Path:
    """Write `report.html` into `folder`; returns its path.

    `scores`: as `Judged` has them; `lookalikes`: `lookalikes.csv`, with their images (N, H, W, 3)
    uint8; `moved_images`: those of `report.moved`. No image of a forgotten person is shown.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__), autoescape=True, trim_blocks=True
    )
    page = environment.get_template(PAGE).render(
        report=report,
        sentences=words.summary(report),
        verdict=words.verdict(report),
        bars=_bars(report),
        models=models_of(report.measures),
        model_names=NAMES,
        groups=[
            (title, [m for m in report.measures if m.group == group])
            for group, title in GROUPS.items()
        ],
        plot=_plot(scores),
        lookalikes=_with_images(lookalikes.head(SHOWN), lookalike_images),
        lookalikes_left=max(0, len(lookalikes) - SHOWN),
        moved=list(zip(report.moved, map(_thumbnail, moved_images), strict=False)),
        reasons=Counter(report.left_out.values()).most_common(),
        left_out=list(report.left_out.items())[:NAMED],
        left_out_more=max(0, len(report.left_out) - NAMED),
        holds=words.holds,
    )
    path = folder / PAGE
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return path


def _bars(report: Report) -> list[tuple[str, float, float]]:
    """Label, share before and after of what can be recognised above chance, in [0, 1]."""
    rows = []
    shown = {"accuracy_forget": "the forgotten", "accuracy_retain": "everyone else"}
    if report.goal == "blend":
        shown["accuracy_strangers"] = "people never seen"
    for name, label in shown.items():
        before, after = (report.value(name, model) for model in ("before", "after"))
        if before is not None and after is not None:
            rows.append((label, max(0.0, 2 * before - 1), max(0.0, 2 * after - 1)))
    return rows


def _plot(scores: pd.DataFrame) -> str | None:
    """The score distributions as a data URI; None if a set has too few pairs."""
    kept = scores[scores["set"].isin(("forget", "retain"))]
    if kept["set"].nunique() < 2:
        return None
    figure = figures.draw("score_distributions", figures.score_histogram(kept))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return _uri(buffer.getvalue(), "png")


def _with_images(table: pd.DataFrame, images: np.ndarray) -> list[dict[Hashable, Any]]:
    rows = table.to_dict("records")
    return [row | {"image": _thumbnail(image)} for row, image in zip(rows, images, strict=False)]


def _thumbnail(image: np.ndarray) -> str:
    small = Image.fromarray(image)
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=80)
    return _uri(buffer.getvalue(), "webp")


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
