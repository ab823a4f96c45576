import pandas as pd
import pytest

from cure_study.experiments import rows


def test_rows_grow_one_at_a_time_and_are_found_again(tmp_path):
    path = tmp_path / "rows.csv"
    assert rows.read_rows(path).empty
    assert not rows.has_row(rows.read_rows(path), {"seed": 0})
    rows.add_row(path, {"seed": 0, "method": "cure", "fraction": 0.1, "value": 0.123456789012345})
    rows.add_row(path, {"seed": 1, "method": "cure", "fraction": 0.1, "extra": "x"})
    table = rows.read_rows(path)
    assert table.value[0] == 0.123456789012345
    assert rows.has_row(table, {"seed": 1, "fraction": 0.1})
    assert not rows.has_row(table, {"seed": 2})
    assert not rows.has_row(table, {"seed": 1, "order": "best"})
    assert rows.select(table, {"method": "cure"}).seed.tolist() == [0, 1]


def test_a_stop_while_writing_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    rows.add_row(path, {"seed": 0})

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pd.DataFrame, "to_csv", stopped)
    with pytest.raises(KeyboardInterrupt):
        rows.add_row(path, {"seed": 1})
    assert rows.read_rows(path).seed.tolist() == [0]
    assert {p.name for p in tmp_path.iterdir()} == {"rows.csv", ".rows.store"}


@pytest.mark.parametrize("text", ["1234567890123456", "12345e7890123456", "0012", "nan", "True"])
def test_a_row_is_found_again_whatever_its_digest_looks_like(tmp_path, text):
    rows.add_row(tmp_path / "rows.csv", {"setting": text, "seed": 0})
    assert rows.has_row(rows.read_rows(tmp_path / "rows.csv"), {"setting": text, "seed": 0})
