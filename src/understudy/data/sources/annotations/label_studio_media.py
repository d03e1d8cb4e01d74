"""How Label Studio names media: what of a task's data is its media, and where that once lay."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from understudy.data.media import MEDIA_SUFFIXES, PICTURE_SUFFIXES
from understudy.errors import UserError


def media_of(file: Path, where: str, data: dict[str, Any], camera: str | None = None) -> str | None:
    """The media that the data of a task names; None where it names none.

    camera: the key that names it. Raises UserError where several keys name a video, or, where none
    does, a picture.
    """
    found: dict[str, str] = {}
    for key, value in data.items():
        if isinstance(value, str) and is_media(value):
            found[key] = _path(value)
    if camera is not None:
        return found.get(camera)
    videos = {key: path for key, path in found.items() if _suffix(path) not in PICTURE_SUFFIXES}
    names = videos or found
    if len(names) > 1:
        raise UserError(
            f"{file}, {where} names several media: {', '.join(sorted(names)[:5])}. Say which are "
            f"labelled: --camera {min(names)}."
        )
    return next(iter(names.values()), None)


def is_media(text: str) -> bool:
    """Whether a text names media."""
    return _suffix(_path(text)) in MEDIA_SUFFIXES


def without_hash(name: str) -> list[str]:
    """What a file was called before it was uploaded: eight digits are put before its name."""
    return [name[9:]] if re.match(r"[0-9a-f]{8}-.", name) else []


def _path(text: str) -> str:
    """The path in what Label Studio writes: of local storage, of an upload, of a bucket."""
    try:
        address = urlsplit(text)
        query = parse_qs(address.query)
    except ValueError:
        return text
    if "d" in query and address.path.rstrip("/").endswith("local-files"):
        return query["d"][0]
    if "fileuri" in query:
        try:
            return base64.b64decode(query["fileuri"][0] + "==").decode()
        except (binascii.Error, UnicodeDecodeError):
            return text
    if address.scheme or text.startswith("/data/"):
        return unquote(address.path)
    return text


def _suffix(path: str) -> str:
    return Path(path).suffix.lower()
