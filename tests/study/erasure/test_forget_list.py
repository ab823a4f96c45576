"""A request's list: every line takes images, or is an error that says why not."""

import os
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from image_files import save

from cure_study.data.faceset import LeftOut
from cure_study.erasure.forget_list import check_disjoint, read_list
from cure_study.erasure.images import ImageFolder, read_folder

FILES = (
    "#1.png",
    "2019/anna/1.png",
    "2019/anna/2.png",
    "2019/bob/1.png",
    "2020/anna/3.png",
    "José.png",
    "a b.png",
    "new\nline.png",
    "x[1].png",
)
LEFT_OUT = {
    "2019/anna/raw.dng": ".dng",
    "2021/a.heic": ".heic",
    "2021/b.heic": ".heic",
    "broken.png": "unreadable",
}


def listed(root, files=FILES, left_out=LEFT_OUT):
    """A folder of these names, without a file on the disk."""
    images = np.zeros((len(files), 4, 4, 3), np.uint8)
    return ImageFolder(root, tuple(files), images, LeftOut(left_out), tuple(files))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def write(tmp_path, content, name="list.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def taken(tmp_path, root, content, name="list.txt", **options):
    folder = listed(root)
    found = read_list(write(tmp_path, content, name), folder, **options)
    assert found.index.dtype == np.int64
    return [folder.files[i] for i in found.index], dict(found.lines)


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("2019/anna/1.png", ["2019/anna/1.png"]),
        ("./2019/bob/../anna//1.png", ["2019/anna/1.png"]),
        ("  2019/anna/1.png ", ["2019/anna/1.png"]),
        ("a b.png", ["a b.png"]),
        ("x[1].png", ["x[1].png"]),
        ("2019", ["2019/anna/1.png", "2019/anna/2.png", "2019/bob/1.png"]),
        ("2019/anna/", ["2019/anna/1.png", "2019/anna/2.png"]),
        ("2019/*/1.png", ["2019/anna/1.png", "2019/bob/1.png"]),
        ("20??/anna/[!2].png", ["2019/anna/1.png", "2020/anna/3.png"]),
        ("**/1.png", ["2019/anna/1.png", "2019/bob/1.png"]),
        ("**/anna/**", ["2019/anna/1.png", "2019/anna/2.png", "2020/anna/3.png"]),
        ("a*.png", ["a b.png"]),
        ("new*", ["new\nline.png"]),
        ("#1.png", ["#1.png"]),
        (unicodedata.normalize("NFC", "José.png"), ["José.png"]),
        (unicodedata.normalize("NFD", "José.png"), ["José.png"]),
        (unicodedata.normalize("NFD", "Jos[é].png"), ["José.png"]),
    ],
)
def test_a_line_is_a_path_a_folder_or_a_glob(tmp_path, root, line, files):
    assert taken(tmp_path, root, line) == (files, {line: len(files)})


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_on_the_disk_may_have_either_form(tmp_path, root, form):
    folder = listed(root, [unicodedata.normalize(form, "Zoë/é.png"), "b.png"], {})
    for other in ("NFC", "NFD"):
        path = write(tmp_path, unicodedata.normalize(other, "Zoë/é.png"))
        assert read_list(path, folder).index.tolist() == [0]


