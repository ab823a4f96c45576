"""Checks of settings: every error names the field, the value it has and what is accepted."""

import math
import operator
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np


def whole_number(value: Any) -> int:
    """A whole number of any library. Raises TypeError for others, and for True and False."""
    if isinstance(value, bool | np.bool_):
        raise TypeError("a truth value is no number")
    return operator.index(value)


def real_number(value: Any) -> float:
    """A number of any library as a float; NaN, which no range holds, for all else."""
    if isinstance(value, bool | np.bool_ | str | bytes):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def whole(name: str, value: Any, least: int = 0) -> int:
    """`value` as an int. Raises ValueError for what is no whole number, or below `least`."""
    try:
        number = whole_number(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{name}={value!r}; it is a whole number, {least} or more")
    return number


def real(name: str, value: Any, accepted: str, fits: Callable[[float], bool]) -> float:
    """`value` as a float. Raises ValueError for what is no finite number, or does not fit."""
    number = real_number(value)
    if not math.isfinite(number) or not fits(number):
        raise ValueError(f"{name}={value!r}; it is a number {accepted}")
    return number


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
