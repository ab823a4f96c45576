"""A notebook's parameters: what its cell declares, and whether given values fit it."""

import ast
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic import NonNegativeInt as Count
from pydantic import PositiveInt as Positive
from typing_extensions import TypedDict

from cure_core.checks import nearest
from cure_study.data.yaml_files import validation_message

T = TypeVar("T")

USED_IN_TRAINING = {"method", "methods", "encoder", "teacher", "unlearning", "device"}


def unique(values: list[T]) -> list[T]:
    """The values, of which none may be given twice; ValueError otherwise."""
    if repeated := sorted({str(value) for value in values if values.count(value) > 1}):
        raise ValueError(f"it names {', '.join(repeated)} more than once; name each once")
    return values


class StudyNumbers(BaseModel):
    """The ranges of parameters that the study's notebooks share."""

    seeds: Annotated[list[Count], Field(min_length=1), AfterValidator(unique)] = [0]
    forget_people: Positive = 1
    n_pairs: Positive = 1
    processes: Positive = 1
    n_bootstrap: Count = 0
    weights: str | None = None


def code_cells(source: Path) -> list[dict[str, Any]]:
    """The `source`, as one text, and the `tags` of every code cell of an `.ipynb` file.

    Raises ValueError naming a file that is not a notebook.
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
    parse. (papermill's own inspection returns every default as text, and takes seconds to import.)
    """
    cells = [cell["source"] for cell in code_cells(source) if "parameters" in cell["tags"]]
    try:
        lines = [line for cell in cells for line in ast.parse(cell).body]
    except (SyntaxError, ValueError, RecursionError) as error:  # ValueError: a null byte
        raise ValueError(f"{source}: its parameters cell is not Python: {error}") from error
    defaults: dict[str, Any] = {}
    for line in lines:
        if isinstance(line, ast.Assign | ast.AnnAssign) and line.value is not None:
            targets = line.targets if isinstance(line, ast.Assign) else [line.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            defaults |= dict.fromkeys(names, _literal(line.value))
    return defaults


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):  # TypeError: a list as the key of a dict
        return ast.unparse(node)


def check_types(what: str, given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The given values, each of the type of its default: an int for a float too.

    A default of None allows any value; a list whose items have one type allows no other. `what` is
    what an error calls the values. Raises ValueError for a name that has no default, and for a
    value of another type.
    """
    types = {name: _type(default) for name, default in defaults.items()}
    schema = cast(Any, TypedDict)("Parameters", types, total=False)
    schema.__pydantic_config__ = ConfigDict(extra="forbid", strict=True)
    try:
        return TypeAdapter(schema).validate_python(dict(given))
    except ValidationError as error:
        raise ValueError(f"{what}: {validation_message(error, defaults)}") from None


def _type(default: Any) -> Any:
    if isinstance(default, list):
        kinds = {type(item) for item in default}
        return list[_type(default[0])] if len(kinds) == 1 else list  # type: ignore[misc]
    return type(default) if isinstance(default, bool | int | float | str | dict) else Any


def check_content(parameters: Mapping[str, Any], origin: str) -> None:
    """Raise ValueError for values that the study's steps would refuse, before any work.

    Of a notebook that declares them: the seeds, the method, the encoder, the split, and the fields
    of `teacher` (a Recipe) and `unlearning` (a CureConfig).
    """
    try:
        StudyNumbers.model_validate(parameters, strict=True)
    except ValidationError as error:
        raise ValueError(f"{origin}: {validation_message(error)}") from None
    if "split" in parameters:
        _check_split(f"{origin}: split", parameters["split"])
    if not USED_IN_TRAINING & parameters.keys():
        return
    from cure_core import encoders, objectives
    from cure_core.config import CureConfig
    from cure_core.training.arcface import Recipe

    if parameters.get("device") is not None:
        _check_device(f"{origin}: device", parameters["device"])
    encoder = parameters.get("encoder")
    if encoder is not None and ":" in encoder:  # module:function is the user's encoder
        import_from_here()
    elif encoder is not None:
        check_name(f"{origin}: encoder", encoder, sorted(encoders.REGISTRY))
    method = parameters.get("method")
    if method == "auto" and "goal" in parameters:  # a request, whose goal decides
        from cure_study.erasure.setting import GOALS

        check_name(f"{origin}: goal", parameters["goal"], GOALS)
        method = GOALS[parameters["goal"]]
    for name in [*parameters.get("methods", ()), *filter(None, [method])]:
        check_name(f"{origin}: method", name, objectives.METHODS)
    build(f"{origin}: teacher", Recipe, parameters.get("teacher", {}))
    config = build(f"{origin}: unlearning", CureConfig, parameters.get("unlearning", {}))
    if method is None:
        return
    if method.startswith("supervised_"):
        raise ValueError(
            f"{origin}: method {method} needs identity labels, which only `cure compare` gives it"
        )
    weights = objectives.build(method)(config).weights
    check_types(f"{origin}: unlearning: weights", config.weights, weights)


def import_from_here() -> None:
    """Let this process, and the kernels that it starts, import modules of the current folder."""
    here, known = os.getcwd(), os.environ.get("PYTHONPATH", "")
    if here not in sys.path:
        sys.path.append(here)
    if here not in known.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [known, here]))


def check_machine(parameters: Mapping[str, Any]) -> None:
    """Raise ValueError for a device that this machine lacks; a study may be planned on another."""
    import torch

    if str(parameters.get("device")).startswith("cuda") and not torch.cuda.device_count():
        raise ValueError(
            f"device is {parameters['device']}, but torch finds no CUDA device on this machine; "
            "--set device=null uses the CPU"
        )


def _check_device(what: str, name: Any) -> None:
    import torch

    try:
        torch.device(name)
    except (RuntimeError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{what} is {name!r}; give cuda, or null for the CPU ({reason})") from None


def build(what: str, kind: type[T], settings: Mapping[str, Any]) -> T:
    """A `Recipe` or `CureConfig` of these settings. Raises ValueError naming what is wrong."""
    defaults = {f.name: None if f.default is MISSING else f.default for f in fields(kind)}  # type: ignore[arg-type]
    del defaults["seed"]  # a study's `seeds` set it
    numbers = {n: d if type(d) in (int, float) else None for n, d in defaults.items()}
    check_types(what, settings, numbers)
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: {error}") from error


def _check_split(what: str, split: Mapping[str, Any]) -> None:
    from cure_study.data.manifest_schema import Splits
    from cure_study.data.splits import split_people

    arguments = signature(split_people).parameters
    defaults = {name: arguments[name].default for name in Splits.model_fields}
    try:
        Splits.model_validate(defaults | dict(split), strict=True)
    except ValidationError as error:
        raise ValueError(f"{what}: {validation_message(error, defaults)}") from None


def bounds_apply(bounds_for: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
    """Whether the parameters have the values that a profile's bounds were measured with."""
    return all(parameters[name] == value for name, value in bounds_for.items())


def check_name(what: str, name: Any, known: Iterable[Any]) -> None:
    """Raise ValueError for a name that is not among those known, with the nearest that is."""
    known = list(known)
    if name not in known:
        raise ValueError(f"{what} is {name!r}; {nearest(name, list(map(str, known)))}")