def test_a_path_may_be_absolute(tmp_path, root):
    line = str(root / "2019" / "anna")
    assert taken(tmp_path, root, line)[1] == {line: 2}


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_a_path_may_be_absolute_by_another_name_of_the_folder(tmp_path, root):
    (tmp_path / "link").symlink_to(root)
    path = write(tmp_path, str(root / "a b.png"))
    assert read_list(path, listed(tmp_path / "link")).lines == ((str(root / "a b.png"), 1),)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_comments_blank_lines_and_marks_are_ignored(tmp_path, root, mark, end):
    lines = ["a b.png", "", "# a comment", "  # another", "2019/anna", "2019/anna/1.png", "", ""]
    files, counts = taken(tmp_path, root, mark + end.join(lines).encode())
    assert files == ["2019/anna/1.png", "2019/anna/2.png", "a b.png"]
    assert counts == {"a b.png": 1, "2019/anna": 2, "2019/anna/1.png": 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2019/ana/1.png", r"line 2: '2019/ana/1.png' is not in .*; the nearest: 2019/anna/1.png"),
        ("3.png", r"line 2: '3\.png' is not in .*photos; the nearest: 2020/anna/3\.png"),
        ("photos/a b.png", r"'photos/a b\.png' is not in .*; the nearest: a b\.png"),
        ("2019/bo", r"line 2: '2019/bo' is not in .*; the nearest: 2019/bob"),
        ("nothing at all alike", r"line 2: 'nothing at all alike' is not in .*photos$"),
        ("broken.png", r"line 2: 'broken\.png' cannot be used: unreadable"),
        ("2021", r"line 2: '2021' matches no usable image; 2 files left out: 2 \.heic"),
        ("*/*.heic", r"line 2: .* matches no usable image; 2 files left out: 2 \.heic"),
        ("20*", r"line 2: '20\*' matches folders only \(2019, 2020\); add /\* for their images"),
        ("*.jpg", r"line 2: '\*\.jpg' is not in"),
        ("../other/a.png", r"line 2: '\.\./other/a\.png' is outside .*photos"),
        ("/etc/passwd", r"line 2: '/etc/passwd' is outside .*photos"),
    ],
)
def test_a_line_that_takes_nothing_is_an_error_with_the_remedy(tmp_path, root, line, message):
    path = write(tmp_path, f"a b.png\n{line}\n")
    with pytest.raises(ValueError, match=message):
        read_list(path, listed(root))


def test_ten_bad_lines_are_named_and_the_others_counted(tmp_path, root):
    lines = [f"missing {i}" for i in range(12)] + ["a b.png"]
    with pytest.raises(ValueError, match="12 entries take no image; correct or remove:") as caught:
        read_list(write(tmp_path, "\n".join(lines)), listed(root))
    assert str(caught.value).count("\n  line ") == 10
    assert "line 10: 'missing 9'" in str(caught.value)
    assert str(caught.value).endswith("\n  and 2 more")


@pytest.mark.parametrize("content", ["", "\n\n", "# only a comment\n"])
def test_an_empty_list_is_refused(tmp_path, root, content):
    with pytest.raises(ValueError, match=r"list\.txt names no image; write a path a line"):
        read_list(write(tmp_path, content), listed(root))


@pytest.mark.parametrize("content", ["**", ".", "*\n2019\n2020"])
def test_a_list_that_takes_everything_is_refused(tmp_path, root, content):
    with pytest.raises(ValueError, match=r"takes all 9 images of .*nothing would be left"):
        read_list(write(tmp_path, content), listed(root))


def test_a_missing_list_is_named(tmp_path, root):
    with pytest.raises(FileNotFoundError, match=r"no list at .*nowhere\.txt; name a text file"):
        read_list(tmp_path / "nowhere.txt", listed(root))


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.heic"])
def test_an_image_in_place_of_the_list_is_refused(tmp_path, root, name):
    with pytest.raises(ValueError, match=rf"{name} is an image, not a list; name it in a text"):
        read_list(write(tmp_path, b"\x89PNG", name), listed(root))


@pytest.mark.parametrize("name", ["list.txt", "list.csv"])
def test_a_list_that_is_not_utf_8_names_the_line(tmp_path, root, name):
    content = "path\na b.png\nJosé.png\n".encode("latin-1")
    with pytest.raises(ValueError, match=rf"{name}:3: not UTF-8 .*save it as UTF-8"):
        read_list(write(tmp_path, content, name), listed(root))


