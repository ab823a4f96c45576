"""The process of one run of a batch, started by `batch.worker`; it ends with its parent.

It reads what to do as one line of JSON on its standard input, which then stays open for as long as
the parent wants the run: its end, whatever brought it, ends the run and the run's kernel.
"""

import json
import logging
import os
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cure_study.runner import run_folder
from cure_study.runner.runs import Run

DONE, FAILED, STOPPED, BUSY, STALE = 0, 70, 71, 72, 73


def main() -> int:
    """Execute the run; the status tells how it ended."""
    asked = json.loads(sys.stdin.readline())
    run, where = Run(**asked["run"]), Path(asked["where"])
    threading.Thread(target=_end_with_parent, args=(run, where), daemon=True).start()
    # papermill's imports compile a grammar of web addresses that no notebook needs: 1.4 s each run
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        run_folder.execute(run, where, again=asked["again"], log=True)
    except run_folder.BusyError:
        return BUSY
    except run_folder.StaleError as error:
        print(error)
        return STALE
    except Exception as error:
        logging.error("%s", run_folder.said(error))
        return FAILED
    return DONE


def order(run: Run, where: Path, again: bool) -> dict[str, Any]:
    """What `main` reads."""
    return {"run": asdict(run), "where": str(where), "again": again}


def _end_with_parent(run: Run, where: Path) -> None:
    import psutil

    while os.read(0, 1):
        pass
    for process in psutil.Process().children(recursive=True):
        process.kill()
    run_folder.remove_partials(where, run.name, os.getpid())
    os._exit(STOPPED)


if __name__ == "__main__":
    sys.exit(main())
