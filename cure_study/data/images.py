"""Decoding one image file to 112 x 112 RGB."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

from cure_study.data.faceset import SHAPE

# Pillow would try every format it knows, one of which starts a program (EPS). HEIF needs a plugin
# such as pillow-heif, AVIF needs Pillow 11.3.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def read_image(
    source: Path | bytes, resize: bool = False, *, name: str | None = None, bgr: bool = False
) -> np.ndarray:
    """One image as (112, 112, 3) uint8; grey is repeated to three channels, transparency dropped.

    The format is recognised by content, not by file name. `name` is used in error messages;
    `bgr` reverses the stored channel order.
    Raises ValueError naming the image if it cannot be decoded completely, has more than 8 bits per
    channel or more than one frame, or has another size and `resize` is off.
    """
    name = name or str(source)
    rgb = None
    try:
        with open_image(source) as image:
            size, deep, frames = image.size, _is_deep(image), _count_frames(image)
            if (resize or size == SHAPE[:2]) and not deep and frames == 1:
                rgb = ImageOps.exif_transpose(image).convert("RGB")
    except Exception as error:  # a broken file can make a decoder raise anything
        raise ValueError(f"cannot read the image {name}: {error}; replace or remove it") from error
    if deep:
        raise ValueError(f"{name} has more than 8 bits a channel; save it with 8")
    if frames > 1:
        raise ValueError(f"{name} holds {frames} images; save the one that is meant")
    if rgb is None:
        raise ValueError(
            f"{name} is {size[0]} x {size[1]} pixels, not {SHAPE[0]} x {SHAPE[1]}; "
            "align the faces to the ArcFace template, or set `resize: true` in the manifest"
        )
    if rgb.size != SHAPE[:2]:
        rgb = rgb.resize(SHAPE[:2], Image.Resampling.BILINEAR)
    pixels = np.asarray(rgb)
    return pixels[:, :, ::-1] if bgr else pixels


def open_image(source: Path | bytes) -> ImageFile.ImageFile:
    """Open, but do not decode, an image in one of `FORMATS`; raises what Pillow raises."""
    Image.init()
    known = [name for name in FORMATS if name in Image.OPEN]
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=known)


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
