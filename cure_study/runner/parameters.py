"""A notebook's parameters: what its cell declares, and whether given values fit it."""

import ast
import json
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cure_study.data.yaml_files import field_errors

TRAINS = {"method", "methods", "encoder", "teacher", "unlearning", "device"}
COUNTS = ("forget_people", "n_pairs", "processes")  # parameters that must be 1 or more
KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a mapping",
}


def code_cells(source: Path) -> list[dict[str, Any]]:
    """The `source`, as one text, and the `tags` of every code cell of an `.ipynb` file.

    Raises ValueError naming a file that is no notebook.
    """
    try:
        cells = json.loads(source.read_text(encoding="utf-8"))["cells"]
        return [
            {"source": "".join(cell["source"]), "tags": [*cell["metadata"].get("tags", [])]}
            for cell in cells
            if cell["cell_type"] == "code"
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{source} is not a notebook: {type(error).__name__}: {error}") from error


def declared(source: Path) -> dict[str, Any]:
    """The names that a notebook's parameters cell sets, with their defaults.

    A default that is not a literal is its source text. Raises ValueError for a cell that does not
    parse.
    """
    defaults: dict[str, Any] = {}
    for cell in code_cells(source):
        if "parameters" not in cell["tags"]:
            continue
        try:
            lines = ast.parse(cell["source"]).body
        except (SyntaxError, ValueError, RecursionError) as error:  # ValueError: a null byte
            raise ValueError(f"{source}: its parameters cell is not Python: {error}") from error
        for line in lines:
            targets = line.targets if isinstance(line, ast.Assign) else []
            targets = [line.target] if isinstance(line, ast.AnnAssign) else targets
            for target in targets:
                if isinstance(target, ast.Name) and line.value is not None:
                    defaults[target.id] = _literal(line.value)
    return defaults


def check(
    source: Path, given: Mapping[str, Any], origin: str, defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The given values, each of the type of its default in the notebook: an int for a float too.

    `origin` is what an error calls the place they come from. Raises ValueError for a name that the
    notebook does not declare and for a value of another type.
    """
    defaults = declared(source) if defaults is None else defaults
    for name in given:
        if name not in defaults:
            raise ValueError(
                f"{origin}: {source.stem} has no parameter {name}; "
                + suggestion(name, defaults, "its parameters cell names them")
            )
    return {name: fit(f"{origin}: {name}", v, defaults[name]) for name, v in given.items()}


def fit(name: str, value: Any, default: Any) -> Any:
    """`value` as the type of `default`; a default of None allows any value.

    Raises ValueError naming the value and what it should be.
    """
    kind = type(default)
    if kind is float and type(value) is int:
        return float(value)
    if kind not in KINDS:
        return value
    if type(value) is not kind:
        raise ValueError(f"{name} is {json.dumps(value)}; give {KINDS[kind]}{_remedy(value, kind)}")
    kinds = {type(item) for item in default} if kind is list else set()
    if len(kinds) == 1:
        return [fit(f"{name}[{i}]", item, default[0]) for i, item in enumerate(value)]
    return value


def check_content(parameters: Mapping[str, Any], origin: str) -> None:
    """Raise ValueError for values that the study's steps would refuse, before any work.

    Of a notebook that declares them: the seeds, the method, the encoder, the split, and the fields
    of `teacher` (a Recipe) and `unlearning` (a CureConfig).
    """
    seeds = parameters.get("seeds", [0])
    if not seeds:
        raise ValueError(f"{origin}: seeds is empty; give at least one")
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"{origin}: seeds is {seeds}; give each once, from 0 on")
    for name in COUNTS:
        if parameters.get(name, 1) < 1:
            raise ValueError(f"{origin}: {name} is {parameters[name]}; give 1 or more")
    if parameters.get("n_bootstrap", 0) < 0:
        raise ValueError(f"{origin}: n_bootstrap is {parameters['n_bootstrap']}; give 0 or more")
    weights = parameters.get("weights")
    if not isinstance(weights, str | None):
        raise ValueError(
            f"{origin}: weights is {json.dumps(weights)}; give the path of a file, or null"
        )
    if "split" in parameters:
        _check_split(f"{origin}: split", parameters["split"])
    if not TRAINS & parameters.keys():
        return
    from cure_core import encoders, objectives
    from cure_core.config import CureConfig
    from cure_core.training.arcface import Recipe

    if parameters.get("device") is not None:
        check_device(f"{origin}: device", parameters["device"])
    encoder = parameters.get("encoder")
    if encoder is not None and ":" not in encoder:  # module:function is an encoder of one's own
        check_name(f"{origin}: encoder", encoder, sorted(encoders.REGISTRY))
    methods = [*parameters.get("methods", ()), *filter(None, [parameters.get("method")])]
    for method in methods:
        check_name(f"{origin}: method", method, objectives.METHODS)
    built(f"{origin}: teacher", Recipe, parameters.get("teacher", {}))
    config = built(f"{origin}: unlearning", CureConfig, parameters.get("unlearning", {}))
    if "method" in parameters:
        _check_objective(parameters["method"], config, origin)


def check_machine(parameters: Mapping[str, Any]) -> None:
    """Raise ValueError for a device that this machine lacks; a study may be planned on another."""
    import torch

    if str(parameters.get("device")).startswith("cuda") and not torch.cuda.device_count():
        raise ValueError(
            f"device is {parameters['device']}, but torch finds no CUDA device on this machine; "
            "--set device=null takes the CPU"
        )


def check_device(what: str, name: Any) -> None:
    """Raise ValueError for what is not the name of a torch device."""
    import torch

    try:
        torch.device(name)
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{what} is {name!r}; give cuda, or null for the CPU ({reason})") from None


def built(what: str, kind: type, settings: Mapping[str, Any]) -> Any:
    """A `Recipe` or `CureConfig` of these settings. Raises ValueError naming what is wrong."""
    known = {f.name: None if f.default is MISSING else f.default for f in fields(kind)}
    known.pop("seed")  # a study's `seeds` set it
    check_fields(what, settings, known)
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: {error}") from error


def check_fields(what: str, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise ValueError for a name that is not in `defaults`, and for what is not its number."""
    for name, value in settings.items():
        if name not in defaults:
            known = f"it has {', '.join(defaults)}"
            raise ValueError(
                f"{what} has no field {name}; {suggestion(str(name), defaults, known)}"
            )
        if type(defaults[name]) in (int, float):
            fit(f"{what}: {name}", value, defaults[name])


def bounds_apply(bounds_for: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    """Whether the parameters have the values that a profile's bounds were measured with."""
    return all(parameters[name] == value for name, value in bounds_for.items())


def check_name(what: str, name: Any, known: Iterable[Any]) -> None:
    """Raise ValueError for a name that is not among those known, with the nearest that is."""
    known = list(known)
    if name not in known:
        raise ValueError(
            f"{what} is {name!r}; "
            + suggestion(str(name), map(str, known), f"there are {', '.join(map(str, known))}")
        )


def suggestion(name: str, known: Iterable[str], otherwise: str) -> str:
    """The question for the nearest known name, or, where none is near, `otherwise`."""
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else otherwise


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):  # TypeError: a list as the key of a dict
        return ast.unparse(node)


def _remedy(value: Any, kind: type) -> str:
    if kind in (int, float) and isinstance(value, str) and _number(value) is not None:
        return f": write {value} without quotes"
    if kind is int and isinstance(value, float) and value.is_integer():
        return f": write {int(value)}"
    if kind is str and not isinstance(value, list | dict | None):
        return f': write "{json.dumps(value)}" in quotes'
    if kind is list and not isinstance(value, dict | None):
        return f": write [{json.dumps(value)}]"
    return ""


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _check_split(what: str, split: Mapping[str, Any]) -> None:
    from inspect import signature

    from cure_study.data.manifest_schema import Splits
    from cure_study.data.splits import split_people

    known = {name: signature(split_people).parameters[name].default for name in Splits.model_fields}
    numbers = {name: value for name, value in split.items() if value is not None}  # no maximum
    check_fields(what, numbers, known)
    try:
        Splits.model_validate(known | dict(split))
    except ValidationError as error:
        raise ValueError(f"{what}: {field_errors(error)}") from None


def _check_objective(method: str, config: Any, origin: str) -> None:
    from cure_core import objectives

    if method.startswith("supervised_"):
        raise ValueError(
            f"{origin}: method {method} needs identity labels, which only `cure compare` gives it"
        )
    check_fields(
        f"{origin}: unlearning: weights", config.weights, objectives.build(method)(config).weights
    )
