"""Batches: each run is done once, whatever is interrupted, killed or started twice."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from threading import Thread

import psutil
import pytest
from batch_payload import gone, lay_out, left_hidden, started, wait_for, write_study

from cure_study.run_record import LOG
from cure_study.runner import cli, run_folder
from cure_study.runner.batch import execute, run_process
from cure_study.runner.batch import study as batch
from cure_study.runner.batch.execute import execute_study, pending
from cure_study.runner.batch.state import State, state

CURE = """
import signal, sys
import cure_study.runner.cli
from cure_study.runner.batch import execute

execute.BUSY_SECONDS = 0.1
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below what runs by nohup
sys.exit(cure_study.runner.cli.main())
"""
RUN = ["batch", "run", "study.yaml", "--cores", "2"]


@pytest.fixture
def marks(tmp_path, monkeypatch):
    return lay_out(tmp_path, monkeypatch)


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def driver():
    """Start `cure batch run study.yaml` as from a terminal; what is left over is ended."""
    begun = []

    def start(*more):
        begun.append(
            subprocess.Popen(
                [sys.executable, "-c", CURE, *RUN, "--runs", "runs", *more],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.wait()


@pytest.fixture
def go_on(capsys):
    """The same command in this process: its status, and its output up to the summary."""

    def again(*more):
        status = cli.main([*RUN, *more])
        return status, capsys.readouterr().out.partition("4 runs: ")[0]

    return again


def seeds_done(runs):
    """The seeds of the finished runs, read from what the notebooks wrote."""
    rows = [path.read_text().split("\n")[1] for path in runs.glob("*/results.csv")]
    return sorted(int(row.split(",")[1]) for row in rows if row)


def whats(runs):
    study = batch.read("study.yaml")
    return [state(run, runs).what for run in study.plan()]


def test_each_run_once_failures_kept_and_retried_on_demand(tmp_path, marks, runs, driver, go_on):
    write_study(tmp_path)
    (marks / "fail-3").touch()
    first = driver()
    output = first.communicate()[0]
    assert first.returncode == 1, output
    assert "4 of 4 runs are pending, 2 at a time" in output
    assert [f"\n{n}/4 " in output for n in (1, 2, 3, 4)] == [True] * 4
    assert "4 runs: 3 done, 1 failed" in output
    assert "AssertionError: it should fail" in output
    assert whats(runs) == ["done", "done", "failed", "done"]
    (failed,) = runs.glob("*-failed")
    assert f"cure batch run study.yaml --only {failed.name.split('-')[1]} --runs runs" in output
    assert "it should fail" in (failed / LOG).read_text()
    record = json.loads(next(runs.glob("*/run.json")).read_text())
    assert {"parameters", "versions", "version", "recipe", "seconds"} <= set(record)

    (marks / "fail-3").unlink()
    assert go_on() == (1, "")  # nothing is run a second time
    assert len(started(marks)) == 4
    status, output = go_on("--retry-failed")
    assert (status, output[:24]) == (0, "1 of 4 runs are pending,")
    assert len(started(marks)) == 5
    assert seeds_done(runs) == [1, 2, 3, 4]
    assert not list(runs.glob("*-failed"))


def test_named_runs_are_executed_whatever_their_state(tmp_path, marks):
    one, two, three = batch.read(write_study(tmp_path, seeds=[1, 2, 3])).plan()
    states = {one: State("done"), two: State("failed"), three: State("interrupted")}
    assert pending(states) == [three]
    assert pending(states, retry_failed=True) == [two, three]
    assert pending(states, only=[two.name, one.version[:8]]) == [two, one]
    with pytest.raises(ValueError, match="no run 12345678 in the plan"):
        pending(states, only=["12345678"])


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_driver_loses_only_what_was_running(tmp_path, marks, runs, driver, go_on, how):
    """No process goes on without it, nothing half-made counts, and the rest is done later."""
    write_study(tmp_path)
    for seed in (3, 4):
        (marks / f"wait-{seed}").touch()
    first = driver()
    running = wait_for(lambda: (found := started(marks, 3) + started(marks, 4))[1:] and found)
    wait_for(lambda: seeds_done(runs) == [1, 2])
    assert sorted(whats(runs)) == ["done", "done", "running", "running"]
    first.send_signal(how)
    output = first.communicate(timeout=60)[0]
    wait_for(lambda: all(map(gone, running)))
    if how is signal.SIGINT:
        assert first.returncode == 130
        assert "the same command goes on from here" in output
    wait_for(lambda: "running" not in whats(runs))
    assert Counter(whats(runs))["done"] == 2
    assert not list(runs.glob("*-failed"))

    for seed in (3, 4):
        (marks / f"wait-{seed}").unlink()
    status, output = go_on()
    assert (status, output[:24]) == (0, "2 of 4 runs are pending,")
    assert seeds_done(runs) == [1, 2, 3, 4]
    assert (len(started(marks, 1)), len(started(marks, 2))) == (1, 1)
    assert left_hidden(runs) == []


def test_two_batches_at_once_share_the_work(tmp_path, marks, runs, driver):
    write_study(tmp_path)
    both = [driver(), driver()]
    output = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], output
    assert Counter(path.name.split("-")[2] for path in marks.iterdir()) == dict.fromkeys("1234", 1)
    assert seeds_done(runs) == [1, 2, 3, 4]
    assert left_hidden(runs) == []


def test_a_run_that_dies_or_takes_too_much_costs_only_itself(
    tmp_path, marks, runs, monkeypatch, capsys
):
    monkeypatch.setattr(run_process, "MEMORY_SECONDS", 0.2)
    study = batch.read(write_study(tmp_path, seeds=[1, 2, 3]))
    (marks / "wait-1").touch()
    (marks / "grab-2").touch()
    batch_thread = Thread(target=execute_study, args=(study, runs), kwargs={"cores": 2})
    batch_thread.start()
    (pid,) = wait_for(lambda: started(marks, 1))
    os.kill(pid, signal.SIGKILL)
    batch_thread.join(60)
    output = capsys.readouterr().out
    assert whats(runs) == ["failed", "failed", "done"]
    assert "seed=1: the run's process was killed by signal 9 (" in output
    assert "GB of memory, more than its 0.20 GB; raise `memory` in the study" in output
    assert left_hidden(runs) == []


def test_a_run_that_takes_longer_than_its_timeout_has_failed_and_the_rest_is_run(
    tmp_path, marks, runs, capsys
):
    study = batch.read(write_study(tmp_path, seeds=[1, 2], timeout="3 s"))
    (marks / "wait-1").touch()
    execute_study(study, runs, cores=2)
    assert "it took longer than 3 s; raise `timeout` in the study" in capsys.readouterr().out
    assert whats(runs) == ["failed", "done"]
    assert all(gone(pid) for pid in started(marks))
    assert left_hidden(runs) == []


def test_a_worker_killed_in_the_middle_loses_its_run_to_another(tmp_path, marks, runs):
    """Several machines: each worker is a process, behind a scheduler's address."""
    from distributed import LocalCluster

    study = batch.read(write_study(tmp_path, seeds=[1, 2, 3]))
    (marks / "wait-1").touch()
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
        resources={"cores": 1, "memory": 1e9},
    ) as cluster:  # fmt: skip
        done = Thread(
            target=execute_study,
            args=(study, runs),
            kwargs={"scheduler": cluster.scheduler_address},
        )
        done.start()
        (pid,) = wait_for(lambda: started(marks, 1))
        worker = psutil.Process(pid).parent()
        assert worker.pid in {nanny.pid for nanny in cluster.workers.values()}
        worker.kill()
        wait_for(lambda: gone(pid))  # the run ends with its worker
        (marks / "wait-1").unlink()
        done.join(60)
        assert not done.is_alive()
    assert whats(runs) == ["done"] * 3
    assert (len(started(marks, 1)), len(started(marks, 2))) == (2, 1)
    assert left_hidden(runs) == []


