"""Whether a model is judged by what it has learned from: by group, by file and by bytes."""

from __future__ import annotations

import os
from collections.abc import Sequence

from understudy.data.fingerprint import fingerprints
from understudy.data.manifest import Manifest
from understudy.errors import some_of


def leaks(trained: Manifest, data: Manifest, rows: Sequence[int]) -> list[str]:
    """A warning when these rows share a group, a file or the bytes of one with the training split.

    The bytes find a file that was renamed or copied: its name tells nothing.
    """
    if "train" not in trained.splits:
        return []
    learned = trained.rows("train")
    groups = set(trained.groups(learned)) - {""}
    files = {_file(trained, row) for row in learned}
    known = set(_bytes_of(trained, learned, look=False)) - {""}
    found = _bytes_of(data, rows, look=bool(known))
    names = []
    for row, group, content in zip(rows, data.groups(rows), found or [""] * len(rows), strict=True):
        if group in groups:
            names.append(group)
        elif _file(data, row) in files or (content and content in known):
            names.append(data.id_of(row))
    if not names:
        return []
    return [
        f"{len(names)} of {len(rows)} clips are of groups or files that the model was trained on, "
        f"under whatever name ({some_of(sorted(set(names)))}): the figures are too good."
    ]


def _bytes_of(manifest: Manifest, rows: Sequence[int], *, look: bool) -> list[str]:
    """The fingerprint of each row, as noted, or taken now if told to `look`; none otherwise."""
    if manifest.fingerprints is not None:
        return [manifest.fingerprints[row] for row in rows]
    if not look:
        return []
    return [one or "" for one in fingerprints([manifest.path_of(row) for row in rows])]


def _file(manifest: Manifest, row: int) -> str:
    return os.path.normpath(manifest.path_of(row))
