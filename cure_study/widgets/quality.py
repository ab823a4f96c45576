"""The widget of notebook 03: move the threshold, see whom it would take."""

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from cure_study.data.faceset import FaceSet
from cure_study.data.requests import ForgetRequest
from cure_study.figures.sheets import require_synthetic
from cure_study.figures.style import PAGE, STYLE, StudyFigure


def request_of(faces: FaceSet, scores: np.ndarray, fraction: float) -> ForgetRequest:
    """The request for the poorest `fraction` by scores that were taken before."""
    return ForgetRequest.lowest_quality(faces, lambda _: scores, fraction=fraction)


def draw_choice(faces: FaceSet, scores: np.ndarray, fraction: float, shown: int = 12) -> Figure:
    """The scores with the threshold that a fraction means, and the best of the faces that would go.

    Those nearest below the threshold are shown: where one would first object. Raises ValueError
    for any set but SynthFaces.
    """
    require_synthetic(faces)
    order = np.argsort(scores, kind="stable")
    count = max(1, round(fraction * len(scores)))
    goes = order[:count][::-1][:shown]
    with mpl.rc_context(STYLE):
        figure = StudyFigure(figsize=(PAGE, 2.0), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 2.2))
        left.hist(scores, bins=40, color="0.75")
        left.axvline(scores[order[count - 1]], color="#D55E00")
        left.set(xlabel="score (higher is better)", ylabel="pictures")
        half = -(-len(goes) // 2)
        size = faces.images.shape[1]
        sheet = np.full((2 * size, half * size, 3), 255, np.uint8)
        for place, image in enumerate(goes):
            row, column = divmod(place, half)
            cell = (slice(row * size, (row + 1) * size), slice(column * size, (column + 1) * size))
            sheet[cell] = faces.images[int(image)]
        right.imshow(sheet)
        right.set_axis_off()
        right.set_title(f"{count} would go; the best of them")
    return figure


def choose(
    faces: FaceSet,
    scores: np.ndarray,
    run: Callable[[ForgetRequest], Any] | None = None,
    start: float = 0.05,
) -> Any:
    """A slider over the share to forget: distribution, faces, who is affected; and a run button.

    `run(request)` is called when the button is pressed, and what it returns is shown. Returns an
    ipywidgets widget, which papermill stores as a description and nothing more. Its `request` is
    what the slider stands at.
    """
    import warnings

    import ipywidgets as widgets
    from IPython.display import display

    slider = widgets.FloatSlider(
        value=start, min=0.005, max=0.5, step=0.005, readout_format=".1%",
        description="forget", continuous_update=False,
    )  # fmt: skip
    picture, told, result = widgets.Output(), widgets.HTML(), widgets.Output()
    button = widgets.Button(description="forget these", disabled=run is None)
    box = widgets.VBox([slider, picture, told, button, result])

    def show(*_: object) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # told below
            box.request = request_of(faces, scores, slider.value)
        affected = box.request.affected(faces)
        emptied = int((affected.share == 1).sum())
        told.value = (
            f"<b>{len(box.request.forget)}</b> pictures of <b>{len(affected)}</b> people would go; "
            f"most from one person: {affected.lost.max()} ({affected.share.max():.0%}); "
            f"<b>{emptied}</b> would lose all"
        )
        picture.clear_output(wait=True)
        with picture:
            display(draw_choice(faces, scores, slider.value))

    def start_run(_: object) -> None:
        assert run is not None  # else the button is disabled
        button.disabled, button.description = True, "forgetting ..."
        result.clear_output(wait=True)
        with result:
            try:
                display(run(box.request))
            finally:
                button.disabled, button.description = False, "forget these"

    slider.observe(show, names="value")
    button.on_click(start_run)
    show()
    return box
