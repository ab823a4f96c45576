"""Checks of settings: every error names the field, the value it has and what is accepted."""

import math
import operator
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any


def whole(name: str, value: Any, least: int = 0) -> int:
    """`value` as an int. Raises ValueError for what is no whole number, or below `least`."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < least:
        raise ValueError(f"{name}={value!r}; it is a whole number, {least} or more")
    return number


def real(name: str, value: Any, accepted: str, fits: Callable[[float], bool]) -> float:
    """`value` as a float. Raises ValueError for what is no finite number, or does not fit."""
    plain = not isinstance(value, bool | str | bytes) and hasattr(value, "__float__")
    if not plain or not math.isfinite(value) or not fits(float(value)):
        raise ValueError(f"{name}={value!r}; it is a number {accepted}")
    return float(value)


def one_of(name: str, value: Any, known: Collection[str]) -> None:
    """Raise ValueError, with the nearest name, for what is not one of the `known`."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}={value!r}; {nearest(value, known)}")


def known_fields(name: str, given: Any, known: Collection[str]) -> dict[str, Any]:
    """`given` as a dict. Raises ValueError for what is no mapping, or has an unknown key."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{name}={given!r}; it is a mapping of {', '.join(known)}")
    for key in given:
        if key not in known:
            raise ValueError(f"{name} has no field {key!r}; {nearest(key, known)}")
    return dict(given)


def nearest(name: Any, known: Collection[str]) -> str:
    """How an error about an unknown name ends: with the nearest known one, and all there are."""
    near = get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}there are {', '.join(known)}"
