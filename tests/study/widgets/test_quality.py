import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from cure_study.data.faceset import FaceSet
from cure_study.widgets import quality


def faces(name="synthfaces"):
    images = np.random.default_rng(0).integers(0, 256, (40, 112, 112, 3), dtype=np.uint8)
    return FaceSet(name, images, np.arange(40) // 8, "0")


def test_moving_the_slider_changes_the_request_and_the_button_runs_it():
    ran = []
    scores = np.arange(40.0)  # person 0 has the eight poorest
    box = quality.choose(faces(), scores, run=lambda r: ran.append(r) or pd.DataFrame())
    slider, _, message, button, _ = box.children
    assert len(box.request.forget) == 2  # 5 % of 40
    slider.value = 0.2
    assert box.request.forget_index.tolist() == list(range(8))
    assert "<b>8</b> images of <b>1</b> people" in message.value
    assert "<b>1</b> would lose all" in message.value
    button.click()
    assert ran == [box.request]


def test_without_a_run_the_button_is_off():
    assert quality.choose(faces(), np.arange(40.0)).children[3].disabled


def test_the_still_figure_shows_synthetic_faces_only():
    assert isinstance(quality.draw_choice(faces(), np.arange(40.0), 0.1), Figure)
    with pytest.raises(ValueError, match="only SynthFaces"):
        quality.draw_choice(faces("lfw"), np.arange(40.0), 0.1)
