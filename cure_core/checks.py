"""Checks of settings: every error names the setting, its value and what is accepted."""

import math
import operator
from collections.abc import Callable, Collection, Mapping
from dataclasses import field, fields
from difflib import get_close_matches
from typing import Any

import numpy as np

# Ranges for `real`.
POSITIVE = ("above 0", lambda x: x > 0)
NOT_NEGATIVE = ("of at least 0", lambda x: x >= 0)
SHARE = ("from 0 to 1", lambda x: 0 <= x <= 1)


def setting(default: Any, check: Callable[..., Any], *limits: Any) -> Any:
    """A dataclass field whose value is `check(name, value, *limits)`, such as `whole` or `real`."""
    return field(default=default, metadata={"check": check, "limits": limits})


def check_settings(settings: Any) -> None:
    """Replace each field that has a check by the checked value. Raises ValueError."""
    for item in fields(settings):
        if check := item.metadata.get("check"):
            value = check(item.name, getattr(settings, item.name), *item.metadata.get("limits", ()))
            object.__setattr__(settings, item.name, value)  # a frozen dataclass, too


def whole(name: str, value: Any, least: int = 0, most: float = math.inf) -> int:
    """`value` as an int. Raises ValueError if it is no whole number from `least` to `most`."""
    try:
        number = None if isinstance(value, bool | np.bool_) else operator.index(value)
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        limits = f"{least} or more" if most == math.inf else f"{least} to {most}"
        raise ValueError(f"{name}={value!r}; it is a whole number, {limits}")
    return number


def real(name: str, value: Any, accepted: str, fits: Callable[[float], bool]) -> float:
    """`value` as a float. Raises ValueError if it is no finite number, or does not fit."""
    try:
        is_number = not isinstance(value, bool | np.bool_ | str | bytes)
        number = float(value) if is_number else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or not fits(number):
        raise ValueError(f"{name}={value!r}; it is a number {accepted}")
    return number


def one_of(name: str, value: Any, known: Collection[str]) -> str:
    """`value`. Raises ValueError, with the nearest name, if it is not one of the `known`."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name}={value!r}; {nearest(value, known)}")
    return value


def known_fields(name: str, given: Any, known: Collection[str]) -> dict[str, Any]:
    """`given` as a dict. Raises ValueError if it is no mapping, or has an unknown key."""
    if not isinstance(given, Mapping):
        raise ValueError(f"{name}={given!r}; it is a mapping of {', '.join(known)}")
    for key in given:
        if key not in known:
            raise ValueError(f"{name} has no field {key!r}; {nearest(key, known)}")
    return dict(given)


def nearest(name: Any, known: Collection[str]) -> str:
    """The end of an error about an unknown name: the nearest known one, and all there are."""
    near = get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}there are {', '.join(known)}"
