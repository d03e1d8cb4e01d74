"""Pictures that a data set keeps inside of its tables, as files that a clip can name."""

from __future__ import annotations

from pathlib import Path

from understudy.data.whole_files import whole_file
from understudy.errors import UserError

_SIGNATURES = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG\r\n\x1a\n": ".png",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"\x1aE\xdf\xa3": ".webm",
}


def suffix_of(content: bytes) -> str | None:
    """The suffix of a picture or video by its first bytes, None where it is neither."""
    for signature, suffix in _SIGNATURES.items():
        if content.startswith(signature):
            return suffix
    if content[:4] == b"RIFF":
        return {b"WEBP": ".webp", b"AVI ": ".avi"}.get(content[8:12])
    if content[4:8] == b"ftyp":
        brand = content[8:12]
        return ".avif" if brand == b"avif" else ".heic" if brand in _HEIC else ".mp4"
    return None


_HEIC = (b"heic", b"heix", b"mif1", b"msf1")


def write_once(path: Path, content: bytes) -> None:
    """The file with this content: written whole, or found as an earlier reading left it.

    Raises UserError where something else bears its name: nothing is replaced.
    """
    if not path.exists():
        with whole_file(path) as partial:
            partial.write_bytes(content)
    elif path.is_dir() or path.stat().st_size != len(content) or path.read_bytes() != content:
        raise UserError(
            f"{path} is there with another content, and nothing is replaced. Name a new folder "
            "for the pictures, or the one in which these were begun."
        )
