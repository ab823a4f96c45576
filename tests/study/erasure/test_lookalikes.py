from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cure_study.erasure import lookalikes as module
from cure_study.erasure.lookalikes import lookalikes

NONE = pd.DataFrame({"file": [], "kind": [], "like": [], "similarity": []})


def on_circle(*degrees):
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


@pytest.fixture
def found(monkeypatch):
    """Three forgotten images near 0 degrees; one that stays is there, 20 are at 60 to 110."""

    def find(copies=NONE):
        monkeypatch.setattr(module, "duplicates", lambda *_: copies)
        unit = on_circle(0, 2, 4, 0.5, *np.linspace(60, 110, 20))
        folder = SimpleNamespace(files=tuple(f"{i}.png" for i in range(len(unit))))
        return lookalikes(folder, unit, np.arange(3), np.arange(3, len(unit))), unit

    return find


def test_threshold_is_three_deviations_of_the_lower_half_above_the_median(found):
    result, unit = found()
    similarity = np.sort([np.mean(unit[i] @ unit[:3].T) for i in range(3, len(unit))])
    median = np.median(similarity)
    expected = median + 3 * (median - np.quantile(similarity, 0.1587))
    assert result.threshold == pytest.approx(min(1, expected), abs=1e-6)
    assert result.strict >= result.threshold


def test_an_image_of_the_same_person_is_found_and_named_with_the_nearest(found, monkeypatch):
    monkeypatch.setattr(module, "LISTED", 1.0)
    result, _ = found()
    first = result.table.iloc[0]
    assert (first.file, first.kind, first.like) == ("3.png", "similar", "0.png")
    assert first.similarity == pytest.approx(np.cos(np.deg2rad([0.5, 1.5, 3.5])).mean(), abs=1e-5)
    assert result.index[0] == 3


def test_copies_come_first_and_once(found, monkeypatch):
    monkeypatch.setattr(module, "LISTED", 1.0)
    copies = pd.DataFrame(
        {
            "file": ["9.png", "3.png"],
            "kind": ["near", "exact"],
            "like": ["1.png", "0.png"],
            "similarity": [0.97, 1.0],
        }
    )
    result, _ = found(copies)
    assert result.table["file"].tolist()[:2] == ["3.png", "9.png"]
    assert result.table["file"].is_unique
    assert result.index[:2].tolist() == [3, 9]
    assert set(result.sure) >= {3, 9}


def test_nothing_similar_is_an_empty_table(found, monkeypatch):
    monkeypatch.setattr(module, "LISTED", 50.0)
    result, _ = found()
    assert len(result.table) == 0
    assert repr(result) == "0 remaining images look like the forgotten"