def test_workers_that_can_hold_no_run_are_reported_at_once(tmp_path, marks, runs, monkeypatch):
    from distributed import LocalCluster

    study = batch.read(write_study(tmp_path))
    lacking = r"no worker has a run's cores \(1\) and memory \(200"
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        pytest.raises(ValueError, match=lacking),
    ):
        execute_study(study, runs, scheduler=cluster.scheduler_address)
    monkeypatch.setattr(execute, "CONNECT_SECONDS", 1)
    with pytest.raises(ValueError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        execute_study(study, runs, scheduler="tcp://127.0.0.1:1")
    assert started(marks) == []


def test_code_that_changed_since_the_plan_stops_the_batch(tmp_path, marks, runs, monkeypatch):
    write_study(tmp_path)
    monkeypatch.setattr("cure_study.runner.runs.code_version", lambda *modules: "as it was")
    with pytest.raises(ValueError, match=r"the code is no longer what payload-\w+ was planned for"):
        execute_study(batch.read("study.yaml"), runs, cores=1)
    assert started(marks) == []
    assert [path.name for path in runs.iterdir()] == [".locks"]


def test_results_of_other_data_than_planned_are_a_failure(tmp_path, marks, runs):
    (run,) = batch.read(write_study(tmp_path, seeds=[1])).plan()
    run.versions["data"] = "planned"
    (tmp_path / "results.csv").write_text("metric,data\nues,planned\n")
    run_folder._check_data(run, tmp_path)
    (tmp_path / "results.csv").write_text("metric,data\nues,planned\nues,found\n")
    with pytest.raises(ValueError, match="the results are of the data found, planned, but"):
        run_folder._check_data(run, tmp_path)
