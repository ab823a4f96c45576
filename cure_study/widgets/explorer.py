"""The explorer of notebook 04: linked maps of the embeddings before and after."""

import base64
import io
import os
from typing import Any

import numpy as np
import pandas as pd

from cure_core.encoders.images import Images

MODELS = ("before", "after")
COLUMNS = ("set", "cluster", "change", "quality")
SET_COLOURS = {"forget": "#D55E00", "retain": "#56B4E9", "unseen": "#999999"}  # as in the figures
THUMBNAIL = 56  # pixels a side
HEIGHT = 420  # pixels of a map


def can_explore() -> bool:
    """Whether this kernel belongs to a notebook that is open in Jupyter.

    Jupyter's server sets a variable in its kernels' environment; papermill and nbconvert do not.
    """
    return bool(os.environ.get("JPY_SESSION_NAME"))


def thumbnails(images: Images) -> list[str]:
    """Each image (112, 112, 3) as a small JPEG in a data URI."""
    from PIL import Image

    def thumbnail(image: np.ndarray) -> str:
        buffer, small = io.BytesIO(), Image.fromarray(image).resize((THUMBNAIL, THUMBNAIL))
        small.save(buffer, "JPEG", quality=80)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

    return [thumbnail(np.asarray(images[i])) for i in range(len(images))]


def explore(points: pd.DataFrame, images: Images | None = None) -> Any:
    """Linked scatter plots, one for each model: a selection in one shows in the other.

    `points`, one row an image in the order of `images`: `x_<model>` and `y_<model>` for both
    models, and any of `COLUMNS` to colour by, chosen in the menu above. Hovering over a point shows
    its values, and its face if `images` are given. Smooth with tens of thousands of points.
    Returns a widget.
    """
    import jscatter
    from ipywidgets import Dropdown, VBox

    data = points.reset_index(drop=True)
    columns = [name for name in COLUMNS if name in data]
    if images is not None:
        data = data.assign(face=thumbnails(images))
    coordinates = [data[[f"{axis}_{model}" for model in MODELS]].to_numpy() for axis in "xy"]
    half = 0.55 * max(float(np.ptp(values)) for values in coordinates)
    centres = [float(values.min() + values.max()) / 2 for values in coordinates]
    x_limits, y_limits = [(centre - half, centre + half) for centre in centres]  # the same for all
    plots = []
    for model in MODELS:
        plot = jscatter.Scatter(data=data, x=f"x_{model}", y=f"y_{model}", height=HEIGHT)
        plot.x(scale=x_limits)
        plot.y(scale=y_limits)
        plot.tooltip(True, properties=columns, histograms=False)
        if images is not None:
            plot.tooltip(preview="face", preview_type="image", preview_image_size="contain")
        plots.append(plot)

    def colour(name: str) -> None:
        numeric = pd.api.types.is_float_dtype(data[name])
        palette = SET_COLOURS if name == "set" else "viridis" if numeric else jscatter.okabe_ito
        limits = (data[name].min(), data[name].max()) if numeric else None
        for plot in plots:
            plot.color(by=name, map=palette, norm=limits)  # without `norm` the earlier scale stays
            plot.legend(True)

    menu = Dropdown(options=columns, description="colour by")
    menu.observe(lambda change: colour(change["new"]), names="value")
    colour(columns[0])
    pairs = list(zip(plots, MODELS, strict=True))
    linked = jscatter.compose(pairs, sync_selection=True, sync_hover=True, row_height=HEIGHT)
    return VBox([menu, linked])
