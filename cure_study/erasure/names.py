"""Finding the images that a path, a folder or a glob names."""

import os
import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import partial

from cure_study.data.faceset import LeftOut
from cure_study.data.text import normal_name
from cure_study.erasure.images import ImageFolder


@dataclass(frozen=True)
class Match:
    """What one entry of a list takes: images by number, or else the problem, after its text.

    Finding the nearest names takes seconds in a large folder: only a problem to be shown is found.
    """

    place: str
    text: str
    images: Sequence[int] = ()
    problem: Callable[[], str] | None = None


class Names:
    """The names in an image folder, all in one form of Unicode."""

    def __init__(self, folder: ImageFolder) -> None:
        paths = (os.path.abspath(folder.root), os.path.realpath(folder.root))
        self._roots = [_spelled(path) for path in paths]
        self._left_out = {normal_name(name): why for name, why in folder.left_out.files.items()}
        self._by_name: defaultdict[str, list[int]] = defaultdict(list)
        self._by_folder: defaultdict[str, list[int]] = defaultdict(list)
        for i, file in enumerate(folder.files):
            name = normal_name(file)
            self._by_name[name].append(i)
            for parent in _parents(name):
                self._by_folder[parent].append(i)

    def has_file(self, text: str) -> bool:
        """Whether an image has exactly that name."""
        return normal_name(text.strip()) in self._by_name

    def match(self, text: str, place: str) -> Match:
        """The images that a line takes, or why it takes none."""
        if not text.strip():
            return Match(place, text, problem=lambda: "is empty")
        for spelling in (text, text.strip()):
            name = self._relative(spelling)
            if name is None:
                return Match(place, text, problem=lambda: f"is outside {self._roots[0]}")
            if images := self._find(name):
                return Match(place, text, images)
        return Match(place, text, problem=partial(self._explain, name or text))

    def _relative(self, text: str) -> str | None:
        """A path relative to the folder; None if it is outside."""
        for root in self._roots:
            path = posixpath.normpath(posixpath.join(root, _spelled(text)))
            if path == root or path.startswith(f"{root.rstrip('/')}/"):
                return posixpath.relpath(path, root)
        return None

    def _find(self, name: str) -> list[int]:
        if name in self._by_name:
            return self._by_name[name]
        if name in self._by_folder:
            return self._by_folder[name]
        return [i for file in _glob(name, self._by_name) for i in self._by_name[file]]

    def _explain(self, name: str) -> str:
        if name in self._left_out:
            return f"cannot be used: {self._left_out[name]}"
        below = {
            file: reason
            for file, reason in self._left_out.items()
            if name in _parents(file) or file in _glob(name, [file])
        }
        if below:
            return f"matches no usable image; {LeftOut(below)}"
        if folders := _glob(name, self._by_folder):
            return f"matches folders only ({', '.join(folders[:3])}); add /* for their images"
        nearest = self._nearest(name)
        return f"is not in {self._roots[0]}{f'; the nearest: {nearest}' if nearest else ''}"

    def _nearest(self, name: str) -> str:
        everything = [*self._by_name, *self._by_folder]
        base = posixpath.basename(name)
        same = [file for file in everything if posixpath.basename(file) == base]
        return ", ".join(same[:3] or get_close_matches(name, everything, 3))


def _spelled(path: str) -> str:
    return normal_name(path.replace(os.sep, "/"))


def _parents(name: str) -> list[str]:
    """The folders that a file is in, at any depth."""
    parents = ["."]
    while name := posixpath.dirname(name):
        parents.append(name)
    return parents


def _glob(pattern: str, names: Iterable[str]) -> list[str]:
    """The names that a glob matches; without a wildcard in it, none."""
    if not any(wildcard in pattern for wildcard in "*?["):
        return []
    parts = pattern.split("/")
    return [name for name in names if _matches(name.split("/"), parts)]


def _matches(name: list[str], pattern: list[str]) -> bool:
    """Whether a glob matches a name, each split at the slashes; `**` stands for any folders."""
    if not pattern or not name:
        return not pattern and not name
    if pattern[0] == "**":
        return any(_matches(name[skipped:], pattern[1:]) for skipped in range(len(name) + 1))
    return fnmatchcase(name[0], pattern[0]) and _matches(name[1:], pattern[1:])
