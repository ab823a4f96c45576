"""The same call in two processes at the same time."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def in_two_processes(call: Callable[[], Any], seconds: float = 60) -> list[Any]:
    """What `call` returns in each of two forked processes that begin together.

    Raises AssertionError where one of them ends in an error, or takes longer than `seconds`.
    """
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(2)

    def work(pipe: Any) -> None:
        barrier.wait(seconds)
        pipe.send(call())

    def receive(pipe: Any, process: Any) -> Any:
        assert pipe.poll(seconds), "no answer in time"
        try:
            return pipe.recv()
        except EOFError:
            process.join()
            raise AssertionError(f"a process ended with {process.exitcode}") from None

    pipes = [fork.Pipe(duplex=False) for _ in range(2)]
    processes = [fork.Process(target=work, args=[send]) for _, send in pipes]
    try:
        for process, (_, send) in zip(processes, pipes, strict=True):
            process.start()
            send.close()  # so that the end of the process is the end of the pipe
        with ThreadPoolExecutor(2) as threads:
            results = list(threads.map(receive, [pipe for pipe, _ in pipes], processes))
        for process in processes:
            process.join(seconds)
        assert [process.exitcode for process in processes] == [0, 0]
        return results
    finally:
        for process in processes:
            process.kill()
            process.join()