@pytest.mark.parametrize("column", ["path", "file", "filename", "image"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_csv_file_has_a_column(tmp_path, root, column, separator):
    rows = [["who", column], ["Anna", "2019/anna"], ["?", '"new\nline.png"'], [], ["?", "a b.png"]]
    content = "\ufeff" + "".join(separator.join(row) + "\r\n" for row in rows)
    files, counts = taken(tmp_path, root, content, "list.csv")
    assert files == ["2019/anna/1.png", "2019/anna/2.png", "a b.png", "new\nline.png"]
    assert counts == {"2019/anna": 2, "new\nline.png": 1, "a b.png": 1}


def test_the_column_can_be_named(tmp_path, root):
    content = "path,photo\n2019,a b.png\n"
    assert taken(tmp_path, root, content, "list.csv", column="photo")[0] == ["a b.png"]
    assert taken(tmp_path, root, content, "list.data", column="photo")[0] == ["a b.png"]


@pytest.mark.parametrize(
    ("column", "expected"), [(None, "one of path, file, filename, image"), ("photo", "'photo'")]
)
def test_a_missing_column_names_those_there_are(tmp_path, root, column, expected):
    path = write(tmp_path, "who,where\nAnna,2019\n", "list.csv")
    with pytest.raises(ValueError, match=f"has no column {expected}; it has who, where"):
        read_list(path, listed(root), column=column)


def test_a_bad_row_is_named_by_its_line(tmp_path, root):
    path = write(tmp_path, 'who,path\n"An\nna",2019\nBob,\nCy\nDi,missing\n', "list.csv")
    with pytest.raises(ValueError, match="3 entries take no image") as caught:
        read_list(path, listed(root))
    for place in ("line 4: '' is empty", "line 5: '' is empty", "line 6: 'missing' is not"):
        assert place in str(caught.value)


def noise(seed, size=60):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


@pytest.fixture
def six(root):
    """Six images on the disk; the last has the same bytes as the first."""
    for seed in range(5):
        save(root / f"{seed}.png", noise(seed))
    save(root / "again" / "0.png", noise(0))
    return root


def test_the_contents_of_a_folder_are_found_by_bytes_and_by_pixels(six, tmp_path):
    wanted = tmp_path / "wanted"
    save(wanted / "deep" / "any name.png", noise(0))
    save(wanted / "other.bmp", noise(2))
    (wanted / ".DS_Store").write_bytes(b"x")
    folder = read_folder(six, (50, 50))
    found = read_list(wanted, folder)
    assert [folder.files[i] for i in found.index] == ["0.png", "2.png", "again/0.png"]
    assert found.lines == (("deep/any name.png", 2), ("other.bmp", 1))
    assert not list(Path(os.environ["CURE_CACHE"]).rglob("*wanted*"))


def test_the_contents_of_a_folder_are_aligned_like_the_images(six, tmp_path):
    def corner(rgb):
        return rgb[:30, :30]

    save(tmp_path / "wanted" / "a.bmp", noise(3))
    folder = read_folder(six, (30, 30), align=corner)
    assert read_list(tmp_path / "wanted", folder, align=corner).index.tolist() == [3]


def test_a_subfolder_of_the_images_can_be_the_list(six):
    folder = read_folder(six)
    assert [folder.files[i] for i in read_list(six / "again", folder).index] == [
        "0.png",
        "again/0.png",
    ]


def test_contents_that_are_not_there_are_named(six, tmp_path):
    save(tmp_path / "wanted" / "a.png", noise(0))
    save(tmp_path / "wanted" / "b.png", noise(77))
    save(tmp_path / "wanted" / "c.png", noise(1, 10))
    (tmp_path / "wanted" / "d.txt").write_text("notes")
    with pytest.raises(ValueError, match="3 entries take no image") as caught:
        read_list(tmp_path / "wanted", read_folder(six))
    assert "'b.png' is not in " in str(caught.value)
    assert "'c.png' cannot be used: too small (under 20 pixels a side)" in str(caught.value)
    assert "'d.txt' cannot be used: .txt" in str(caught.value)


def test_the_image_folder_itself_as_the_list_takes_everything(six):
    with pytest.raises(ValueError, match="takes all 6 images"):
        read_list(six, read_folder(six))


def test_an_empty_folder_as_the_list_is_refused(six, tmp_path):
    (tmp_path / "wanted").mkdir()
    with pytest.raises(ValueError, match="wanted names no image"):
        read_list(tmp_path / "wanted", read_folder(six))


def test_an_image_in_both_lists_is_named(root):
    folder = listed(root)
    check_disjoint(np.array([0, 1]), np.array([2, 3]), folder)
    with pytest.raises(ValueError, match=r"1 image is both to forget and to retain: a b\.png; rem"):
        check_disjoint(np.array([0, 6]), np.array([6, 7]), folder)
    with pytest.raises(ValueError, match=r"5 images are .*: #1\.png, .*, 2019/anna/2\.png, \.\.\."):
        check_disjoint(np.arange(5), np.arange(9), folder)
