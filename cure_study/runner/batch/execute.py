"""Executing the runs of a study: which are pending, on which machines, and the lines about them.

Dask schedules the runs: on this machine a cluster within this process (the runs are processes
anyway), on several machines any running scheduler. Either way a run is one task, which takes
`cores` and `memory` of a worker.
"""

import sys
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cure_study.runner import run_folder
from cure_study.runner.batch.run_process import execute_in_process
from cure_study.runner.batch.state import State, state, time_left
from cure_study.runner.batch.study import Study, describe, differing
from cure_study.runner.runs import Run

if TYPE_CHECKING:
    from distributed import Client, Future

BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
CONNECT_SECONDS = 20
BUSY_SECONDS = 5.0  # before trying again the runs that another batch executes


def pending(
    states: Mapping[Run, State], retry_failed: bool = False, only: Collection[str] = ()
) -> list[Run]:
    """The runs to execute: those not done and not failed, or those named.

    `only` holds the names of runs, or the hashes they end in; raises ValueError for one that the
    plan does not have.
    """
    if only:
        known = {run.name: run for run in states} | {run.version[:8]: run for run in states}
        for name in only:
            if name not in known:
                raise ValueError(f"no run {name} in the plan; `cure batch plan` lists them")
        return [known[name] for name in only]
    ended = ("done",) if retry_failed else ("done", "failed")
    return [run for run, known in states.items() if known.what not in ended]


def execute_study(
    study: Study,
    runs_folder: Path,
    *,
    scheduler: str | None = None,
    cores: int | None = None,
    retry_failed: bool = False,
    only: Collection[str] = (),
) -> dict[Run, State]:
    """Execute the pending runs of a study, and say how each ended; returns every run's state.

    Raises ValueError if the code changes meanwhile, or no worker can hold a run. Ctrl-C ends the
    running runs and passes on.
    """
    from tqdm.auto import tqdm

    runs_folder = runs_folder.resolve()
    plan = study.plan()
    runs_folder.mkdir(parents=True, exist_ok=True)
    run_folder.clean_up_all(runs_folder)
    states = {run: state(run, runs_folder) for run in plan}
    rest = pending(states, retry_failed, only)
    if not rest:
        return states
    names = differing(run.parameters for run in states)
    with _client(scheduler, cores) as client:
        at_once = _count_slots(client, study)
        print(f"{len(rest)} of {len(plan)} runs are pending, {at_once} at a time", flush=True)
        total, ended = len(rest), 0  # a bar that is not shown does not count
        with tqdm(total=total, disable=None, bar_format=BAR) as bar:
            while rest:
                busy = []
                for run, end in _executed(client, study, rest, runs_folder, again=bool(only)):
                    if end == "busy":
                        busy.append(run)
                        continue
                    states[run] = state(run, runs_folder)
                    error = f": {states[run].error}" if end == "failed" else ""
                    left = time_left(states, at_once)
                    parameters = describe({name: run.parameters.get(name) for name in names})
                    bar.set_postfix_str(left)
                    bar.update()
                    ended += 1
                    bar.write(f"{ended}/{total} {end}: {run.name} {parameters}{error} ({left})")
                    sys.stdout.flush()  # a log is read while it grows
                rest = busy
                time.sleep(BUSY_SECONDS if busy else 0)
    return states


def _executed(
    client: "Client", study: Study, rest: list[Run], runs_folder: Path, again: bool
) -> Iterator[tuple[Run, str]]:
    """Have each run executed once; yields each that ended, and how: done, failed or busy."""
    from distributed import as_completed

    futures = {}
    for rank, run in enumerate(rest):
        future = client.submit(
            execute_in_process, run, str(runs_folder), cores=study.cores, memory=study.memory,
            timeout=study.timeout, again=again, pure=False, priority=-rank,
            resources={"cores": study.cores, "memory": study.memory},
        )  # fmt: skip
        futures[future] = run
    try:
        for future in as_completed(list(futures)):
            run = futures.pop(future)
            end, reason = _end(future, run, runs_folder)
            if end == "stale":
                raise ValueError(reason)
            yield run, end
    except BaseException:
        client.cancel(list(futures), force=True)
        raise


def _end(future: "Future", run: Run, runs_folder: Path) -> tuple[str, str]:
    """How a run ended, and of a stale one the reason."""
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        message = f"the run's worker died more than once ({error.last_worker.address})"
        with run_folder.claimed(run.name, runs_folder):
            run_folder.keep_failure(run, runs_folder, message, 0.0)
        return "failed", ""
    except CancelledError:
        raise ValueError("the scheduler dropped the runs; start again to go on") from None


@contextmanager
def _client(scheduler: str | None, cores: int | None) -> "Iterator[Client]":
    """A Dask client: of the scheduler named, or of a cluster in this process."""
    import dask.config
    import dask.system
    import distributed

    if scheduler is not None:
        try:
            client = distributed.Client(scheduler, timeout=CONNECT_SECONDS)
        except OSError as error:
            raise ValueError(f"no Dask scheduler answers at {scheduler}: {error}") from None
        with client:
            yield client
        return
    threads = cores or dask.system.CPU_COUNT
    with (
        dask.config.set({"distributed.worker.profile.enabled": False}),  # it samples all the time
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=threads,
            processes=False,
            memory_limit=None,
            dashboard_address=None,
            resources={"cores": threads, "memory": distributed.system.MEMORY_LIMIT},
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def _count_slots(client: "Client", study: Study) -> int:
    """How many runs the present workers can hold at a time. Raises ValueError if none."""
    client.wait_for_workers(1)
    slots = 0
    for worker in client.scheduler_info(n_workers=-1)["workers"].values():
        has = worker["resources"]
        fits = min(has.get("cores", 0) // study.cores, has.get("memory", 0) // study.memory)
        slots += int(min(fits, worker["nthreads"]))
    if not slots:
        memory = study.memory.human_readable(decimal=True)
        raise ValueError(
            f"no worker has a run's cores ({study.cores}) and memory ({memory}) to give; ask for "
            "less in the study, or start workers as in: dask worker SCHEDULER --nthreads 4 "
            '--resources "cores=4 memory=16e9"'
        )
    return slots
