"""One reader of YAML: rules of version 1.2, plain values, errors that name the file."""

import pytest

from cure_study.data.yaml_files import parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),  # text in YAML 1.1
        ("1E5", 1e5),
        ("no", "no"),  # False in YAML 1.1
        ("on", "on"),
        ("1:30", "1:30"),  # 90 in YAML 1.1
        ("true", True),
        ("null", None),
        ("[1, 2.5, a]", [1, 2.5, "a"]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
    ],
)
def test_values_follow_yaml_1_2(text, value):
    assert parse_yaml(text, "--set") == value


@pytest.mark.parametrize(
    "text",
    ["a: [1", "a: 1\na: 2", "2020-01-01", "!!python/name:os.system", "&a [*a]", "a: b: c", "\0"],
)
def test_what_is_not_plain_yaml_is_refused_by_its_source(text):
    with pytest.raises(ValueError, match=r"^profile\.yaml is not valid YAML"):
        parse_yaml(text, "profile.yaml")


@pytest.mark.parametrize("text", ["- 1\n- 2", "hello", "1: a"])
def test_a_file_that_is_no_mapping_is_refused_by_its_name(tmp_path, text):
    path = tmp_path / "tiny.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"tiny\.yaml holds .*expected a mapping"):
        read_yaml(path)


def test_a_file_may_be_empty_begin_with_a_byte_order_mark_and_must_be_utf_8(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_bytes(b"")
    assert read_yaml(path) == {}
    path.write_bytes("\ufeffname: José".encode())
    assert read_yaml(path) == {"name": "José"}
    path.write_bytes("name: José".encode("latin-1"))
    with pytest.raises(ValueError, match=r"tiny\.yaml cannot be read.*UTF-8"):
        read_yaml(path)
    with pytest.raises(FileNotFoundError, match=r"other\.yaml"):
        read_yaml(tmp_path / "other.yaml")
