"""How objects show themselves in a notebook."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from cure_core.config import CureConfig
from cure_core.html import table
from cure_core.unlearning import UnlearningResult
from cure_study.data.faceset import FaceSet
from cure_study.data.requests import ForgetRequest


def cells(html):
    """The rows of the first table as a dict."""
    rows = BeautifulSoup(html, "html.parser").find("table").find_all("tr")
    return {row.th.text: row.td.text for row in rows}


@pytest.fixture
def faces():
    images = np.random.default_rng(0).integers(0, 256, (12, 112, 112, 3), dtype=np.uint8)
    return FaceSet("synthfaces", images, np.repeat([0, 1, 2, 2], 3), "abc")


def test_a_table_escapes_what_it_shows():
    html = table("<one>", {"a&b": "<script>", "plain": 3}, bold=frozenset({"plain"}))
    assert "<script>" not in html
    assert "&lt;one&gt;" in html
    assert "<strong>3</strong>" in html
    assert cells(html) == {"a&b": "<script>", "plain": "3"}


def test_a_configuration_shows_every_field_and_what_was_changed():
    html = CureConfig(epochs=20, batch_size=(8, 8))._repr_html_()
    assert cells(html)["temperature"] == "0.1"
    assert set(cells(html)) == set(CureConfig.__dataclass_fields__)
    assert re.findall("<strong>(.*?)</strong>", html) == ["20", "(8, 8)"]


def test_a_result_shows_its_facts_and_where_the_losses_went():
    history = pd.DataFrame({"epoch": [1, 2, 3], "cosine": [0.9, 0.5, 0.125]})
    result = UnlearningResult(None, history, {"clusters_forget": 4.0}, CureConfig(), 12.34)
    html = result._repr_html_()
    assert cells(html) == {"epochs": "3", "took": "12.3 s", "clusters forget": "4"}
    losses = BeautifulSoup(html, "html.parser").find_all("table")[1]
    rows = [[cell.text for cell in row.find_all("td")] for row in losses.find_all("tr")]
    assert rows[1:] == [["1", "0.9000"], ["3", "0.1250"]]


def test_a_request_shows_how_much_must_go(faces):
    request = ForgetRequest.of_people(faces, np.arange(12), [0])
    assert cells(request._repr_html_()) == {
        "forget": "3 images (25.0%)",
        "retain": "9 images",
    }


def test_drawn_faces_are_shown_and_real_ones_are_not(faces):
    html = faces._repr_html_()
    assert cells(html)["people"] == "3, with 3 to 6 images"
    assert cells(html)["fingerprint"] == "abc"
    (data,) = re.findall('src="data:image/png;base64,(.*?)"', html)
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (8 * 56, 56)
    real = FaceSet("lfw", faces.images, faces.identities, "abc")
    assert "<img" not in real._repr_html_()
