from types import SimpleNamespace

import pytest

from cure_study.erasure.identities import read_identities

FOLDER = SimpleNamespace(root="faces", files=("a/1.png", "a/2.png", "b/x/3.png"))


def written(tmp_path, text):
    path = tmp_path / "people.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_folders_name_people():
    assert read_identities("folders", FOLDER).tolist() == ["a", "a", "b/x"]


def test_none_is_none():
    assert read_identities("none", FOLDER) is None


def test_a_table_names_people_in_any_order_and_may_name_other_files(tmp_path):
    text = "person,path\nBob,b/x/3.png\nAnn,a/2.png\nAnn,a/1.png\nZoe,z.png\n"
    assert read_identities(written(tmp_path, text), FOLDER).tolist() == ["Ann", "Ann", "Bob"]


def test_letters_compare_in_any_form_of_unicode(tmp_path):
    folder = SimpleNamespace(root="faces", files=("Zoe\u0308.png", "b.png"))
    text = "file,person\nZo\u00eb.png,1\nb.png,2\n"
    assert read_identities(written(tmp_path, text), folder).tolist() == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,person\na/1.png,A\n", "gives 2 images of faces no person .first: a/2.png"),
        ("file,person\na/1.png,\na/2.png,A\nb/x/3.png,B\n", "gives 1 images of faces no person"),
        ("image_name,who\na/1.png,A\n", "has the columns image_name, who; one of them must be"),
        ("file,person\na/1.png,A\na/2.png,A\nb/x/3.png,A\n", "the same person"),
    ],
)
def test_a_table_that_does_not_fit_is_named_with_the_remedy(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_identities(written(tmp_path, text), FOLDER)


def test_missing_tables_and_loose_images_are_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="give a CSV, 'folders' or 'none'"):
        read_identities(str(tmp_path / "absent.csv"), FOLDER)
    loose = SimpleNamespace(root="faces", files=("1.png", "a/2.png"))
    with pytest.raises(ValueError, match="1 images of faces lie in no folder"):
        read_identities("folders", loose)
