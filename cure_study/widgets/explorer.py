"""The explorer of notebook 04: maps side by side, linked, for Jupyter where someone looks."""

import base64
import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from cure_core.encoders.images import Images

COLUMNS = ("set", "cluster", "change", "quality")
SET_COLOURS = {"forget": "#D55E00", "retain": "#56B4E9", "unseen": "#999999"}  # the figures' own
THUMBNAIL = 56  # pixels a side


def can_explore() -> bool:
    """Whether this kernel belongs to a notebook that is open in Jupyter, with someone to look.

    Jupyter's server tells its kernels so; under papermill and nbconvert nothing does.
    """
    return bool(os.environ.get("JPY_SESSION_NAME"))


def thumbnails(images: Images, size: int = THUMBNAIL) -> list[str]:
    """Each image (112, 112, 3) as a small JPEG in a data URI."""
    from PIL import Image

    def one(image: np.ndarray) -> str:
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(image)).resize((size, size)).save(buffer, "JPEG", quality=80)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

    return [one(images[i]) for i in range(len(images))]


def explore(
    points: pd.DataFrame,
    images: Images | None = None,
    models: Sequence[str] = ("before", "after"),
    height: int = 420,
) -> Any:
    """Linked scatter plots, a plot a model: select in one and see it in the others.

    `points`, one row a picture in the order of `images`: `x_<model>` and `y_<model>` for every
    model, and any of `COLUMNS` to colour by, chosen in the menu above. Hovering over a point shows
    its values, and its picture where `images` are given. Smooth with tens of thousands of points:
    a picture is sent when it is asked for. Returns a widget.
    """
    import jscatter
    from ipywidgets import Dropdown, VBox

    data = points.reset_index(drop=True)
    shown = [name for name in COLUMNS if name in data]
    if images is not None:
        data = data.assign(face=thumbnails(images))
    spans = [data[[f"{axis}_{model}" for model in models]].to_numpy() for axis in "xy"]
    half = 0.55 * max(float(np.ptp(span)) for span in spans)
    middles = [float(span.min() + span.max()) / 2 for span in spans]
    limits = [(middle - half, middle + half) for middle in middles]  # one scale for all
    plots = []
    for model in models:
        plot = jscatter.Scatter(data=data, x=f"x_{model}", y=f"y_{model}")
        plot.x(scale=limits[0])
        plot.y(scale=limits[1])
        plot.tooltip(True, properties=shown, histograms=False)
        if images is not None:
            plot.tooltip(preview="face", preview_type="image", preview_image_size="contain")
        plot.height(height)
        plots.append(plot)

    def colour(name: str) -> None:
        numeric = pd.api.types.is_float_dtype(data[name])
        palette = SET_COLOURS if name == "set" else "viridis" if numeric else jscatter.okabe_ito
        span = (data[name].min(), data[name].max()) if numeric else None
        for plot in plots:
            plot.color(by=name, map=palette, norm=span)  # else the scale of an earlier column stays
            plot.legend(True)

    menu = Dropdown(options=shown, description="colour by")
    menu.observe(lambda change: colour(change["new"]), names="value")
    colour(shown[0])
    linked = jscatter.compose(
        list(zip(plots, models, strict=True)),
        sync_selection=True,
        sync_hover=True,
        row_height=height,
    )
    return VBox([menu, linked])
