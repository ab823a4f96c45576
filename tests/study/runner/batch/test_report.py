"""What is collected and shown: checked on runs written by hand, so that every number is known."""

import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from batch_payload import lay_out, write_study
from PIL import Image

from cure_core.metrics.intervals import share_interval
from cure_study import run_record
from cure_study.runner import cli, runs
from cure_study.runner.batch import collect as batch_collect
from cure_study.runner.batch import execute
from cure_study.runner.batch import report as batch_report
from cure_study.runner.batch import state as batch_state
from cure_study.runner.batch import study as batch

VALUES = {1.0: (0.2, 0.4, 0.9), 2.0: (0.5, 0.5, 0.8)}  # by scale, over seeds 1, 2 and 3


@pytest.fixture
def study(tmp_path, monkeypatch):
    lay_out(tmp_path, monkeypatch)
    return batch.read(write_study(tmp_path, seeds=[1, 2, 3], grid={"scale": [1.0, 2.0]}))


@pytest.fixture
def where(tmp_path):
    return tmp_path / "runs"


def write_run(run, where, value, **columns):
    """A done run as `cure_study.runner.run_folder` leaves one; returns its folder."""
    folder = where / run.name
    folder.mkdir(parents=True)
    row = {"metric": "ues", "set": "all", "model": "after", "value": value, "data": ""}
    write_results(folder, run, pd.DataFrame([row | columns]).to_csv(index=False))
    return folder


def write_results(folder, run, text):
    """The results of a run in the place of others, and its record."""
    (folder / "results.csv").write_text(text, encoding="utf-8")
    run_record.write_record(folder, run.record() | {"seconds": 12.0})


def write_all(study, where):
    plan = study.plan()
    for run in plan:
        scale, seed = run.parameters["scale"], run.parameters["seed"]
        write_run(run, where, VALUES[scale][seed - 1])
    return plan


def test_one_table_with_every_parameter_version_and_hash(study, where, capsys):
    plan = write_all(study, where)
    (where / f"{plan[0].name}-failed").mkdir()  # no record of a run in it: not done
    assert cli.main(["batch", "collect", "study.yaml"]) == 0
    assert capsys.readouterr() == ("runs/study.parquet\n", "")
    table = pd.read_parquet(where / "study.parquet")
    assert len(table) == 6
    assert dict(zip(table.run, table.value, strict=True)) == {
        run.name: VALUES[run.parameters["scale"]][run.parameters["seed"] - 1] for run in plan
    }
    assert set(table.run_hash) == {run.version for run in plan}
    seeds = table.groupby("param_scale").seed.apply(list).to_dict()
    assert seeds == {1.0: [1, 2, 3], 2.0: [1, 2, 3]}
    assert table.group.nunique() == table.condition.nunique() == 2
    assert set(table.version_code) == {runs.code_version()}
    assert {"param_seed", "param_marks", "version_data", "version_weights", "version_notebook"} <= {
        *table.columns
    }


def test_other_versions_are_flagged_and_not_averaged(study, where, monkeypatch):
    """A night's results survive a change of the code, beside those that come after it."""
    for run in study.plan():
        if run.parameters["scale"] == 1.0:
            write_run(run, where, VALUES[1.0][run.parameters["seed"] - 1])
    monkeypatch.setattr(runs, "code_version", lambda *modules: "other")
    changed = study.plan()
    write_run(changed[0], where, 0.7)
    table = batch_collect.collect(study, where).table
    (flag,) = batch_collect.mixed_versions(table)
    assert flag.startswith("results of 2 versions of code, not averaged together: ")
    assert "(3 runs)" in flag
    assert "other (1 runs)" in flag
    means = batch_report.measures(table)
    assert sorted(zip(means.seeds, means.value.round(9), strict=True)) == [(1, 0.7), (3, 0.5)]


