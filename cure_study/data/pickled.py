"""A pickle of bytes, booleans, tuples and lists, read without the power to run anything."""

import io
import pickle
import pickletools
import re
from typing import Any

import numpy as np

# Plain values, lists and tuples, the memo, and what a numpy array is pickled with. No
# dictionaries, persistent ids, extension registry, `__new__` or out-of-band buffers.
_ALLOWED = re.compile(
    "PROTO|FRAME|STOP|MARK|NONE|NEWTRUE|NEWFALSE|INT|BININT[12]?|LONG[14]?"
    "|(SHORT_)?(BINSTRING|BINUNICODE|BINBYTES)|STRING|UNICODE|BINUNICODE8|BINBYTES8"
    "|(EMPTY_)?LIST|APPENDS?|(EMPTY_)?TUPLE|TUPLE[123]"
    "|(LONG_)?BINPUT|PUT|MEMOIZE|(LONG_)?BINGET|GET|(STACK_)?GLOBAL|REDUCE|BUILD"
)
_NAMES = {ord(operation.code): operation.name for operation in pickletools.opcodes}


def read_pickle(content: bytes, name: str) -> Any:
    """The content of a pickle: None, bool, int, bytes, str, tuple, list and `Array`.

    Protocols 0 to 5, of Python 2 and 3. Raises ValueError naming the file, the byte, and the
    operation or global that is refused.
    """
    file = io.BytesIO(content)
    try:
        return _Unpickler(file, len(content)).load()
    except Exception as error:  # a malformed pickle can make the unpickler raise anything
        reason = str(error) or "the file ends too early"
        raise ValueError(
            f"{name}, before byte {file.tell()}: {reason}; expected a list of images and a list of "
            "booleans: the file is damaged, or of another kind"
        ) from error


class Array:
    """Stands for a one-dimensional numpy array: its dtype and its bytes."""

    dtype = np.dtype(np.uint8)
    content = b""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, _, content = state
        if len(shape) != 1 or not isinstance(content, bytes):
            raise ValueError("an array of more than one dimension, or without bytes, is refused")
        if len(content) != int(shape[0]) * kind.dtype.itemsize:
            raise ValueError(f"an array of {int(shape[0])} items holds {len(content):,} bytes")
        self.dtype, self.content = kind.dtype, content


class _DType:
    """Stands for numpy's boolean and integer dtypes, in little-endian order."""

    def __init__(self, code: Any, align: Any, copy: Any) -> None:
        code = _text(code)
        if not re.fullmatch(r"[<|]?(b1|[iu][1248])", code):
            kind = "object dtype" if code.startswith(("O", "|O")) else f"dtype {code[:20]!r}"
            raise ValueError(f"an array of {kind} is refused")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        _, order, *fields = state
        if _text(order) not in ("|", "<") or fields[:3] != [None] * 3:
            raise ValueError("a dtype of another byte order, or with fields, is refused")


class _Dispatch(dict):
    """The allowed operations, by code."""

    def __missing__(self, code: int) -> Any:
        raise ValueError(f"{_NAMES.get(code, f'code {code}')}: the operation is refused")


class _Unpickler(pickle._Unpickler):
    """Python's unpickler with an allow-list of operations and globals.

    The one written in Python: its memo is a dictionary, where the one in C allocates as many
    entries as a file asks for.
    """

    dispatch = _Dispatch(
        {
            code: function
            for code, function in pickle._Unpickler.dispatch.items()
            if _ALLOWED.fullmatch(_NAMES[code])
        }
    )
    # A frame's length is read and not used, so that the file's position stays exact.
    dispatch[pickle.FRAME[0]] = lambda self: self.read(8)

    def __init__(self, file: io.BytesIO, size: int) -> None:
        super().__init__(file, encoding="bytes")
        self.encodable = size  # characters that may still be turned into bytes

    def find_class(self, module: str, name: str) -> Any:
        """One of the five globals that such files need; none of them is numpy's."""
        match module, name:
            case "numpy", "ndarray":
                return Array
            case "numpy", "dtype":
                return _DType
            case (("numpy.core.multiarray" | "numpy._core.multiarray"), "_reconstruct"):
                return _reconstruct
            case (("numpy.core.multiarray" | "numpy._core.multiarray"), "scalar"):
                return _scalar
            case "_codecs", "encode":
                return self.encode
        raise ValueError(f"the global '{module[:80]}.{name[:80]}' is refused")

    def encode(self, text: str, encoding: str) -> bytes:
        """Bytes, which protocols 0 to 2 store as text: no more in total than the file holds."""
        self.encodable -= len(text)
        if encoding != "latin1" or self.encodable < 0:
            raise ValueError("only the file's own text in latin1 is turned into bytes")
        return text.encode("latin-1")


def _reconstruct(kind: Any, shape: Any, code: Any) -> Array:
    if kind is not Array or shape != (0,) or _text(code) != "b":
        raise ValueError("an array that numpy did not pickle is refused")
    return Array()


def _scalar(kind: Any, content: Any) -> bool | int:
    return np.frombuffer(content, kind.dtype).item()


def _text(value: Any) -> str:
    """Text from either version of Python; no other value, whose `str` may be far larger."""
    if not isinstance(value, bytes | str):
        raise ValueError(f"expected text, got {type(value).__name__}")
    return value.decode("ascii") if isinstance(value, bytes) else value
