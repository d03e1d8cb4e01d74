"""What a clip is known by whatever its file is called: its size and a hash of some of its bytes.

A run keeps the fingerprint of every clip, so that a file that was replaced, cut off or copied under
another name is noticed. Head, middle and tail are read, not the whole: half a gigabyte of video
costs as much as a picture.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from understudy.data.hidden import is_hidden
from understudy.data.media import kind_of

PART_BYTES = 16_384
"""Read at the head, in the middle and at the tail of a file; a smaller one than three is read
whole."""
_THREADS = 8
"""Reading waits for the disk, so more threads than cores."""
_AT_ONCE = 10_000


def fingerprint(path: Path) -> str | None:
    """SIZE-HASH of a file's bytes; of a folder, of the names and bytes of the files in it.

    The hash is 128 bits of BLAKE2 over head, middle and tail. None where nothing can be read, or
    nothing ought to be: what is neither file nor folder is not opened.
    """
    try:
        kind = kind_of(path)
        if kind == "a folder":
            return _of_folder(path)
        return _of_file(path) if kind == "file" else None
    except (OSError, ValueError):
        return None


def fingerprints(
    paths: Sequence[Path], progress: Callable[[int], None] = lambda done: None
) -> Iterator[str | None]:
    """`fingerprint` of many, in order; `progress` is given the number done, now and then."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            yield from pool.map(fingerprint, some)
            progress(start + len(some))


def _of_file(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        size = os.fstat(descriptor).st_size
        digest = hashlib.blake2b(digest_size=16)
        if size <= 3 * PART_BYTES:
            starts = [(0, size)]
        else:
            middle = (size - PART_BYTES) // 2
            starts = [(start, PART_BYTES) for start in (0, middle, size - PART_BYTES)]
        for start, length in starts:
            os.lseek(descriptor, start, os.SEEK_SET)
            digest.update(_read_all(descriptor, length))
        return f"{size:x}-{digest.hexdigest()}"
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, length: int) -> bytes:
    """Of a file that shrinks meanwhile, what is left."""
    parts = []
    while length and (part := os.read(descriptor, length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _of_folder(path: Path) -> str:
    """Every name and size counts, and the bytes of the first, middle and last file. What is hidden
    does not: a file manager that was opened on a folder has not changed it."""
    entries = sorted(
        (entry.name, entry.stat().st_size)
        for entry in os.scandir(path)
        if entry.is_file() and not is_hidden(entry.name)
    )
    digest = hashlib.blake2b(repr(entries).encode(), digest_size=16)
    for place in sorted({0, len(entries) // 2, len(entries) - 1} if entries else ()):
        digest.update(_of_file(path / entries[place][0]).encode())
    return f"{sum(size for _, size in entries):x}-{digest.hexdigest()}"
