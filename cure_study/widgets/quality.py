"""The widget of notebook 03: move the threshold and see whose images would be forgotten."""

import warnings
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from cure_study.data.faceset import FaceSet
from cure_study.data.requests import ForgetRequest
from cure_study.figures.sheets import require_synthetic
from cure_study.figures.style import PAGE, STYLE, StudyFigure

SHOWN = 12  # faces, in two rows
BUTTON = "forget these"


def draw_choice(faces: FaceSet, scores: np.ndarray, fraction: float) -> Figure:
    """The scores (N,) with the threshold of a fraction, and the best of the faces below it.

    Those just below the threshold are the first to question. Raises ValueError for any set but
    SynthFaces.
    """
    require_synthetic(faces)
    count = max(1, round(fraction * len(scores)))
    chosen = np.argsort(scores, kind="stable")[:count][::-1]
    columns = -(-min(count, SHOWN) // 2)
    cells = np.full((2 * columns, *faces.images.shape[1:]), 255, np.uint8)
    cells[: min(count, SHOWN)] = faces.images[chosen[:SHOWN]]
    with mpl.rc_context(STYLE):
        figure = StudyFigure(figsize=(PAGE, 2.0), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 2.2))
        left.hist(scores, bins=40, color="0.75")
        left.axvline(scores[chosen[0]], color="#D55E00")
        left.set(xlabel="score (higher is better)", ylabel="images")
        right.imshow(np.vstack([np.hstack(list(row)) for row in np.split(cells, 2)]))
        right.set_axis_off()
        right.set_title(f"{count} would be forgotten; the best of them")
    return figure


def choose(
    faces: FaceSet, scores: np.ndarray, run: Callable[[ForgetRequest], Any] | None = None
) -> Any:
    """A slider over the share to forget: scores, faces, people affected; and a button to forget.

    The button calls `run(request)` and shows what it returns. Returns an ipywidgets widget, whose
    `request` is that of the slider; papermill stores only its description.
    """
    import ipywidgets as widgets
    from IPython.display import display

    slider = widgets.FloatSlider(
        value=0.05, min=0.005, max=0.5, step=0.005, readout_format=".1%",
        description="forget", continuous_update=False,
    )  # fmt: skip
    figure, message, result = widgets.Output(), widgets.HTML(), widgets.Output()
    button = widgets.Button(description=BUTTON, disabled=run is None)
    box = widgets.VBox([slider, figure, message, button, result])

    def show(*_: object) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the message says it
            box.request = ForgetRequest.lowest_quality(faces, scores, fraction=slider.value)
        affected = box.request.affected(faces)
        message.value = (
            f"<b>{len(box.request.forget)}</b> images of <b>{len(affected)}</b> people would be "
            f"forgotten; most from one person: {affected.lost.max()} ({affected.share.max():.0%}); "
            f"<b>{int((affected.share == 1).sum())}</b> would lose all"
        )
        figure.clear_output(wait=True)
        with figure:
            display(draw_choice(faces, scores, slider.value))

    def start_run(_: object) -> None:
        assert run is not None  # else the button is disabled
        button.disabled, button.description = True, "forgetting ..."
        result.clear_output(wait=True)
        with result:
            try:
                display(run(box.request))
            finally:
                button.disabled, button.description = False, BUTTON

    slider.observe(show, names="value")
    button.on_click(start_run)
    show()
    return box
