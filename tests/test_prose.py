"""The prose of pages, notebooks, captions, docstrings, comments and messages uses plain words.

`docs/words.yaml` lists what is replaced by what.
"""

import ast
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORDS = yaml.safe_load((ROOT / "docs" / "words.yaml").read_text(encoding="utf-8"))
PATTERN = re.compile(
    "|".join(rf"(?P<w{i}>\b(?:{word['pattern']})\b)" for i, word in enumerate(WORDS)), re.IGNORECASE
)
CODE = re.compile(r"`[^`]*`|^```.*?^```|https?://\S+|\]\([^)]*\)|<[^>]+>", re.DOTALL | re.MULTILINE)
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "notebooks").glob("course/*.md")),
    ROOT / "figures" / "index.yaml",
]
SOURCES = [
    *sorted((ROOT / "cure_core").rglob("*.py")),
    *sorted((ROOT / "cure_study").rglob("*.py")),
    *sorted((ROOT / "notebooks").glob("*.py")),
    *sorted((ROOT / "notebooks" / "course" / "source").glob("*/*.py")),
]


def found(text: str) -> Iterator[tuple[int, str, str]]:
    """Line, word and what to write instead, of each word of a text; code in it is skipped."""
    plain = CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    for match in PATTERN.finditer(plain):
        number = int(str(match.lastgroup)[1:])
        yield plain.count("\n", 0, match.start()) + 1, match[0], WORDS[number]["write"]


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The first line and the text of each docstring, message and comment of a Python file.

    A string counts as a message if it has a space: names and keys have none.
    """
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


@cache
def problems(path: Path) -> list[str]:
    whole = [(1, path.read_text(encoding="utf-8"))]
    parts = prose(path) if path.suffix == ".py" else whole
    return [
        f"{path.relative_to(ROOT)}:{first + line - 1}: {word!r}; write: {better}"
        for first, text in parts
        for line, word, better in found(text)
    ]


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_uses_plain_words(path):
    assert problems(path) == []


def test_a_planted_word_is_found_wherever_prose_stands(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        '"""Trained anew."""\n\nx = 1  # dear\n\n\n'
        'def f(dear):\n    raise ValueError(f"{x} is dear")\n',
        encoding="utf-8",
    )
    texts = [text for _, text in prose(path)]
    assert sum(len(list(found(text))) for text in texts) == 3  # not the argument
    assert [word for _, word, _ in found("a `dear` word\n```\nanew\n```\nTold apart")] == [
        "Told apart"
    ]
