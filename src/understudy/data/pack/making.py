"""`understudy data pack`: which files are still to be packed, on all cores, and what came of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from understudy.core_count import cores
from understudy.data.check.workers import Lost, each
from understudy.data.fingerprint import fingerprints
from understudy.data.manifest import Manifest
from understudy.data.media import kind_of
from understudy.data.pack.opened import SETTINGS_FILE, Pack, read_settings, settings_text
from understudy.data.pack.shards import SHARD_NAME, Settings
from understudy.data.pack.writing import (
    SHARD_BYTES,
    Estimate,
    Fault,
    PackedFile,
    Part,
    Span,
    Unwritable,
    estimate,
    pack_part,
)
from understudy.data.whole_files import remove_halves, whole_file
from understudy.errors import UserError
from understudy.progress import Track, untold

FAILURES_FILE, LOCK_FILE = "failures.json", ".lock"
_OWN_FILES = (SETTINGS_FILE, FAILURES_FILE, LOCK_FILE)


class Made(NamedTuple):
    """What is in a pack now. clips: rows of the manifest that it has whole. new_files: packed now.
    size_bytes: of all shards."""

    clips: int
    new_files: int
    size_bytes: int
    faults: tuple[Fault, ...]


def make_pack(
    manifest: Manifest,
    folder: Path,
    settings: Settings,
    *,
    track: Track = untold,
    note: Callable[[str], None] = lambda sentence: None,
    processes: int | None = None,
) -> Made:
    """Pack the clips of a manifest, and go on where an earlier call was stopped.

    track: tells how far it is. note: is given sentences: the size before anything is written, and
    what is damaged. processes: by default one for each core. A clip that cannot be packed is named
    in `Made.faults` and in failures.json; it is tried again by the next call. Raises UserError for
    a folder that holds anything else, for another pack, and where the disk is too small.
    """
    processes = processes or cores()
    with _held(folder, settings):
        files, known, faults = _files_of(manifest)
        pack = Pack(folder)
        pack.check()
        for path, reason in pack.broken.items():
            note(f"{path} is not used: {reason}. What it held is packed again.")
        missing = [one for one in (_missing(pack, file) for file in files) if one.spans]
        _pack(missing, folder, settings, processes, track, note, faults)
        pack = Pack(folder)
        clips = sum(
            pack.holds(known[manifest.path_of(row)], (record.start_s, record.end_s))
            for row, record in enumerate(manifest.records)
        )
        _write_failures(folder, faults)
        size = sum(shard.path.stat().st_size for shard in pack.shards)
        return Made(clips, len(missing), size, tuple(faults))


def _files_of(manifest: Manifest) -> tuple[list[PackedFile], dict[Path, str], list[Fault]]:
    """The files of a manifest, those of the same bytes once; the fingerprint of each path, empty
    where it cannot be read; and those, named."""
    spans: dict[Path, dict[Span, None]] = {}
    names: dict[Path, str] = {}
    for row, record in enumerate(manifest.records):
        path = manifest.path_of(row)
        spans.setdefault(path, {})[record.start_s, record.end_s] = None
        names.setdefault(path, record.path)
    known: dict[Path, str] = {}
    found: dict[str, PackedFile] = {}
    faults = []
    for path, fingerprint in zip(spans, fingerprints(list(spans)), strict=True):
        known[path] = fingerprint or ""
        if fingerprint is None:
            faults.append(Fault(names[path], None, "it is gone, or cannot be read"))
            continue
        same = found.get(fingerprint, PackedFile(str(path), names[path], fingerprint, ()))
        together = dict.fromkeys([*same.spans, *spans[path]])
        found[fingerprint] = same._replace(spans=tuple(together))
    return list(found.values()), known, faults


def _missing(pack: Pack, file: PackedFile) -> PackedFile:
    """A file with those of its rows that are not in the pack as a whole."""
    spans = tuple(span for span in file.spans if not pack.holds(file.fingerprint, span))
    return file._replace(spans=spans)


def _pack(
    files: list[PackedFile],
    folder: Path,
    settings: Settings,
    processes: int,
    track: Track,
    note: Callable[[str], None],
    faults: list[Fault],
) -> None:
    if not files:
        return
    asked = [(settings, file) for file in files]
    sizes: dict[PackedFile, Estimate] = {}
    for (_, file), found in track(each(estimate, asked, processes), "sizes", len(files)):
        sizes[file] = Estimate(0, 0) if isinstance(found, Lost) else found
    _refuse_small_disk(folder, list(sizes.values()), note)
    parts = [Part(str(folder), settings, some) for some in _in_parts(files, sizes)]
    alone = []
    for part, found in _packed(parts, len(files), processes, track):
        if isinstance(found, Lost) and len(part.files) > 1:  # one of them, whichever it is
            alone += [part._replace(files=(file,)) for file in part.files]
        else:
            faults += _faults(part, found)
    for part, found in _packed(alone, len(alone), processes, track):
        faults += _faults(part, found)


def _packed(
    parts: Sequence[Part], files: int, processes: int, track: Track
) -> Iterator[tuple[Part, Any]]:
    done = each(pack_part, parts, processes)
    for part, found in track(done, "packing", files, lambda one: len(one[0].files)):
        if isinstance(found, Unwritable):
            raise UserError(f"{found.reason} What is packed so far is kept; the same command goes "
                            "on from there.")  # fmt: skip
        yield part, found


def _faults(part: Part, found: Any) -> list[Fault]:
    return [Fault(part.files[0].name, None, found.reason)] if isinstance(found, Lost) else found


def _in_parts(
    files: Sequence[PackedFile], sizes: dict[PackedFile, Estimate]
) -> Iterator[tuple[PackedFile, ...]]:
    """Neighbours that fill a shard together."""
    some: list[PackedFile] = []
    size = 0
    for file in files:
        some.append(file)
        size += sizes[file].bytes
        if size >= SHARD_BYTES:
            yield tuple(some)
            some, size = [], 0
    if some:
        yield tuple(some)


def _refuse_small_disk(
    folder: Path, sizes: Sequence[Estimate], note: Callable[[str], None]
) -> None:
    needed, frames = sum(one.bytes for one in sizes), sum(one.frames for one in sizes)
    free = shutil.disk_usage(folder).free
    note(f"{len(sizes):,} files, {frames:,} frames: about {gigabytes(needed)} to write, "
         f"{gigabytes(free)} free in {folder}")  # fmt: skip
    if needed > free:
        raise UserError(
            f"{folder} has {gigabytes(free)} free, and the frames need about {gigabytes(needed)}. "
            "Make room, name another folder, or pack less: a smaller --size, --format jpeg, or "
            "--frames N for those that one sampling takes."
        )


def gigabytes(size_bytes: float) -> str:
    """`2.31 GB`, or in MB below one."""
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"


@contextmanager
def _held(folder: Path, settings: Settings) -> Iterator[None]:
    """The folder of a pack with these settings, begun where there is none, for this process alone.

    Raises UserError for a folder that holds anything else.
    """
    try:
        entries = sorted(folder.iterdir()) if folder.exists() else []
        others = [entry.name for entry in entries if not _is_own(entry)]
        if others:
            raise UserError(
                f"{folder} holds what is not of a pack ({', '.join(others[:3])}). Nothing in it is "
                "touched; name another folder."
            )
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK_FILE, timeout=0):
            remove_halves(folder)
            if not (folder / SETTINGS_FILE).exists():
                with whole_file(folder / SETTINGS_FILE) as partial:
                    partial.write_text(settings_text(settings), encoding="utf-8")
            elif (there := read_settings(folder)) != settings:
                raise UserError(
                    f"{folder} is a pack of {_described(there)}, not of {_described(settings)}. "
                    "Name another folder."
                )
            yield
    except Timeout:
        raise UserError(f"{folder} is being packed by another process.") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}.") from error


def _is_own(entry: Path) -> bool:
    if entry.is_symlink() or kind_of(entry) != "file":
        return False
    return (
        entry.name in _OWN_FILES
        or SHARD_NAME.fullmatch(entry.name) is not None
        or (entry.name.startswith(".") and entry.name.endswith(".partial"))
    )


def _described(settings: Settings) -> str:
    """`256 px, JPEG of quality 90, 8 frames (uniform)`"""
    parts = [f"{settings.short_side} px"]
    if settings.jpeg_quality is not None:
        parts.append(f"JPEG of quality {settings.jpeg_quality}")
    if settings.frames is not None:
        parts.append(f"{settings.frames} frames ({settings.sampling})")
    return ", ".join(parts)


def _write_failures(folder: Path, faults: Sequence[Fault]) -> None:
    named = [
        {"path": one.name, "start_s": (one.span or (None, None))[0],
         "end_s": (one.span or (None, None))[1], "reason": one.reason}
        for one in faults
    ]  # fmt: skip
    with whole_file(folder / FAILURES_FILE) as partial:
        partial.write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")
