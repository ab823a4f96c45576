"""Text is read and written as UTF-8 everywhere: never by the locale's encoding."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for folder in ("cure_core", "cure_study", "docs", "notebooks")
    for path in (ROOT / folder).rglob("*.py")
    if not {"release", "submitted", "autograded"} & {*path.parts}
)
TEXT = {"read_text": 0, "write_text": 1}  # the position of their encoding
MODES = {"open": 1, "fdopen": 1, "NamedTemporaryFile": 0, "TemporaryFile": 0}
BINARY = {"Image", "os", "webbrowser"}  # whose open() gives no text
PROCESSES = {"run", "Popen", "check_output", "check_call", "call"}


def by_locale(tree):
    """The lines of a module that leave the encoding of a text to the locale."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        function = call.func
        name = getattr(function, "attr", getattr(function, "id", ""))
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        if "encoding" in given or None in given:
            continue
        method = isinstance(function, ast.Attribute)
        if method and name in TEXT and len(call.args) <= TEXT[name]:
            yield call.lineno
        elif name in MODES and not (method and getattr(function.value, "id", "") in BINARY):
            place = 0 if method and name == "open" else MODES[name]
            default = "w+b" if "Temporary" in name else "r"
            mode = given.get("mode", call.args[place] if len(call.args) > place else None)
            if "b" not in getattr(mode, "value", default if mode is None else ""):
                yield call.lineno
        elif name in PROCESSES and {"text", "universal_newlines"} & given.keys():
            yield call.lineno


def test_no_text_depends_on_the_locale():
    found = {
        path.relative_to(ROOT).as_posix(): lines
        for path in FILES
        if (lines := sorted(by_locale(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert found == {}, 'give encoding="utf-8"'


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("p.read_text()", True),
        ("p.read_text('utf-8')", False),
        ("p.write_text(t)", True),
        ("p.write_text(t, encoding='utf-8')", False),
        ("open(p)", True),
        ("open(p, 'w')", True),
        ("open(p, 'rb')", False),
        ("open(p, mode='wb')", False),
        ("open(p, 'w', encoding='utf-8')", False),
        ("p.open()", True),
        ("p.open('rb')", False),
        ("Image.open(p)", False),
        ("NamedTemporaryFile()", False),
        ("NamedTemporaryFile('w')", True),
        ("subprocess.run(c, text=True)", True),
        ("subprocess.run(c, encoding='utf-8')", False),
        ("subprocess.run(c)", False),
    ],
)
def test_the_check_finds_what_it_should(line, found):
    assert bool(list(by_locale(ast.parse(line)))) == found