@pytest.mark.parametrize(
    ("columns", "mixed"),
    [
        ({"torch": "2.0"}, ["torch"]),
        ({"param_dataset": "lfw", "version_data": "b"}, []),  # another set, so other data
        ({"version_data": "b"}, ["data"]),
        ({"param_weights": "v", "version_weights": "b"}, []),
        ({"version_weights": "b"}, ["weights"]),
        ({"notebook": "two", "version_notebook": "b"}, []),
        ({"version_notebook": "b"}, ["notebook"]),
    ],
)
def test_what_counts_as_mixed(columns, mixed):
    one = {
        "run_hash": "1", "notebook": "one", "torch": "1.0", "param_dataset": "synthfaces",
        "param_weights": None, "version_code": "a", "version_notebook": "a", "version_data": "a",
        "version_weights": "a",
    }  # fmt: skip
    found = batch_collect.mixed_versions(pd.DataFrame([one, one | {"run_hash": "2"} | columns]))
    assert [re.search(r"versions of (\w+)", flag)[1] for flag in found] == mixed


def test_means_over_seeds_with_the_interval_of_the_measures_kind(study, where):
    write_all(study, where)
    means = batch_report.measures(batch_collect.collect(study, where).table).sort_values("value")
    for row, values in zip(means.itertuples(), VALUES.values(), strict=True):
        _, low, high = share_interval(values)
        np.testing.assert_allclose([row.value, row.low, row.high], [np.mean(values), low, high])
        assert row.seeds == 3


def test_a_single_seed_keeps_its_own_interval(study, where):
    write_run(study.plan()[0], where, 0.3, low=0.1, high=0.6)
    (row,) = batch_report.measures(batch_collect.collect(study, where).table).to_dict("records")
    assert [row[name] for name in ("seeds", "value", "low", "high")] == [1, 0.3, 0.1, 0.6]


def test_a_recall_of_a_weak_attack_is_marked(study, where):
    for run, auc in zip(study.plan()[::3], (0.54, 0.56), strict=True):
        folder = write_run(run, where, 0.1)
        row = {"metric": "membership_auc", "set": "forget", "model": "after", "value": auc}
        recall = row | {"metric": "membership_recall", "value": 0.25}
        write_results(folder, run, pd.DataFrame([row, recall]).to_csv(index=False))
    means = batch_report.measures(batch_collect.collect(study, where).table)
    assert sorted(batch_report._texts(means)) == ["0.250", "0.250 ?", "0.540", "0.560"]


