"""Verification pairs in `.bin` files: every manner of pickling them, and none of running code."""

import pickle
import re
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packs import MANNERS, encoded, naming, pickled, torn, write_bin

from cure_study.data import read_pairs
from cure_study.data.pickled import Array, read_pickle
from cure_study.paths import data_root

SAMPLE = data_root() / "data" / "insightface_sample"
SAME = [True, False, True]
IMAGES = [np.full((112, 112, 3), 40 * i, np.uint8) for i in range(6)]
BYTES = [encoded(image) for image in IMAGES]


@pytest.mark.parametrize("manner", MANNERS)
def test_pairs_come_back_however_they_were_pickled(tmp_path, manner):
    images, genuine = read_pairs(write_bin(tmp_path / "pairs.bin", BYTES, SAME, manner))
    assert images.dtype == np.uint8
    assert (images == np.stack(IMAGES)).all()
    assert genuine.dtype == bool
    assert genuine.tolist() == SAME


def test_the_writers_of_python_2_say_what_python_reads():
    """Python's own unpickler has the last word on what those bytes mean."""
    for manner in ("python2", "python2-text"):
        read = pickle.loads(pickled(BYTES, SAME, manner), encoding="bytes")
        assert read == (BYTES, SAME)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="no insightface_sample under CURE_DATA_ROOT")
def test_the_same_pairs_pickled_by_either_python():
    two, three = (read_pairs(SAMPLE / f"sample_py{version}.bin") for version in (2, 3))
    assert two[0].shape == (40, 112, 112, 3)
    assert (two[0] == three[0]).all()
    assert two[1].tolist() == three[1].tolist() == [True] * 10 + [False] * 10


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.text(max_size=9),
        st.binary(min_size=1, max_size=9),
    ),
    lambda inner: st.one_of(st.lists(inner), st.lists(inner).map(tuple)),
    max_leaves=8,
)


