"""The digests of a result's files."""

from pathlib import Path

from cure_core.files import atomic_path, file_sha256
from cure_study.erasure.report import FileDigest

SUMS = "SHA256SUMS"


def digests(folder: Path) -> list[FileDigest]:
    """Every file of a result but the report, which names them, and the notebook, still running."""
    return [
        file_digest(path, path.name)
        for path in _files(folder)
        if path.suffix != ".ipynb" and path.stem != "report"
    ]


def file_digest(path: Path, name: str) -> FileDigest:
    """The digest of a file, by the name that the report gives it."""
    return FileDigest(path=name, sha256=file_sha256(path), bytes=path.stat().st_size)


def write_sums(folder: Path) -> None:
    """`SHA256SUMS` over every file of the folder, as `sha256sum --check` reads it."""
    lines = [f"{file_sha256(path)}  {path.name}\n" for path in _files(folder)]
    with atomic_path(folder / SUMS) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _files(folder: Path) -> list[Path]:
    """The files of a result, in order, without hidden ones and the digests themselves."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and path.name[0] != "." and path.name != SUMS
    )
