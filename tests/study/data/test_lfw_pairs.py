import pytest

from cure_study.data.lfw_pairs import read_lfw_pairs

LFW = "2\t1\nAnn_Lee\t1\t4\nAnn_Lee\t1\tBob_Ray\t2\nCy_Dee\t2\t3\nBob_Ray\t1\tCy_Dee\t7\n"


def test_lfw_pairs_are_read_fold_by_fold(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text(LFW)
    assert read_lfw_pairs(path).values.tolist() == [
        ["Ann_Lee", 1, "Ann_Lee", 4, True, 0],
        ["Ann_Lee", 1, "Bob_Ray", 2, False, 0],
        ["Cy_Dee", 2, "Cy_Dee", 3, True, 1],
        ["Bob_Ray", 1, "Cy_Dee", 7, False, 1],
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Cy_Dee\t2\t3", "Cy_Dee\t2", r"pairs\.txt:4: expected 'name, i, j'"),
        ("Ann_Lee\t1\tBob_Ray\t2", "Ann_Lee\t1\t2", r"pairs\.txt:3: expected 'name, i, other"),
        ("Bob_Ray\t1\tCy_Dee\t7", "Bob_Ray\t1\tCy_Dee\tx", r"pairs\.txt:5: .*'Bob_Ray"),
        ("2\t1\n", "two\n", r"pairs\.txt:1: .*'two'"),
        ("2\t1\n", "2\t2\n", "announces 8 pairs, 4 lines follow"),
        (LFW, "", r"pairs\.txt:1: .*''"),
    ],
)
def test_malformed_lfw_pairs_are_refused_with_file_and_line(tmp_path, old, new, message):
    path = tmp_path / "pairs.txt"
    path.write_text(LFW.replace(old, new))
    with pytest.raises(ValueError, match=message):
        read_lfw_pairs(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text + "\n\n  \n",
        lambda text: text.rstrip(),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("2\t1\n", "2 1\n"),
        lambda text: text.replace("\n", " \n").replace("\t", " \t"),
    ],
)
def test_lfw_pairs_may_come_from_another_editor(tmp_path, change):
    path = tmp_path / "pairs.txt"
    path.write_text(LFW)
    expected = read_lfw_pairs(path)
    path.write_bytes(change(LFW).encode())
    assert read_lfw_pairs(path).equals(expected)


def test_a_header_of_one_number_is_one_fold(tmp_path):
    """`pairsDevTest.txt`: 500 genuine pairs and 500 of impostors."""
    path = tmp_path / "pairsDevTest.txt"
    path.write_text("2\nAnn\t1\t4\nCy\t2\t3\nAnn\t1\tBob\t2\nBob\t1\tCy\t7\n")
    table = read_lfw_pairs(path)
    assert table.genuine.tolist() == [True, True, False, False]
    assert table.fold.tolist() == [0] * 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Cy_Dee\t2\t3", "Cy_Dee\t3\t3", r"pairs\.txt:4 pairs image 3 of Cy_Dee with itself"),
        ("\tBob_Ray\t2", "\tAnn_Lee\t2", r"txt:3 calls two images of Ann_Lee an impostor pair"),
        ("Bob_Ray", "Jos\N{LATIN SMALL LETTER E WITH ACUTE}", r"txt:3: not UTF-8 \(.*save it as"),
        ("\t4\n", "\t-4\n", r"pairs\.txt:2: expected 'name, i, j'"),
        ("\t4\n", "\t1_0\n", r"pairs\.txt:2: expected 'name, i, j'"),
        ("Cy_Dee\t2\t3", "\t2\t3", r"pairs\.txt:4: expected 'name, i, j'"),
        ("Cy_Dee\t2\t3\n", "\n", r"pairs\.txt:4: expected 'name, i, j' between tabs, got ''"),
        ("2\t1\n", "0\t0\n", "announces 0 pairs, 4 lines follow"),
        ("2\t1\n", "2\t1\t1\n", r"pairs\.txt:1: expected 'folds"),
        (LFW, "0\n", "announces 0 pairs, 0 lines follow"),
    ],
)
def test_impossible_lfw_pairs_are_refused_with_file_and_line(tmp_path, old, new, message):
    path = tmp_path / "pairs.txt"
    path.write_bytes(LFW.replace(old, new).encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        read_lfw_pairs(path)


def test_an_impostor_pair_of_one_name_in_two_forms_of_unicode_is_refused(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("1\t1\nA\t1\t2\nJos\u00e9\t1\tJose\u0301\t2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"pairs\.txt:3 calls two images of"):
        read_lfw_pairs(path)