@given(VALUES, st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_plain_values_are_read_as_python_reads_them(value, protocol):
    assert read_pickle(pickle.dumps(value, protocol), "custom") == value


@pytest.mark.parametrize("protocol", range(5))
def test_numpy_is_read_without_numpys_code(protocol):
    array = np.arange(200, dtype=np.uint8)
    written = pickle.dumps([array, array, np.int64(-5), np.bool_(True)], protocol)
    first, second, number, truth = read_pickle(written, "custom")
    assert isinstance(first, Array)
    assert first is second
    assert first.content == array.tobytes()
    assert (number, truth) == (-5, True)


class Call:
    """What unpickles to a call of `function`."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


def forms_of_calling(marker):
    """Ways in which a pickle would make the file `marker` if someone let it."""
    path = str(marker).encode()
    yield from (pickle.dumps(Call(open, str(marker), "w"), protocol) for protocol in range(6))
    yield pickle.dumps((BYTES[:2], [Call(open, str(marker), "w")]), 4)
    yield b"(S'" + path + b"'\nS'w'\nibuiltins\nopen\n."  # INST
    yield b"(cbuiltins\nopen\nS'" + path + b"'\nS'w'\no."  # OBJ
    yield b"\x80\x02cbuiltins\nopen\nS'" + path + b"'\nS'w'\n\x86\x81."  # NEWOBJ
    yield b"\x80\x04\x8c\x02os\x8c\x0dpath.__dict__\x93."  # a dotted name
    yield b"c__main__\n__builtins__\n."
    yield b"cnumpy.core.multiarray\nfromfile\n."
    yield b"cnumpy\nload\n."
    yield b"c_codecs\ndecode\n."
    yield b"\x82\x01."  # EXT1, the extension registry
    yield b"P1\n."  # a persistent id


@pytest.mark.parametrize("form", range(17))
def test_nothing_is_run(tmp_path, form):
    marker, path = tmp_path / "code-was-run", tmp_path / "pairs.bin"
    path.write_bytes(list(forms_of_calling(marker))[form])
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}, before byte \d+: .*refused"):
        read_pairs(path)
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.bin"]


def test_every_form_of_calling_is_tried(tmp_path):
    assert len(list(forms_of_calling(tmp_path / "none"))) == 17


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(np.array([{}], object), 2), "an array of object dtype is refused"),
        (pickle.dumps(np.zeros(2, "U3"), 2), "an array of dtype 'U3' is refused"),
        (pickle.dumps(np.zeros((2, 2), np.uint8), 2), "more than one dimension"),
        (pickle.dumps(np.zeros(2, ">i4"), 2), "another byte order"),
        (pickle.dumps(np.zeros(2, [("a", "u1")]), 2), "dtype 'V1'"),
        (pickle.dumps(np.zeros(9, np.uint8), 2).replace(b"K\x09", b"K\x08"), "of 8 items holds 9"),
        (pickle.dumps(np.zeros(2), 2), "dtype 'f8'"),
        (pickle.dumps({}, 4), "EMPTY_DICT: the operation is refused"),
        (pickle.dumps(1.5, 4), "BINFLOAT: the operation is refused"),
        (b"\x80\x02cnumpy\nndarray\n}b.", "EMPTY_DICT"),
        (b"\x80\x02cnumpy\nndarray\nNb.", "missing 1 required positional argument: 'state'"),
        (b"\x80\x02cnumpy\nndarray\n)RNb.", "NoneType"),
        (b"\x80\x02c_codecs\nencode\nX\x01\0\0\0aX\x05\0\0\0utf-8\x86R.", "in latin1"),
        (b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nN)N\x87R.", "numpy did not pickle"),
        (b"\x80\x02NNR.", "NoneType"),
        (b"\x80\x02r\xff\xff\xff\x7f.", "list index out of range"),
        (b"\x80\x02T\xff\xff\xff\x7fabc.", "the file ends too early"),
        (b"\x80\x04\x8e" + b"\xff" * 8 + b"abc", "exceeds system's maximum size"),
        (b"\x80\x04\x96" + b"\xff" * 7 + b"\0abc", "BYTEARRAY8: the operation is refused"),
        (b"\x80\x02h\x05.", "Memo value not found at index 5"),
        (b"I" + b"9" * 5000 + b"\n.", "Exceeds the limit"),
        (b"", "the file ends too early"),
        (b"\x80\x02]", "the file ends too early"),
        (b"\x80\x02]]e.", "pop from empty list"),
        (b"\x80\x02.", "pop from empty list"),
        (b"\xffnot a pickle", "code 255: the operation is refused"),
    ],
)
def test_other_content_is_refused_with_its_place(tmp_path, content, message):
    path = tmp_path / "pairs.bin"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"(?s){re.escape(str(path))}, before byte \d+: .*{message}"
    ):
        read_pairs(path)


def test_no_size_in_a_file_is_trusted():
    """For a huge memo index, the unpickler in C allocates as much memory at once."""
    assert read_pickle(b"\x80\x02Nr\xff\xff\xff\x7f]j\xff\xff\xff\x7fa.", "custom") == [None]
    assert read_pickle(b"\x80\x04\x95" + b"\xff" * 8 + b"K\x07.", "custom") == 7  # a frame


def test_a_text_is_not_turned_into_bytes_over_and_over():
    """Each of these calls has 4 bytes and would copy 9,000: a file of 100 MB, 200 GB of memory."""
    text = b"X" + struct.pack("<I", 9000) + b"a" * 9000
    encode = b"\x80\x02c_codecs\nencode\nq\0" + text + b"X\x06\0\0\0latin1\x86q\x01"
    assert read_pickle(encode + b"R.", "custom") == b"a" * 9000
    with pytest.raises(ValueError, match="only the file's own text"):
        read_pickle(encode + b"h\0h\x01R" * 9 + b".", "custom")


def doubled(times):
    """A list in a list, twice at each level: short as a pickle, endless as text."""
    value = []
    for _ in range(times):
        value = [value, value]
    return pickle.dumps(value, 2)[2:-1]


@pytest.mark.parametrize(
    "written",
    [
        b"cnumpy\ndtype\n" + doubled(60) + b"K\0K\1\x87R",
        b"cnumpy\nndarray\n)R(K\1" + doubled(60) + b"NNNtb",
        b"cnumpy\nndarray\n)R(K\1(" + doubled(60) + b"tNNC\1atb",
    ],
)
def test_no_error_shows_an_endless_value(written):
    with pytest.raises(ValueError, match="custom, before byte"):
        read_pickle(b"\x80\x02" + written + b".", "custom")


def test_a_deep_nest_does_no_harm(tmp_path):
    path = tmp_path / "pairs.bin"
    path.write_bytes(b"\x80\x02)" + b"\x85" * 20_000 + b".")
    with pytest.raises(ValueError, match=r"pairs\.bin holds tuple of 1; expected"):
        read_pairs(path)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ([1, 2, 3], "holds list of 3; expected"),
        ((BYTES[:2], "yes"), "its booleans are str of 3; expected a list"),
        ((BYTES[:3], [True]), "holds 3 images and 1 answers"),
        (([], []), "holds 0 images and 0 answers"),
        ((BYTES[:2], [2]), "the answer 0 is int"),
        ((BYTES[:2], [None]), "the answer 0 is NoneType"),
        ((["a", "b"], [True]), "image 0 is str of 1"),
        (
            ([BYTES[0], BYTES[1][:-40]], [True]),
            r"byte \d+: cannot read the image 1 of .*pairs\.bin",
        ),
        (([BYTES[0], b"%!PS-Adobe"], [True]), r"byte \d+: cannot read the image 1 of"),
        (
            ([BYTES[0], encoded(np.zeros((96, 112, 3), np.uint8))], [True]),
            r"byte \d+: 1 of .*pairs\.bin is 112 x 96 pixels, not 112 x 112",
        ),
    ],
)
def test_other_content_is_reported(tmp_path, held, message):
    path = tmp_path / "pairs.bin"
    path.write_bytes(pickle.dumps(held, 4))
    with pytest.raises(ValueError, match=message):
        read_pairs(path)


def test_the_byte_of_a_bad_image_is_where_it_begins(tmp_path):
    path = write_bin(tmp_path / "pairs.bin", [BYTES[0], b"no image at all"], [True])
    with pytest.raises(ValueError, match=f"byte {path.read_bytes().index(b'no image')}: "):
        read_pairs(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.bin"):
        read_pairs(tmp_path / "absent.bin")
    with pytest.raises(FileNotFoundError, match=r"no file .*test_a_missing"):
        read_pairs(tmp_path)


@pytest.mark.parametrize(
    ("images", "same", "message"),
    [
        ([0, 1, 2, 2], [True, False], "pair 1 calls an image an impostor of itself"),
        ([0, 1, 2, 3, 1, 0], [True, True, False], "pairs 0 and 2 are of the same two images"),
        ([0, 1, 0, 1], [False, True], "pairs 0 and 1 are of the same two images"),
    ],
)
def test_answers_that_contradict_each_other_are_refused(tmp_path, images, same, message):
    path = write_bin(tmp_path / "pairs.bin", [BYTES[i] for i in images], same)
    with pytest.raises(ValueError, match=rf"pairs\.bin: {message}"):
        read_pairs(path)
    agreeing = [same[0]] * len(same)
    if images != [0, 1, 2, 2]:
        write_bin(path, [BYTES[i] for i in images], agreeing)
        assert read_pairs(path)[1].tolist() == agreeing


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_torn_pairs_give_images_or_a_value_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("torn") / "pairs.bin"
    content = pickled(BYTES[:4], SAME[:2], data.draw(st.sampled_from(MANNERS)))
    for _ in range(data.draw(st.integers(1, 3))):
        content = torn(data.draw, content)
    path.write_bytes(content)
    try:
        with naming(path):
            images, genuine = read_pairs(path)
    except ValueError:
        pass
    else:
        assert images.shape == (2 * len(genuine), 112, 112, 3)
    assert list(path.parent.iterdir()) == [path]


OPERATIONS = st.sampled_from([bytes([code]) for code in range(256)])
PIECES = st.one_of(
    OPERATIONS,
    st.sampled_from(
        [
            *(b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"c_codecs\nencode\n", b"Vlatin1\n"),
            *(b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy.core.multiarray\nscalar\n"),
            *(
                b"(",
                b"t",
                b"]",
                b")",
                b"R",
                b"b",
                b"N",
                b"K\x01",
                b"Vb\n",
                b"Vu1\n",
                b"q\0",
                b"h\0",
            ),
        ]
    ),
    st.integers(0, 2**32 - 1).map(lambda n: b"r" + struct.pack("<I", n)),
    st.binary(max_size=4),
)


@given(st.lists(PIECES, max_size=40).map(b"".join))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_read_or_refused(content):
    try:
        read_pickle(content + b".", "custom")
    except ValueError as error:
        if not str(error).startswith("custom, before byte "):
            raise AssertionError(f"{error!r} does not say where") from error
