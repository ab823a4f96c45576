"""Progress bars."""

import multiprocessing
import os
import signal

import pytest
from tqdm.auto import tqdm

from cure_core.runtime.progress import bar


def kill_with_the_lock():
    tqdm.get_lock().acquire()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only forked processes share a lock")
def test_a_process_killed_while_it_draws_a_bar_stops_no_other():
    list(bar(range(2), "before the fork", show=False))
    process = multiprocessing.get_context("fork").Process(target=kill_with_the_lock)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert tqdm.get_lock().acquire(timeout=1)
    tqdm.get_lock().release()
