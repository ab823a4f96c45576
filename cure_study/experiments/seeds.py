"""All seeds of a study: their models train side by side, in processes of one thread each.

Two threads of one training wait for each other whenever something else needs the machine; two
processes do not.
"""

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

from cure_core.runtime.distributed import rank, world_size
from cure_core.runtime.progress import bar
from cure_study.data.faceset import FaceSet
from cure_study.evaluation.evaluate import evaluate
from cure_study.evaluation.report import Report
from cure_study.evaluation.space import Space
from cure_study.experiments.study import (
    Case,
    Outcome,
    StudySetting,
    forget,
    prepare,
    train_oracle,
    train_teacher,
)
from cure_study.processes import launch

# Each stage of a seed, and those that it needs. A model goes into the cache; the embeddings of two
# of the three are made while the third trains.
ORACLE_SPACE, TEACHER_SPACE = "oracle's embeddings", "teacher's embeddings"
NEEDS = {
    "teacher": (),
    "oracle": (),
    "student": ("teacher",),
    ORACLE_SPACE: ("oracle",),
    TEACHER_SPACE: ("teacher",),
    "report": ("student", ORACLE_SPACE, TEACHER_SPACE),
}
MODELS = ("teacher", "oracle", "student")
T = TypeVar("T")
Stage = tuple[int, str]  # a seed, and a name in `NEEDS`
Result = Report | Space | None  # of a stage; a model is in the cache


def run_seeds(
    faces: FaceSet,
    setting: StudySetting,
    seeds: Sequence[int],
    *,
    n_bootstrap: int = 300,
    progress: bool | None = None,
) -> Iterator[Outcome]:
    """The outcome of each seed, in order, as soon as it is there; prints a line per stage.

    On a CPU as many processes as torch has threads (OMP_NUM_THREADS) share the stages, each with
    one thread, so that results do not depend on their number. On a GPU this process runs all.
    Raises what `study.run` raises, and RuntimeError if a process is killed.
    """
    reports: dict[int, Report] = {}
    waiting = list(seeds)
    for (seed, _), report in _run(faces, setting, seeds, list(NEEDS), n_bootstrap, progress):
        if report is not None:
            reports[seed] = report
        while waiting and waiting[0] in reports:
            case = prepare(faces, setting, seed := waiting.pop(0))
            teacher = train_teacher(case, False)
            result, oracle = forget(case, teacher, False), train_oracle(case, False)
            yield Outcome(case, teacher, result, oracle, reports.pop(seed))


def pretrain(
    faces: FaceSet, setting: StudySetting, seeds: Sequence[int], progress: bool | None = None
) -> None:
    """Train the models of all seeds, as `run_seeds` does, into the cache."""
    for _ in _run(faces, setting, seeds, MODELS, 0, progress):
        pass


def _run(
    faces: FaceSet,
    setting: StudySetting,
    seeds: Sequence[int],
    names: Sequence[str],
    n_bootstrap: int,
    progress: bool | None,
) -> Iterator[tuple[Stage, Report | None]]:
    """The stages of these names of all seeds, each as it ends; with the report where it is one."""
    if setting.processes > 1 and world_size() == 1:
        launch(_train_all, (faces, setting, seeds), setting.processes)
    first = [(seed, name) for seed in seeds[:1] for name in names]  # first: to show something soon
    stages = first + [(seed, name) for name in names for seed in seeds[1:]]
    work = faces, setting, n_bootstrap
    on_cpu = torch.device(setting.device or "cpu").type == "cpu" and world_size() == 1
    workers = min(torch.get_num_threads(), len(stages)) if on_cpu else 1
    if workers == 1:
        finished = _run_here(work, stages, progress)
    else:
        finished = _run_in_processes(work, stages, workers)
    with bar(stages, "study", progress, "stage") as shown:
        for (seed, name), report, seconds in finished:
            shown.update(1)
            number = list(seeds).index(seed) + 1
            if rank() == 0:
                print(f"seed {number} of {len(seeds)}: {name}, {seconds:.0f} s", flush=True)
            yield (seed, name), report if isinstance(report, Report) else None


