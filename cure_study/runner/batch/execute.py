"""Carrying a study out: which runs are due, on which machines, and what is told meanwhile.

Dask places the runs: on this machine a cluster of its own within this process (the runs are
processes anyway), on several machines whatever scheduler is named. Either way a run is one task,
which takes `cores` and `memory` of a worker.
"""

import sys
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cure_study.runner import run_folder
from cure_study.runner.batch.state import State, remaining, state, told_left
from cure_study.runner.batch.study import Study, told, varying
from cure_study.runner.batch.worker import carry_out
from cure_study.runner.runs import Run

if TYPE_CHECKING:
    from distributed import Client, Future

BAR = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]"
CONNECT_SECONDS = 20
BUSY_SECONDS = 5.0  # before asking again for a run that another batch is at


def due(
    states: Mapping[Run, State], retry_failed: bool = False, only: Collection[str] = ()
) -> list[Run]:
    """The runs that are to be executed: those not done and not failed, or those named.

    `only` holds the names of runs, or the hashes they end in; raises ValueError for one that the
    plan does not have.
    """
    if only:
        known = {run.name: run for run in states} | {run.version[:8]: run for run in states}
        for name in only:
            if name not in known:
                raise ValueError(f"no run {name} in the plan; `cure batch plan` lists them")
        return [known[name] for name in only]
    over = ("done",) if retry_failed else ("done", "failed")
    return [run for run, own in states.items() if own.what not in over]


def carry_out_all(
    study: Study,
    where: Path,
    *,
    scheduler: str | None = None,
    cores: int | None = None,
    retry_failed: bool = False,
    only: Collection[str] = (),
) -> dict[Run, State]:
    """Execute what is due of a study, and say how each run ended; returns every run's state.

    Raises ValueError where the code changes meanwhile, or no worker can hold a run. Ctrl-C ends the
    running runs and passes on.
    """
    where = where.resolve()
    plan = study.plan()
    where.mkdir(parents=True, exist_ok=True)
    run_folder.sweep_all(where)
    states = {run: state(run, where) for run in plan}
    todo = due(states, retry_failed, only)
    if todo:
        with _client(scheduler, cores) as client:
            slots = _slots(client, study)
            print(f"{len(todo)} of {len(plan)} runs are due, {slots} at a time", flush=True)
            _drive(client, study, states, todo, where, slots, again=bool(only))
    return states


def _drive(
    client: "Client",
    study: Study,
    states: dict[Run, State],
    todo: list[Run],
    where: Path,
    slots: int,
    again: bool,
) -> None:
    """Have every run of `todo` executed, and keep `states`."""
    from distributed import as_completed
    from tqdm.auto import tqdm

    def submit(run: Run, wait: float, rank: int) -> "Future":
        return client.submit(
            carry_out, run, str(where), cores=study.cores, memory=study.memory,
            again=again, wait=wait, pure=False, priority=-rank,
            resources={"cores": study.cores, "memory": study.memory},
        )  # fmt: skip

    names = varying(run.parameters for run in states)
    asked = {submit(run, 0.0, rank): run for rank, run in enumerate(todo)}
    finished = as_completed(list(asked))
    ended = 0
    with tqdm(total=len(todo), disable=None, bar_format=BAR) as bar:
        try:
            for future in finished:
                run = asked.pop(future)
                end, said = _end(future, run, where)
                if end == "busy":  # after all those that are free
                    once_more = submit(run, BUSY_SECONDS, len(todo))
                    asked[once_more] = run
                    finished.add(once_more)
                    continue
                if end == "stale":
                    raise ValueError(said)
                ended += 1
                states[run] = state(run, where)
                error = f": {states[run].error}" if end == "failed" else ""
                left = told_left(remaining(states, slots))
                own = told({name: run.parameters.get(name) for name in names})
                bar.set_postfix_str(left)
                bar.update()
                bar.write(f"{ended}/{len(todo)} {end}: {run.name} {own}{error} ({left})")
                sys.stdout.flush()  # a log is read while it grows
        except BaseException:
            client.cancel(list(asked), force=True)
            raise


def _end(future: "Future", run: Run, where: Path) -> tuple[str, str]:
    """How a run ended, and what there is to say of it."""
    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        told = f"the run took its worker with it, more than once ({error.last_worker.address})"
        with run_folder.held(run.name, where):
            run_folder.keep_failure(run, where, told, 0.0)
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


def _slots(client: "Client", study: Study) -> int:
    """How many runs the workers there are now can hold at a time.

    Raises ValueError where none can hold one.
    """
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
