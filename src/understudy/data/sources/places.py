"""Which file the path of a table means, however it is spelt.

One file has one spelling in a manifest, or it would stand in it twice, on both sides of a split
perhaps. Text is mended by whole columns; the disk is asked about names alone that need it.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from understudy.data.columns import TEXT, as_text, pc
from understudy.data.hidden import is_hidden
from understudy.data.media import MEDIA_SUFFIXES
from understudy.errors import UserError, short, some_of

_MOST_FILES = 1_000_000
_SUFFIX = r"(?i)\.(" + "|".join(sorted(one[1:] for one in MEDIA_SUFFIXES)) + r")/?$"


def one_spelling(path: pa.Array, root: Path, column: str, where: str, notes: list[str]) -> pa.Array:
    """Paths (N,) below `root`, each file by one spelling: no backslashes, no `.` and `..` inside.

    column: what the paths were called: what is no `path`, `video_id` perhaps, must be found. where:
    how the table is called in errors. Raises UserError for addresses, for drives of Windows
    elsewhere, and for a name that no file or several have.
    """
    _check_kind(path, where)
    path = _slashes(path, root, notes)
    path = _normal(path, root)
    path = _composed(path, root)
    outside = _where(pc.match_substring_regex(path, r"^/|^\.\./"))
    if len(outside):
        first = short(path[int(outside[0])].as_py())
        notes.append(f"{len(outside)} paths lead out of the table's folder, as {first}")
    if _ignores_case(root):
        path = _one_case(path)
    return _with_suffix(path, root, column, where, notes)


def _check_kind(path: pa.Array, where: str) -> None:
    rows = _where(pc.match_substring_regex(path, r"^[A-Za-z][A-Za-z0-9+.-]+://"))
    if len(rows):
        raise UserError(
            f"{where}, row {rows[0] + 2}: {short(path[int(rows[0])].as_py())} is an address. Media "
            "are read from disk: fetch them, and write where they lie."
        )
    if os.sep == "/":
        rows = _where(pc.match_substring_regex(path, r"^[A-Za-z]:[\\/]|^\\\\"))
        if len(rows):
            raise UserError(
                f"{where}, row {rows[0] + 2}: {short(path[int(rows[0])].as_py())} is a place on a "
                "Windows machine. Write paths as seen from the table's folder: clips/a.mp4."
            )


def _slashes(path: pa.Array, root: Path, notes: list[str]) -> pa.Array:
    """With / between folders, unless a file has a backslash in its name, as it may elsewhere."""
    odd = _where(pc.match_substring(path, "\\"))
    if not len(odd) or os.path.lexists(root / path[int(odd[0])].as_py()):
        return path
    notes.append(f"{len(odd)} paths with backslashes are read as Windows writes them, with /")
    return pc.replace_substring(path, "\\", "/")


def _normal(path: pa.Array, root: Path) -> pa.Array:
    """Without `.`, `..`, `//` and a / at the end; relative where it lies below `root`.

    Folders are few where paths are many, so each is looked at once.
    """
    odd = _where(pc.match_substring_regex(path, r"//|/$|(^|/)\.\.?(/|$)|^/"))
    if not len(odd):
        return path
    bare = pc.utf8_rtrim(path.take(pa.array(odd)), "/")
    folders = pc.replace_substring_regex(bare, r"[^/]*$", "").dictionary_encode()
    names = pc.replace_substring_regex(bare, r"^.*/", "")
    here = f"{root.absolute().as_posix().rstrip('/')}/"
    mended = as_text([_folder(one, here) for one in folders.dictionary.to_pylist()])
    found = pc.binary_join_element_wise(mended.take(folders.indices), names, pa.scalar("", TEXT))
    whole = pc.or_(pc.match_substring_regex(names, r"^\.\.?$"), pc.equal(bare, ""))
    rows = _where(whole)  # what ends in a dot or dots is a folder itself, and / has no name
    if len(rows):
        given = path.take(pa.array(odd)).take(pa.array(rows)).to_pylist()
        spelt = [_folder(f"{one}/", here).removesuffix("/") or "." for one in given]
        found = pc.replace_with_mask(found, whole, as_text(spelt))
    return _put(path, odd, found)


def _folder(folder: str, here: str) -> str:
    """A folder, "" or with / at its end, as a path of a table in `here` names it."""
    full = folder if folder.startswith("/") else here + folder
    if "/.." in full and _passes_a_link(full):
        normal = os.path.realpath(full)  # what lies above a link is not what stands before it
    else:
        normal = posixpath.normpath(full)
    normal = f"/{normal.strip('/')}/".replace("//", "/")
    if normal.startswith(here):
        return normal[len(here) :]
    return normal if folder.startswith("/") else f"{os.path.relpath(normal, here)}/"


def _passes_a_link(folder: str) -> bool:
    parts = folder.split("/..")[:-1]
    return any(os.path.islink("/..".join(parts[: n + 1])) for n in range(len(parts)))


def _composed(path: pa.Array, root: Path) -> pa.Array:
    """Letters with accents as the file system has them: they can be written in two ways."""
    odd = _where(pc.match_substring_regex(path, r"[^\x00-\x7f]"))
    if not len(odd):
        return path
    listings: dict[str, dict[str, str]] = {}

    def spelt(one: str) -> str:
        folder = ""
        for part in one.split("/"):
            names = listings.get(folder)
            if names is None:
                names = listings[folder] = _names_in(root / folder if folder else root)
            composed = unicodedata.normalize("NFC", part)
            folder = posixpath.join(folder, names.get(composed, composed)) if part else "/"
        return folder

    return _put(path, odd, as_text([spelt(one) for one in path.take(pa.array(odd)).to_pylist()]))


def _names_in(folder: Path) -> dict[str, str]:
    """What lies in a folder, by the composed spelling of its name, where another one is used."""
    try:
        names = [entry.name for entry in os.scandir(folder) if not entry.name.isascii()]
    except OSError:
        return {}
    return {unicodedata.normalize("NFC", name): name for name in sorted(names, reverse=True)}


def _ignores_case(root: Path) -> bool:
    """Whether the file system takes upper and lower case for the same letter."""
    other = root.with_name(root.name.swapcase())
    if other.name == root.name:
        return os.name == "nt"
    try:
        return other.samefile(root)
    except OSError:
        return False


def _one_case(path: pa.Array) -> pa.Array:
    """Each file as its first row spells it."""
    coded = pc.utf8_lower(path).dictionary_encode()
    codes = coded.indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    return path.take(pa.array(first[codes]))


def _with_suffix(path: pa.Array, root: Path, column: str, where: str, notes: list[str]) -> pa.Array:
    """Names without a suffix, found among the media of the table's folder."""
    bare = _where(pc.invert(pc.or_(pc.match_substring_regex(path, _SUFFIX), pc.equal(path, ""))))
    if not len(bare):
        return path
    coded = path.take(pa.array(bare)).dictionary_encode()
    names: list[str] = coded.dictionary.to_pylist()
    there = [os.path.lexists(root / name) for name in names]
    if all(there):
        return path
    known = _media_below(root, where)
    found, missing, several = [], [], []
    for name, exists in zip(names, there, strict=True):
        fitting = [] if exists else _fitting(name, known)
        found.append(fitting[0] if len(fitting) == 1 else name)
        if len(fitting) > 1:
            several.append(f"{short(name)} ({', '.join(map(short, sorted(fitting)[:3]))})")
        elif not exists and not fitting:
            missing.append(short(name))
    mend = "Put the media below the table's folder, or write their paths into a column path."
    if several:
        raise UserError(
            f"{where}: {len(several)} names of {column} fit several files: "
            f"{some_of(several)}. {mend}"
        )
    if missing and column != "path":
        raise UserError(
            f"{where}: no file below {root} belongs to {len(missing)} of {len(names)} names of "
            f"{column}: {some_of(missing)}. {mend} To go on without them, take their rows out."
        )
    moved = [(a, b) for a, b in zip(names, found, strict=True) if a != b]
    if moved:
        notes.append(
            f"{len(moved)} names of {column} were found as files, as {moved[0][0]} in {moved[0][1]}"
        )
    return _put(path, bare, as_text(found).take(coded.indices))


