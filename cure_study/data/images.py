"""Decoding one image file to RGB."""

import io
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, ImageOps

from cure_study.data.faceset import SHAPE

# Pillow would try every format it knows, one of which starts a program (EPS). HEIF needs the
# plugin pillow-heif, AVIF needs Pillow 11.3.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


class UnusableImageError(ValueError):
    """An image that cannot be used; `reason` says why in a few words, the same for each file."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def read_image(
    source: Path | bytes, resize: bool = False, *, name: str | None = None, bgr: bool = False
) -> np.ndarray:
    """One image as (112, 112, 3) uint8, by `decode_image`, stretched to that size on `resize`.

    `name` is used in error messages; `bgr` reverses the stored channel order.
    Raises ValueError naming the image if it cannot be decoded, or has another size and `resize`
    is off.
    """
    name = name or str(source)

    def check_size(width: int, height: int) -> None:
        if not resize and (width, height) != SHAPE[:2]:
            raise UnusableImageError(
                f"{name} is {width} x {height} pixels, not {SHAPE[0]} x {SHAPE[1]}; "
                "align the faces to the ArcFace template, or set `resize: true` in the manifest",
                "another size",
            )

    rgb = decode_image(source, name, check_size)
    if rgb.size != SHAPE[:2]:
        rgb = rgb.resize(SHAPE[:2], Image.Resampling.BILINEAR)
    pixels = np.asarray(rgb)
    return pixels[:, :, ::-1] if bgr else pixels


def decode_image(
    source: Path | bytes | BinaryIO, name: str, check_size: Callable[[int, int], None]
) -> Image.Image:
    """One image upright (by its EXIF orientation) and in RGB, at its own size.

    The format is recognised by content, not by file name. Grey is repeated to three channels,
    transparency dropped. `check_size` gets width and height before anything is decoded.
    Raises UnusableImageError naming the image if it cannot be decoded completely, has more than
    8 bits per channel or more than one frame, and what `check_size` raises.
    """
    try:
        with open_image(source) as image:
            if _is_deep(image):
                raise UnusableImageError(
                    f"{name} has more than 8 bits a channel; save it with 8",
                    "more than 8 bits a channel",
                )
            if (frames := _count_frames(image)) > 1:
                raise UnusableImageError(
                    f"{name} holds {frames} images; save the one that is meant", "several frames"
                )
            check_size(*image.size)
            return ImageOps.exif_transpose(image).convert("RGB")
    except UnusableImageError:
        raise
    except Exception as error:  # a broken file can make a decoder raise anything
        message = f"cannot read the image {name}: {error}; replace or remove it"
        large = isinstance(error, Image.DecompressionBombError)
        raise UnusableImageError(message, "too large" if large else "unreadable") from error


def open_image(source: Path | bytes | BinaryIO) -> ImageFile.ImageFile:
    """Open, but do not decode, an image in one of `FORMATS`; raises what Pillow raises."""
    known = [name for name in FORMATS if name in _openers()]
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=known)


@cache
def _openers() -> frozenset[str]:
    """The formats that Pillow and its plugins open here."""
    Image.init()
    if reads_heif():
        import_module("pillow_heif").register_heif_opener()
    return frozenset(Image.OPEN)


@cache
def reads_heif() -> bool:
    """Whether pillow-heif is installed."""
    try:
        import_module("pillow_heif")
    except ImportError:
        return False
    return True


def _is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether a channel has more than 8 bits, which Pillow silently truncates in colour images."""
    if image.mode.startswith(("I", "F")):
        return True
    decoder_mode = image.tile[0][3] if image.tile else None
    if image.format == "PNG":
        return str(decoder_mode).endswith(";16B")
    if image.format == "PPM":
        return isinstance(decoder_mode, tuple) and decoder_mode[-1] > 255
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (1,))) > 8  # type: ignore[attr-defined]
    if image.format == "AVIF":  # the flag `high_bitdepth` of the box av1C
        assert image.fp is not None  # open until its pixels are read
        image.fp.seek(0)
        content = image.fp.read()
        return bool(content[content.find(b"av1C") + 6] & 0x40)
    return image.info.get("bit_depth", 8) > 8  # set by pillow-heif


def _count_frames(image: ImageFile.ImageFile) -> int:
    """Images in the file; of a multi-frame JPEG (MPO) only the first counts."""
    return 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)
