"""The project's reader of YAML: version 1.2, plain values only, and errors that name the file."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from cure_core.checks import nearest


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty file is an empty mapping.

    By the rules of YAML 1.2: `1e-3` is a number, `no` is text; a name given twice is an error.
    Raises FileNotFoundError, and ValueError naming the file if it is not UTF-8, not YAML, or not a
    mapping of text to plain values.
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
    """The value of a YAML text: None, bool, int, float, str, list or dict.

    `source` names the text in errors. Raises ValueError if it is not YAML 1.2, or holds anything
    but plain values (a date, a tag, a node that contains itself).
    """
    try:
        value = YAML(typ="safe", pure=True).load(text)  # the C reader follows YAML 1.1
        json.dumps(value)  # refuses what is not plain, and what contains itself
    except Exception as error:  # a malformed text can make the parser raise anything
        reason = " ".join(str(error).split())
        raise ValueError(f"{source} is not valid YAML: {reason}") from error
    return value


def validation_message(error: ValidationError, known: Collection[str] = ()) -> str:
    """Each field that pydantic refused, with its value and the reason, in one line.

    `known`: the fields there are, to suggest the nearest to an unknown one.
    """
    messages = []
    for problem in error.errors():
        field = ".".join(map(str, problem["loc"]))
        reason = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "missing":
            messages.append(f"`{field}` is missing")
        elif problem["type"] == "extra_forbidden":
            hint = f"; {nearest(field, known)}" if known else ""
            messages.append(f"`{field}` is unknown{hint}")
        else:
            messages.append(f"`{field}` is {problem['input']!r}: {reason}" if field else reason)
    return "; ".join(messages)
