"""Where the media lie that an annotation file names: below one folder, and nowhere else.

Tools name media as they saw them: by the address of a server, by a path on the annotator's machine,
with something put before the name. So a file is looked for by its name, below the folder that the
user gives, and the more of its path is the same, the better.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from understudy.data.hidden import is_hidden
from understudy.data.media import MEDIA_SUFFIXES, PICTURE_SUFFIXES
from understudy.data.sources.folder import identity_of, is_media
from understudy.errors import UserError


class MediaFolder:
    """All media below a folder, by name.

    also: other names under which a file may lie. whole: a reference is a path below this folder or
    one in it, and all of it must be there. frames: folders of pictures are media, and nothing else.
    """

    def __init__(
        self,
        folder: Path,
        also: Callable[[str], Sequence[str]] = lambda name: (),
        *,
        whole: bool = False,
        frames: bool = False,
    ) -> None:
        self.folder = Path(folder).absolute()
        if not os.path.isdir(self.folder):
            raise UserError(f"There is no folder {folder} of media.")
        self._also, self._whole = also, whole
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for place, names in _walk(self.folder):
            media = [place / name for name in names if is_media(place / name)]
            if frames:
                pictures = any(one.suffix.lower() in PICTURE_SUFFIXES for one in media)
                media = [place] if pictures and place != self.folder else []
            for one in media:
                path = one.relative_to(self.folder).as_posix()
                self._by_name.setdefault(_plain(one.name), []).append(path)
                self._by_stem.setdefault(_plain(one.stem), []).append(path)

    def __len__(self) -> int:
        return sum(map(len, self._by_name.values()))

    def videos(self) -> list[str]:
        """All that are no pictures."""
        some = (path for paths in self._by_name.values() for path in paths)
        return sorted(one for one in some if Path(one).suffix.lower() not in PICTURE_SUFFIXES)

    def unused(self, used: set[str]) -> list[str]:
        """The media that nothing names."""
        return sorted(path for some in self._by_name.values() for path in some if path not in used)

    def find(self, reference: str) -> str | None:
        """The path below the folder of what a tool calls `reference`, or None.

        Raises UserError for a reference that leads out of the folder, and for one that several
        files fit equally.
        """
        parts = parts_of(reference)
        if not parts:
            return None
        for name in (parts[-1], *self._also(parts[-1])):
            has_suffix = Path(name).suffix.lower() in MEDIA_SUFFIXES
            found = self._by_name.get(name, [])
            if not found and not has_suffix:
                found = self._by_stem.get(name, [])
            wanted = [*parts[:-1], name]
            alike = [_alike(wanted, _plain(path).split("/"), has_suffix) for path in found]
            if self._whole and max(alike, default=0) < len(wanted):
                continue
            best = [p for p, one in zip(found, alike, strict=True) if one == max(alike)]
            found = [path for path in best if path.count("/") == len(wanted) - 1] or best
            if len(found) > 1:
                raise UserError(
                    f"{reference} may be {' or '.join(found[:3])} below {self.folder}. Give the "
                    "folder of one of them: --media FOLDER."
                )
            if found:
                return found[0]
        return None


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Every folder with its files, hidden ones left out; one that links lead back to comes once."""
    seen: set[tuple[int, int]] = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        place = Path(here)
        known = identity_of(place)
        if known in seen:
            folders.clear()
            continue
        seen.add(known)
        folders[:] = sorted(one for one in folders if not is_hidden(one))
        yield place, sorted(files)


def parts_of(reference: str) -> list[str]:
    """The folders and the name in a path or an address, as plain text.

    Raises UserError for one that leads upwards.
    """
    text = _plain(reference.strip()).replace("\\", "/")
    try:
        address = urlsplit(text)
    except ValueError:
        address = urlsplit("")
    if len(address.scheme) > 1:  # one letter is a drive of Windows
        text = unquote(address.path)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in text:
        raise UserError(
            f"{reference!r} names a file outside of its folder. Media are looked for by their "
            "names below one folder: write the name alone, and give --media FOLDER."
        )
    return parts


def _plain(text: str) -> str:
    """One spelling of the letters that have two; systems differ."""
    return unicodedata.normalize("NFC", text)


def _alike(wanted: list[str], found: list[str], has_suffix: bool) -> int:
    """How many parts are the same, counted from the name backwards."""
    if not has_suffix and wanted[-1] != found[-1]:
        found = [*found[:-1], Path(found[-1]).stem]
    same = 0
    for a, b in zip(reversed(wanted), reversed(found), strict=False):
        if a != b:
            break
        same += 1
    return same