def _train_all(faces: FaceSet, setting: StudySetting, seeds: Sequence[int]) -> None:
    for seed in seeds:
        for name in MODELS:
            _run_stage(faces, setting, 0, seed, name, False, {})


def _run_stage(
    faces: FaceSet,
    setting: StudySetting,
    n_bootstrap: int,
    seed: int,
    name: str,
    progress: bool | None,
    given: Mapping[str, Result],
) -> tuple[Result, float]:
    """Run a stage: its result and the seconds. `given` are the results of the stages it needs."""
    began = time.perf_counter()
    case = prepare(faces, setting, seed)
    result: Result = None
    if name == "teacher":
        train_teacher(case, progress)
    elif name == "oracle":
        train_oracle(case, progress)
    elif name == "student":
        forget(case, train_teacher(case, progress), progress)
    elif name in (ORACLE_SPACE, TEACHER_SPACE):
        train = train_oracle if name == ORACLE_SPACE else train_teacher
        result = Space(case.protocol, train(case, progress).encoder, progress=progress)
        result.features  # noqa: B018 - computed here, not by the report
    else:
        result = _report(case, given, n_bootstrap, progress)
    return result, time.perf_counter() - began


def _report(
    case: Case, given: Mapping[str, Result], n_bootstrap: int, progress: bool | None
) -> Report:
    teacher, oracle = given[TEACHER_SPACE], given[ORACLE_SPACE]
    assert isinstance(teacher, Space)
    assert isinstance(oracle, Space)
    student = forget(case, train_teacher(case, progress), progress).student
    return evaluate(
        case.protocol,
        before=teacher,
        after=student,
        oracle=oracle,
        n_bootstrap=n_bootstrap,
        progress=progress,
    )


def _given(stage: Stage, results: Mapping[Stage, Result]) -> dict[str, Result]:
    seed, name = stage
    return {need: results[seed, need] for need in NEEDS[name]}


def _run_here(
    work: tuple[FaceSet, StudySetting, int], stages: Sequence[Stage], progress: bool | None
) -> Iterator[tuple[Stage, Result, float]]:
    results: dict[Stage, Result] = {}
    for stage in stages:
        result, seconds = _run_stage(*work, *stage, progress, _given(stage, results))
        results[stage] = result
        yield stage, result, seconds


def _run_in_processes(
    work: tuple[FaceSet, StudySetting, int], stages: Sequence[Stage], workers: int
) -> Iterator[tuple[Stage, Result, float]]:
    """Run the stages, the first of those that are ready whenever a process is free."""
    pending, results = list(stages), dict[Stage, Result]()
    running: dict[Future[tuple[Result, float]], Stage] = {}
    with _pool(workers) as pool:
        while pending or running:
            ready = [s for s in pending if all((s[0], need) in results for need in NEEDS[s[1]])]
            for stage in ready[: workers - len(running)]:
                pending.remove(stage)
                given = _given(stage, results)
                running[pool.submit(_run_stage, *work, *stage, False, given)] = stage
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                stage = running.pop(future)
                results[stage], seconds = _result(future)
                yield stage, results[stage], seconds


def _result(future: Future[T]) -> T:
    """Raises RuntimeError saying what to do if a process was killed."""
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a training process was killed, perhaps because memory ran out; run the same again to "
            "resume, with OMP_NUM_THREADS=1 to train one model at a time"
        ) from error


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of one thread each, which end with the block, in the middle of a stage too."""
    before = set(active_children())
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker)
    try:
        yield pool
    except BaseException:  # an interruption, or a caller who wants no more seeds
        for process in set(active_children()) - before:
            process.terminate()  # training saves its state first
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """One thread; a session of its own, since a Linux desktop shares the cores between sessions."""
    torch.set_num_threads(1)
    threadpool_limits(1)
    if hasattr(os, "setsid"):
        os.setsid()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A signal to the notebook's session does not reach this one."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
