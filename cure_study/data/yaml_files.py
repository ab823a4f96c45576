"""The one reader of the project's YAML: version 1.2, plain values only, every error by its file."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping.

    By the rules of YAML 1.2: `1e-3` is a number, `no` is text; a name given twice is an error.
    Raises FileNotFoundError, and ValueError naming the file where it is not UTF-8, not YAML, or
    not a mapping of text to plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}; save it as UTF-8") from error
    fields = parse_yaml(text, str(path))
    if fields is None:
        return {}
    if not isinstance(fields, dict) or not all(isinstance(name, str) for name in fields):
        raise ValueError(
            f"{path} holds {type(fields).__name__}; expected a mapping, one `name: value` a line"
        )
    return fields


def parse_yaml(text: str, source: str) -> Any:
    """The value that a YAML text holds: None, bool, int, float, str, list or dict.

    `source` is what an error calls the text. Raises ValueError where it is not YAML 1.2, or holds
    anything but plain values (a date, a tag, a node that contains itself).
    """
    try:
        value = YAML(typ="safe", pure=True).load(text)  # the C reader follows YAML 1.1
        json.dumps(value)  # refuses what is not plain, and what contains itself
    except Exception as error:  # a malformed text can make the parser raise anything
        reason = " ".join(str(error).split())
        raise ValueError(f"{source} is not valid YAML: {reason}") from error
    return value


def field_errors(error: ValidationError) -> str:
    """Each field that pydantic rejected, with its value and the reason, in one line."""
    wrong = [
        (".".join(map(str, e["loc"])), e["input"], e["msg"], e["type"]) for e in error.errors()
    ]
    return "; ".join(
        f"`{field}` is missing"
        if kind == "missing"
        else f"`{field}` is {value!r}: {message}"
        if field
        else message.removeprefix("Value error, ")
        for field, value, message, kind in wrong
    )
