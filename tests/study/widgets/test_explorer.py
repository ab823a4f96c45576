import base64
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cure_study.widgets import explorer


def test_only_a_kernel_of_jupyter_s_server_has_someone_to_look(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/me/04_embedding_tsne.ipynb")
    assert explorer.can_explore()
    monkeypatch.delenv("JPY_SESSION_NAME")
    assert not explorer.can_explore()


def test_a_thumbnail_is_the_picture():
    images = np.full((2, 112, 112, 3), (200, 40, 90), dtype=np.uint8)
    (first, _) = explorer.thumbnails(images)
    kind, _, code = first.partition(",")
    assert kind == "data:image/jpeg;base64"
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(code))))
    assert shown.shape == (explorer.THUMBNAIL, explorer.THUMBNAIL, 3)
    assert np.abs(shown.astype(int) - images[0, 0, 0]).max() < 6


@pytest.mark.parametrize("pictures", [True, False])
def test_the_plots_are_linked_and_share_their_axes(pictures):
    rng = np.random.default_rng(0)
    points = pd.DataFrame(
        rng.normal(size=(30, 4)), columns=["x_before", "y_before", "x_after", "y_after"]
    )
    points["set"] = pd.Categorical(["forget", "retain", "unseen"] * 10)
    points["change"] = rng.uniform(size=30)
    images = rng.integers(0, 256, (30, 112, 112, 3), dtype=np.uint8) if pictures else None
    menu, linked = explorer.explore(points, images).children
    assert menu.options == ("set", "change")
    one, two = (w for w in widgets(linked) if type(w).__name__ == "JupyterScatter")
    assert one.x_scale_domain == two.x_scale_domain
    assert one.tooltip_preview == ("face" if pictures else None)
    menu.value = "change"
    assert {one.color_by, two.color_by} == {"valueA"}
    one.selection = np.array([3, 5])
    assert list(two.selection) == [3, 5]


def test_each_column_to_colour_by_has_its_own_scale():
    """Quality lies far above change: on the scale of change all its points have one colour."""
    rng = np.random.default_rng(0)
    names = ["x_before", "y_before", "x_after", "y_after"]
    points = pd.DataFrame(rng.normal(size=(30, 4)), columns=names)
    points["set"] = pd.Categorical(["forget", "retain", "unseen"] * 10)
    points["change"] = rng.uniform(0, 0.01, 30)
    points["quality"] = rng.uniform(5, 9, 30)
    menu, linked = explorer.explore(points).children
    plots = [w for w in widgets(linked) if type(w).__name__ == "JupyterScatter"]
    for name in ("change", "quality", "set", "change", "quality"):
        menu.value = name
        if name == "set":
            continue
        low, high = points[name].min(), points[name].max()
        for plot in plots:
            shades = np.asarray(plot.points)[:, 2]  # from 0 to 1: the ends of the palette
            np.testing.assert_allclose(shades, (points[name] - low) / (high - low), atol=1e-6)
            np.testing.assert_allclose(plot.color_domain, [low, high])


def widgets(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from widgets(child)
