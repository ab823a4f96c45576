"""Text files that people write, and names as people compare them."""

import re
import unicodedata
from pathlib import Path


def normal_name(name: str) -> str:
    """A name in the form of Unicode (NFC) in which names are compared."""
    return unicodedata.normalize("NFC", name)


def read_text(path: Path) -> str:
    """A UTF-8 file's text, without a byte-order mark.

    Raises ValueError naming the file and the line that is not UTF-8.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}:{line}: not UTF-8 ({error.reason}); save it as UTF-8") from None


def split_lines(text: str) -> list[str]:
    """The lines of a text with any line ends; other than `str.splitlines`, at nothing else."""
    return re.split("\r\n|\r|\n", text)
