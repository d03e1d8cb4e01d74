"""Still pictures of every mode to 8-bit RGB, by Pillow."""

from __future__ import annotations

import io
import mmap
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from understudy.data.media import TOO_MANY, DecodeError, MediaInfo, check_size, faults_of, open_file


def is_picture(head: bytes) -> bool:
    """Whether a file that begins with these 32 bytes is a still picture, whatever its name says.

    An animated GIF is a video here, and so is every GIF.
    """
    if head[4:8] == b"ftyp":
        return head[8:12] in _HEIF | {b"avif"}
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    starts = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"II*\0", b"MM\0*")
    return head.startswith(starts) or (head[:2] in {b"P5", b"P6"} and head[2:3].isspace())


def row_of_jpegs(path: Path) -> bool:
    """Whether a file is a JPEG and right behind it another of its size: a raw MJPEG, so a video.

    What cameras put behind a picture has another size, as previews and depth have, or is announced
    in it: the second view of an MPO.
    """
    with open_file(path) as file:
        if file.read(3) != b"\xff\xd8\xff":
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            seam = re.search(rb"\xff\xd9\0*(?=\xff\xd8\xff)", content)
            if seam is None or content.find(b"MPF\0", 0, seam.start()) >= 0:
                return False
            starts = (content[:_JPEG_HEAD], content[seam.end() : seam.end() + _JPEG_HEAD])
    try:
        first, second = (Image.open(io.BytesIO(start), formats=("JPEG",)).size for start in starts)
    except Exception:  # whatever Pillow raises: the reader of pictures will say what is wrong
        return False
    return first == second


_JPEG_HEAD = 2**20
"""Bytes that are enough to read the size of a JPEG, colour profile and preview included."""


def probe_picture(path: Path) -> MediaInfo:
    """The size of a picture as it is shown. Raises DecodeError."""
    with _open(path) as image:
        width, height = image.size
        if image.getexif().get(0x0112, 1) >= 5:  # orientations 5 to 8 lie on their side
            width, height = height, width
    return MediaInfo("picture", 0.0, 0.0, 1, width, height)


def read_picture(path: Path) -> Tensor:
    """A picture as (3, H, W) uint8 RGB, turned as its EXIF orientation says.

    16-bit values are scaled to 8 bits, transparency is put on white, palettes and CMYK are
    converted. Raises DecodeError for damaged pictures, float and 32-bit ones (they have no defined
    range), animations other than GIF, and pictures too large to be meant.
    """
    with _open(path) as image:
        if getattr(image, "is_animated", False) and image.format in {"PNG", "WEBP"}:
            raise DecodeError(path, f"an animated {image.format}; convert it to a video")
        with faults_of(path, "damaged picture"):
            image.load()
            rgb = _to_rgb(path, ImageOps.exif_transpose(image))
            return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous()


@contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    """A picture whose header was read, and is no larger than may be."""
    with open_file(path) as file, faults_of(path, "no readable picture"):
        formats = _formats(file.read(12))
        with warnings.catch_warnings():
            # The size is tested here, and so are those that Pillow only warns of.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            try:
                image = Image.open(file, formats=formats)
            except Image.DecompressionBombError as error:
                raise DecodeError(path, TOO_MANY) from error
            except UnidentifiedImageError as error:  # which names an object, not the file
                raise DecodeError(path, "no readable picture: of no known kind") from error
        with image:
            check_size(path, *image.size)
            yield image


_HEIF = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"})


def _formats(head: bytes) -> tuple[str, ...]:
    """What Pillow may take a file for; others of its formats open further files or start programs.

    HEIC is taught to it only when one comes along: the plugin takes a while to load.
    """
    if head[8:] not in _HEIF:
        return ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM", "AVIF")
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return ("HEIF",)


def _to_rgb(path: Path, image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise DecodeError(path, "a 32-bit picture, whose range is not defined")
        # Pillow's own conversion clips at 255 and leaves a white picture.
        scaled = (values.astype(np.uint32) * 255 + 32767) // 65535
        image = Image.fromarray(scaled.astype(np.uint8))
    elif image.mode == "F":
        raise DecodeError(path, "a float picture, whose range is not defined")
    if image.has_transparency_data:
        on_white = Image.new("RGBA", image.size, "white")
        on_white.alpha_composite(image.convert("RGBA"))
        image = on_white
    return image.convert("RGB")
