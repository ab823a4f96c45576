"""A pickle of bytes, booleans, tuples and lists, read without the power to run anything.

Python's own unpickler calls whatever a file names, and trusts its sizes. This one knows the few
operations that the field's `.bin` files are written with; a global is a name to look up in a table
of five, and calls nothing outside this file. Protocols 0 to 5, of Python 2 and 3.
"""

import io
import pickletools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

_OPERATIONS = {op.code.encode("latin-1"): op for op in pickletools.opcodes}
_QUOTED = re.compile(rb"""(['"])((?:[^\\\n]|\\[\\'"nrt]|\\x[0-9a-f]{2})*)\1\n""")  # Python 2's repr
_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"}
_TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_STRINGS = {"BINSTRING", "SHORT_BINSTRING"}  # Python 2's str
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}


class Array:
    """What stands for a numpy array: its type and its bytes, in no array."""

    dtype: np.dtype | None = None
    content: bytes = b""


class Type:
    """What stands for a numpy type: plain booleans or whole numbers, nothing else."""

    def __init__(self, code: Any) -> None:
        code = _text(code)
        if not re.fullmatch(r"[<|]?(b1|[iu][1248])", code):
            kind = "object dtype" if code.startswith(("O", "|O")) else f"dtype {code[:20]!r}"
            raise ValueError(f"an array of {kind} is refused")
        self.dtype = np.dtype(code)


def read_pickle(content: bytes, name: str) -> Any:
    """What a pickle holds, of None, bool, int, bytes, str, tuple, list and `Array` (by its bytes).

    Raises ValueError naming the file, the byte and the operation or global that is refused.
    """
    file, stack, memo = io.BytesIO(content), [], {}  # type: ignore[var-annotated]
    while True:
        at, code = file.tell(), file.read(1)
        operation = _OPERATIONS.get(code)
        try:
            if operation is None:
                raise ValueError("the file ends too early" if not code else f"{code!r} is no code")
            if operation.name == "STOP":
                (result,) = stack
                return result
            argument = _argument(operation, file)
            _step(operation.name, argument, stack, memo)
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            what = operation.name if operation else "nothing"
            raise ValueError(
                f"{name}, byte {at}: {what}: {error}; this is no list of images and of booleans as "
                "the field's .bin files hold, or it is damaged: fetch it again"
            ) from error


def _argument(operation: pickletools.OpcodeInfo, file: io.BytesIO) -> Any:
    if operation.name == "STRING":  # pickletools reads it as ASCII, which an image is not
        quoted = _QUOTED.fullmatch(file.readline())
        if quoted is None:
            raise ValueError("this is not how Python 2 writes a string")
        return quoted[2].decode("unicode_escape").encode("latin-1")
    return operation.arg.reader(file) if operation.arg else None


def _step(name: str, argument: Any, stack: list, memo: dict) -> None:
    if name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
    elif name in _NUMBERS or name in _TEXTS or name in _BYTES or name == "STRING":
        stack.append(argument)
    elif name in _STRINGS:
        stack.append(argument.encode("latin-1"))
    elif name == "MARK":
        stack.append(_MARK)
    elif name == "EMPTY_LIST":
        stack.append([])
    elif name in ("LIST", "TUPLE"):
        items = _since_mark(stack)
        stack.append(items if name == "LIST" else tuple(items))
    elif name in _TUPLES:
        items = [_pop(stack) for _ in range(_TUPLES[name])]
        stack.append(tuple(reversed(items)))
    elif name in ("APPEND", "APPENDS"):
        items = [_pop(stack)] if name == "APPEND" else _since_mark(stack)
        if not stack or not isinstance(stack[-1], list):
            raise ValueError("an item without a list")
        stack[-1].extend(items)
    elif name in _PUTS or name == "MEMOIZE":
        memo[len(memo) if name == "MEMOIZE" else argument] = _top(stack)
    elif name in _GETS:
        stack.append(memo[argument])
    elif name in ("GLOBAL", "STACK_GLOBAL"):
        if name == "STACK_GLOBAL":
            argument = " ".join(reversed([_text(_pop(stack)) for _ in range(2)]))
        if argument not in _GLOBALS:
            raise ValueError(f"the global {argument[:80].replace(' ', '.')!r} is refused")
        stack.append(_GLOBALS[argument])
    elif name == "REDUCE":
        arguments, call = _pop(stack), _pop(stack)
        if call not in _CALLS:
            raise ValueError("a call of what is no function")
        stack.append(call(*arguments))
    elif name == "BUILD":
        state = _pop(stack)
        _build(_top(stack), state)
    elif name not in ("PROTO", "FRAME"):  # what these say is not needed
        raise ValueError("the operation is refused")


def _top(stack: list) -> Any:
    if not stack or stack[-1] is _MARK:
        raise ValueError("there is nothing to work on")
    return stack[-1]


def _pop(stack: list) -> Any:
    item = _top(stack)
    stack.pop()
    return item


def _since_mark(stack: list) -> list:
    items = []
    while stack[-1] is not _MARK:
        items.append(stack.pop())
    stack.pop()
    return items[::-1]


def _text(value: Any) -> str:
    """Text as Python 3 has it, from what either Python wrote."""
    if isinstance(value, bytes):
        return value.decode("ascii")
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {type(value).__name__}")
    return value


def _encode(text: Any, encoding: Any) -> bytes:
    if encoding != "latin1" or not isinstance(text, str):
        raise ValueError("only text in latin1 is turned into bytes")
    return text.encode("latin-1")


def _new_array(kind: Any, shape: Any, code: Any) -> Array:
    if kind is not Array or shape != (0,) or _text(code) != "b":
        raise ValueError("an array is begun in another manner than numpy's")
    return Array()


def _new_type(code: Any, align: Any, copy: Any) -> Type:
    return Type(code)


def _scalar(kind: Any, content: Any) -> bool | int:
    if not isinstance(kind, Type) or not isinstance(content, bytes):
        raise ValueError("a numpy scalar without type or bytes")
    return np.frombuffer(content, kind.dtype).item()


def _build(target: Any, state: Any) -> None:
    """Give an array or a type the rest of what it is: numpy's `__setstate__`, checked first."""
    if isinstance(target, Array):
        _, shape, kind, _, content = state
        if not isinstance(kind, Type) or not isinstance(content, bytes) or len(shape) != 1:
            raise ValueError("an array of more than one dimension, or without plain bytes")
        if len(content) != shape[0] * kind.dtype.itemsize:
            raise ValueError(f"an array of shape {shape} holds {len(content):,} bytes")
        target.dtype, target.content = kind.dtype, content
    elif isinstance(target, Type):
        _, order, *rest = state
        if _text(order) not in ("|", "<") or rest[:3] != [None] * 3:
            raise ValueError("a type of another byte order, or with fields")
    else:
        raise ValueError("there is no array or type to build")


_CALLS: tuple[Callable, ...] = (_encode, _new_array, _new_type, _scalar)
_GLOBALS: dict[str, Callable] = {"_codecs encode": _encode, "numpy ndarray": Array}
_GLOBALS["numpy dtype"] = _new_type
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _GLOBALS[f"{_module} _reconstruct"] = _new_array
    _GLOBALS[f"{_module} scalar"] = _scalar
