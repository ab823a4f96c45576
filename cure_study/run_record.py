"""The record of a run's results, and digests that show whether both are undamaged."""

import hashlib
import json
from pathlib import Path
from typing import Any

from cure_core.files import DamagedFileError, atomic_path, file_sha256

RECORD, LOG = "run.json", "run.log"


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write `run.json`: the record, the SHA-256 of every result, and a digest of all that.

    Results are all files but the executed notebook and the log, which may be edited.
    """
    files = {
        path.relative_to(folder).as_posix(): file_sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".ipynb" and path.name not in (LOG, RECORD)
    }
    record = record | {"files": files}
    with atomic_path(folder / RECORD) as temporary:
        text = json.dumps(record | {"digest": _digest(record)}, indent=2)
        temporary.write_text(text, encoding="utf-8")


def read_record(path: Path) -> dict[str, Any]:
    """A `run.json` or `failure.json`, as it was written; one without `files` needs no digest.

    Raises FileNotFoundError, and DamagedFileError naming a file that is not what was written.
    """
    try:
        record = json.loads(path.read_bytes())
        digest = record.pop("digest", "")
        dict(record.get("parameters", {}))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DamagedFileError(path, "it is not a run's record") from error
    if (digest or "files" in record) and digest != _digest(record):
        raise DamagedFileError(path, "its content does not match its digest")
    return record


def check_results(folder: Path, record: dict[str, Any]) -> None:
    """Raise DamagedFileError naming a result of a run that is missing or not what was written."""
    for name, sha256 in record.get("files", {}).items():
        path = folder / name
        if not path.is_file():
            raise DamagedFileError(path, "it is missing")
        if file_sha256(path) != sha256:
            raise DamagedFileError(path, "its content does not match its SHA-256")


def is_done(folder: Path) -> bool:
    """Whether a folder holds a finished run, undamaged."""
    try:
        record = read_record(folder / RECORD)
        check_results(folder, record)
    except (FileNotFoundError, NotADirectoryError, DamagedFileError):
        return False
    return "seconds" in record


def _digest(record: dict[str, Any]) -> str:
    as_read = json.loads(json.dumps(record))  # a mapping's keys become text, and sort as text
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()