class Page(HTMLParser):
    """Text, and every address that a page names."""

    def __init__(self, text):
        super().__init__()
        self.text, self.addresses, self.tags = "", [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def test_the_page_tells_all_and_needs_nothing_beside_it(study, where, tmp_path, capsys):
    plan = write_all(study, where)
    (where / plan[0].name / "figures").mkdir()
    Image.new("RGB", (2000, 100), "red").save(where / plan[0].name / "figures" / "a_red_bar.png")
    run_record.write_record(where / plan[0].name, plan[0].record() | {"seconds": 12.0})
    done = where / plan[5].name
    (done / "run.json").unlink()
    (done / "failure.json").write_text(
        json.dumps({"error": "ValueError: <script>bad()</script>", "cell": 7, "seconds": 3.0})
    )
    (done / "run.log").write_text("the last words\n")
    done.rename(done.with_name(f"{done.name}-failed"))
    assert cli.main(["batch", "report", "study.yaml"]) == 0
    assert capsys.readouterr().out == "runs/study.html\n"
    page = Page((where / "study.html").read_text(encoding="utf-8"))
    assert "6 runs: 5 done, 1 failed" in page.text
    _, low, high = share_interval(VALUES[1.0])
    assert f"0.500 [{low:.3f}, {high:.3f}]" in page.text
    assert "scale=1.0" in page.text
    assert "Cell 7: ValueError: <script>bad()</script>" in page.text
    assert page.tags.count("script") == 1  # the sorting of tables
    assert "the last words" in page.text
    assert f"cure batch run study.yaml --only {plan[5].version[:8]}" in page.text
    assert f"a red bar ({plan[0].name})" in page.text
    assert page.tags.count("img") == 2
    assert all(
        address.startswith(("data:image/png;base64,", "data:image/webp;base64,"))
        for address in page.addresses
    )


def test_a_digest_of_digits_alone_stays_text(study, where):
    write_run(study.plan()[0], where, 0.1, data="0074435300212738")
    assert batch_collect.collect(study, where).table.data.tolist() == ["0074435300212738"]


def test_with_nothing_done_there_is_a_page_but_no_table(study, where, capsys):
    where.mkdir()
    assert cli.main(["batch", "collect", "study.yaml"]) == 1
    assert "cure: no run of study in runs has results yet" in capsys.readouterr().err
    assert cli.main(["batch", "report", "study.yaml"]) == 0
    assert "6 runs: 6 pending" in Page((where / "study.html").read_text(encoding="utf-8")).text


def test_the_record_of_a_sweep_beside_the_runs_is_none_of_theirs(study, where):
    write_all(study, where)
    (where / "sweep").mkdir()
    record = {"notebook": "sweep", "parameters": {"dataset": "synthfaces"}}
    (where / "sweep" / "run.json").write_text(json.dumps(record), encoding="utf-8")
    assert len(batch_collect.collect(study, where).table) == 6


@pytest.mark.parametrize("record", ["{}", '{"seconds": "12", "parameters": {}}'])
@pytest.mark.parametrize("name", ["{}/run.json", "{}-failed/failure.json"])
def test_a_record_that_describes_no_run_is_damaged(study, where, name, record):
    run = study.plan()[0]
    path = where / name.format(run.name)
    path.parent.mkdir(parents=True)
    path.write_text(record, encoding="utf-8")
    state = batch_state.state(run, where)
    assert (state.what, str(path) in state.error) == ("damaged", True)


@pytest.mark.parametrize(
    "text",
    [
        "metric,value\nues,0.5\nues,0.5x\n",
        "metric,value,low\nues,0.5,low\n",
        "metric,value\nues,0.5,0.1\n",  # pandas takes the first column for an index
    ],
)
def test_results_whose_values_are_no_numbers_are_named(tmp_path, text):
    (tmp_path / "results.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"results\.csv"):
        batch_collect.read_results(tmp_path / "results.csv")


def test_results_that_are_not_tidy_are_named(study, where):
    run = study.plan()[0]
    write_results(write_run(run, where, 0.1), run, "measure,amount\nues,1\n")
    with pytest.raises(ValueError, match=r"results\.csv has no column metric"):
        batch_collect.collect(study, where)


def test_a_damaged_table_is_named_not_used_and_made_again(study, where, capsys):
    plan = write_all(study, where)
    path = where / plan[1].name / "results.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("0.4", "0.9"), encoding="utf-8")  # still a table
    assert cli.main(["batch", "collect", "study.yaml"]) == 0
    message = capsys.readouterr().err
    assert f"note: left out: {plan[1].name}: " in message
    assert "results.csv is damaged (its content does not match its SHA-256)" in message
    assert set(pd.read_parquet(where / "study.parquet").run) == {
        run.name for run in plan if run is not plan[1]
    }
    assert cli.main(["batch", "status", "study.yaml"]) == 0
    message = capsys.readouterr().out
    assert "6 runs: 5 done, 1 damaged" in message
    assert f"damaged: {plan[1].name}: " in message
    states = {run: batch_state.state(run, where) for run in plan}
    assert execute.pending(states) == [plan[1]]
    assert cli.main(["batch", "report", "study.yaml"]) == 0
    page = Page((where / "study.html").read_text(encoding="utf-8")).text
    assert "Left out: 1 runs" in page
    assert f"{plan[1].name}: " in page


def test_a_record_that_cannot_be_read_is_named(study, where, capsys):
    plan = write_all(study, where)
    (where / plan[0].name / "run.json").write_text("{", encoding="utf-8")
    assert cli.main(["batch", "collect", "study.yaml"]) == 0
    assert "run.json is damaged (it is not a run's record)" in capsys.readouterr().err
    assert len(pd.read_parquet(where / "study.parquet")) == 5


def test_runs_without_results_are_counted_and_named(study, where, capsys):
    """As notebook 01's, which judges nothing."""
    plan = write_all(study, where)
    for run, content in ((plan[0], None), (plan[1], "metric,value\n")):
        folder = where / run.name
        (folder / "results.csv").unlink()
        if content is not None:
            (folder / "results.csv").write_text(content, encoding="utf-8")
        run_record.write_record(folder, run.record() | {"seconds": 1.0})
    assert cli.main(["batch", "collect", "study.yaml"]) == 0
    message = capsys.readouterr().err
    assert f"left out: {plan[0].name}: results.csv is not among its files" in message
    assert f"left out: {plan[1].name}: results.csv has no row" in message
    assert cli.main(["batch", "report", "study.yaml"]) == 0
    page = Page((where / "study.html").read_text(encoding="utf-8")).text
    assert "Left out: 2 runs" in page
    assert plan[0].name in page
    for run in plan[2:]:
        (where / run.name / "run.json").unlink()
    capsys.readouterr()
    assert cli.main(["batch", "collect", "study.yaml"]) == 1
    assert f"has results yet; {plan[0].name}: results.csv is not among" in capsys.readouterr().err


def test_no_row_of_results_is_missing_from_the_page(study, where, capsys):
    """Blank names, other models, and measures without a value all have their line."""
    plan = write_all(study, where)
    rows = "metric,set,model,value\nblank_names,,,0.125\nno_number,forget,after,\n"
    for run in plan[:3]:  # one group: of it there is no measure of the model that comes first
        write_results(where / run.name, run, rows.replace(",after,", ",other,"))
    write_results(where / plan[3].name, plan[3], rows + "ues,all,after,0.5\n")
    assert cli.main(["batch", "report", "study.yaml"]) == 0
    page = Page((where / "study.html").read_text(encoding="utf-8")).text
    assert page.count("blank_names") == 2
    assert page.count("no_number, forget") >= 2
    assert "0.125" in page
    assert "no value" in page
    assert page.count("scale=1.0") >= 2  # the first group is in the overview, and has its own table


def test_results_without_a_seed_of_a_run_of_several_seeds(study, where):
    run = study.plan()[0]
    run.parameters["seeds"] = [0, 1]
    run.parameters.pop("seed")
    write_run(run, where, 0.5)
    record = run_record.read_record(where / run.name / "run.json")
    (row,) = batch_collect.read_results(where / run.name / "results.csv").assign(
        **batch_collect._run_columns(where / run.name, record)
    ).seed  # fmt: skip
    assert row == "[0, 1]"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'a,b\n"'])
