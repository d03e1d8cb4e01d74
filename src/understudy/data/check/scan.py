"""Every file of a manifest opened and decoded, each once however many rows are parts of it."""

from __future__ import annotations

import os
from pathlib import Path

from understudy.core_count import cores
from understudy.data.check.look import look_at
from understudy.data.check.seen import Seen, stamp
from understudy.data.check.state import State
from understudy.data.check.workers import PATIENCE_S, Lost, each
from understudy.data.manifest import Manifest
from understudy.progress import Track, untold


def files_of(manifest: Manifest) -> dict[str, list[int]]:
    """Rows by the file that they are parts of, absolute, in the order of the table."""
    files: dict[str, list[int]] = {}
    root, plain = os.path.abspath(manifest.root), {}
    for row, path in enumerate(manifest.columns.path.to_pylist()):
        if path not in plain:
            plain[path] = os.path.normpath(os.path.join(root, path))
        files.setdefault(plain[path], []).append(row)
    return files


def scan(
    files: list[str],
    state: Path | None = None,
    *,
    count: int | None = None,
    patience_s: float = PATIENCE_S,
    track: Track = untold,
) -> dict[str, Seen]:
    """What each file turned out to be.

    state: a file that remembers what was seen, written as it is.
    count: processes, by default one for each core.
    patience_s: seconds without a new frame after which a file is given up.
    What ended its process or hung is not remembered: it may have been the machine. Raises UserError
    for a state that cannot be used.
    """
    seen: dict[str, Seen] = {}
    with State(state) as known:
        stamps = {file: stamp(Path(file)) for file in files}
        for file in files:
            found = known.find(file, stamps[file])
            if found is not None:
                seen[file] = found
        left = [file for file in files if file not in seen]
        work = each(look_at, left, min(count or cores(), max(1, len(left))), patience_s=patience_s)
        for file, result in track(work, "decoding", len(left)):
            if isinstance(result, Lost):
                seen[file] = Seen(reason=result.reason)
            else:
                seen[file] = result
                known.keep(file, stamps[file], result)
    return seen
