"""The folder of an experiment that goes on where it was: of one setting, which it records."""

import json
from pathlib import Path
from typing import Any

from cure_core.files import atomic_path
from cure_study.paths import locked


def claim_folder(folder: Path, name: str, parameters: dict[str, Any]) -> None:
    """Record an experiment's name and parameters in its folder, or check them against the record.

    Raises ValueError if the folder is of another setting, or its record is damaged.
    """
    path = folder / "run.json"
    text = json.dumps({"notebook": name, "parameters": parameters}, indent=2)
    with locked(path):
        if not path.is_file():
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(
                f"{path} is not the record of a run ({error}); remove it if the table in {folder} "
                "is of this experiment, or name another folder"
            ) from error
    if found != json.loads(text):
        raise ValueError(
            f"{path} is of other faces or another setting; name another folder, or remove {folder}"
        )