def test_results_that_are_not_a_table_are_named(study, where, content):
    run = study.plan()[0]
    folder = write_run(run, where, 0.1)
    (folder / "results.csv").write_bytes(content)
    run_record.write_record(folder, run.record() | {"seconds": 1.0})
    with pytest.raises(ValueError, match=r"results\.csv (is not a table|has no column)"):
        batch_collect.collect(study, where)


def test_plan_and_status_tell_how_runs_stand(study, where, capsys):
    for run in study.plan()[:3]:
        write_run(run, where, 0.5)  # 12 seconds each
    assert cli.main(["batch", "plan", "study.yaml"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:6]] == ["done"] * 3 + ["pending"] * 3
    assert "scale=2.0, seed=3" in lines[5]
    assert cli.main(["batch", "status", "study.yaml"]) == 0
    assert capsys.readouterr().out == "6 runs: 3 done, 3 pending\nabout 36 s left\n"


def test_the_plan_says_what_disk_and_time_the_rest_needs(study, where, capsys, monkeypatch):
    """By hand: a done run of 2 MB and 12 s; five more runs are like it."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**10))
    command = ["batch", "plan", f"{study.folder / study.name}.yaml", "--runs", str(where)]
    cli.main(command)
    assert "unknown until a run of each notebook is done; 10.0 GB" in capsys.readouterr().out
    folder = write_run(study.plan()[0], where, 0.5)
    small = sum(path.stat().st_size for path in folder.iterdir())
    (folder / "figure.png").write_bytes(b"0" * (2_000_000 - small))
    cli.main(command)
    printed = capsys.readouterr().out
    assert "disk needed: about 10 MB for 5 runs; 10.0 GB free" in printed
    assert "6 runs; about 60 s left, one at a time" in printed
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    cli.main(command)
    assert "for 5 runs; NOT ENOUGH; 0.0 GB free" in capsys.readouterr().out


def test_the_tables_of_the_report_can_be_sorted_without_the_network(study, where):
    write_all(study, where)
    page = batch_report.save(study, where, study.folder / "study.yaml").read_text()
    assert page.count("<script") == 1
    assert 'setAttribute("aria-sort"' in page
    assert "http" not in re.sub(r"data:image[^\"]*", "", page)