def _media_below(root: Path, where: str) -> dict[str, list[str]]:
    """Paths of media, and of folders, by their names without a suffix; hidden ones are passed."""
    known: dict[str, list[str]] = defaultdict(list)
    count = 0
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not is_hidden(name)]
        below = os.path.relpath(place, root).replace(os.sep, "/")
        prefix = "" if below == "." else f"{below}/"
        for name in files:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in MEDIA_SUFFIXES and not is_hidden(name):
                known[unicodedata.normalize("NFC", stem)].append(prefix + name)
        for name in folders:
            known[unicodedata.normalize("NFC", name)].append(f"{prefix}{name}/")
        count += len(files)
        if count > _MOST_FILES:
            raise UserError(
                f"{where} names clips without a suffix, and more than {_MOST_FILES:,} files lie "
                f"below {root}. Move the table to its media, or write paths with suffixes."
            )
    return known


def _fitting(name: str, known: dict[str, list[str]]) -> list[str]:
    """Files of this name; folders, which may hold frames, where there is no such file."""
    last = unicodedata.normalize("NFC", name).rpartition("/")[2]
    ends = re.escape(unicodedata.normalize("NFC", name).lstrip("/"))
    pattern = re.compile(rf"(^|.*/){ends}(\.[^./]+|/)")
    fitting = [
        one for one in known.get(last, ()) if pattern.fullmatch(unicodedata.normalize("NFC", one))
    ]
    files = [one for one in fitting if not one.endswith("/")]
    return files or [one.removesuffix("/") for one in fitting]


def _where(mask: Any) -> np.ndarray:
    return np.flatnonzero(mask.to_numpy(zero_copy_only=False))


def _put(path: pa.Array, rows: np.ndarray, values: pa.Array) -> pa.Array:
    mask = np.zeros(len(path), bool)
    mask[rows] = True
    return pc.replace_with_mask(path, pa.array(mask), values)
