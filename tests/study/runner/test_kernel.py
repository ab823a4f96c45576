"""Kernels: reached through local sockets, and started again where a start fails."""

import os

import papermill
import pytest

from cure_study.runner import kernel
from cure_study.runner.kernel import START_TRIES, KernelStartError

DIED = "Kernel died before replying to kernel_info"


def fail(times, error):
    """Stands in for papermill: fails so many times, then is done."""
    calls = []

    def run(*arguments, **options):
        calls.append((arguments, options))
        if len(calls) <= times:
            raise error
        return "done"

    return run, calls


@pytest.mark.parametrize("message", [DIED, "Kernel didn't respond in 60 seconds"])
def test_a_kernel_that_does_not_start_is_started_again(message):
    run, calls = fail(START_TRIES - 1, RuntimeError(message))
    assert kernel.start(run) == "done"
    assert len(calls) == START_TRIES


def test_after_the_last_try_the_reason_and_a_remedy_are_given():
    run, calls = fail(99, RuntimeError(DIED))
    with pytest.raises(
        KernelStartError, match=rf"3 kernels did not start \({DIED}\); is the machine"
    ):
        kernel.start(run)
    assert len(calls) == START_TRIES


@pytest.mark.parametrize("error", [RuntimeError("CUDA"), ValueError(DIED), KeyboardInterrupt()])
def test_what_fails_later_is_not_tried_again(error):
    run, calls = fail(1, error)
    with pytest.raises(type(error)):
        kernel.start(run)
    assert len(calls) == 1


def test_a_notebook_is_executed_with_time_to_start_and_local_sockets(monkeypatch):
    run, calls = fail(1, RuntimeError(DIED))
    monkeypatch.setattr(papermill, "execute_notebook", run)
    kernel.execute("in.ipynb", "out.ipynb", {"seed": 1}, cwd="here")
    (_, (arguments, options)) = calls
    assert arguments == ("in.ipynb", "out.ipynb", {"seed": 1})
    assert options["cwd"] == "here"
    assert options["start_timeout"] >= 120
    assert options["config"].KernelManager.transport == "ipc"


def test_sockets_lie_in_a_folder_of_their_own_that_is_removed():
    with kernel.local_sockets() as config:
        place = config.KernelManager.ip
        folder = os.path.dirname(place)
        assert os.stat(folder).st_mode & 0o077 == 0  # nobody else may open them
        assert len(f"{place}-10") < 104  # the limit of a socket's path on macOS
    assert not os.path.exists(folder)


def test_where_a_path_would_be_too_long_tcp_remains(monkeypatch, tmp_path):
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with kernel.local_sockets() as config:
        assert "KernelManager" not in config
