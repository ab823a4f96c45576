import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cure_study.widgets import explorer


def test_only_a_kernel_of_a_jupyter_server_can_explore(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/me/04_embedding_tsne.ipynb")
    assert explorer.can_explore()
    monkeypatch.delenv("JPY_SESSION_NAME")
    assert not explorer.can_explore()


def test_a_thumbnail_shows_the_image():
    images = np.full((2, 112, 112, 3), (200, 40, 90), dtype=np.uint8)
    (first, _) = explorer.thumbnails(images)
    kind, _, code = first.partition(",")
    assert kind == "data:image/jpeg;base64"
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(code))))
    assert shown.shape == (explorer.THUMBNAIL, explorer.THUMBNAIL, 3)
    assert np.abs(shown.astype(int) - images[0, 0, 0]).max() < 6


@pytest.mark.parametrize("with_images", [True, False])
def test_the_plots_are_linked_and_share_their_axes(with_images):
    points = drawn_points(change=(0, 1))
    images = (
        np.random.default_rng(1).integers(0, 256, (30, 112, 112, 3), dtype=np.uint8)
        if with_images
        else None
    )
    menu, linked = explorer.explore(points, images).children
    assert menu.options == ("set", "change")
    one, two = scatter_plots(linked)
    assert one.x_scale_domain == two.x_scale_domain
    assert one.tooltip_preview == ("face" if with_images else None)
    menu.value = "change"
    assert {one.color_by, two.color_by} == {"valueA"}
    one.selection = np.array([3, 5])
    assert list(two.selection) == [3, 5]


def test_the_colour_scale_follows_the_column():
    """Quality lies far above change: on the scale of change all its points have one colour."""
    points = drawn_points(change=(0, 0.01), quality=(5, 9))
    menu, linked = explorer.explore(points).children
    plots = scatter_plots(linked)
    for name in ("change", "quality", "set", "change", "quality"):
        menu.value = name
        if name == "set":
            continue
        low, high = points[name].min(), points[name].max()
        for plot in plots:
            shades = np.asarray(plot.points)[:, 2]  # from 0 to 1: the ends of the palette
            np.testing.assert_allclose(shades, (points[name] - low) / (high - low), atol=1e-6)
            np.testing.assert_allclose(plot.color_domain, [low, high])


def drawn_points(**ranges):
    """30 points of three sets, with values drawn from a range for each further column."""
    rng = np.random.default_rng(0)
    names = ["x_before", "y_before", "x_after", "y_after"]
    points = pd.DataFrame(rng.normal(size=(30, 4)), columns=names)
    points["set"] = pd.Categorical(["forget", "retain", "unseen"] * 10)
    return points.assign(**{name: rng.uniform(*limits, 30) for name, limits in ranges.items()})


def scatter_plots(widget):
    if type(widget).__name__ == "JupyterScatter":
        return [widget]
    return [p for child in getattr(widget, "children", ()) for p in scatter_plots(child)]
