"""What is told of a data set or an annotation tool before anything of it is read."""

from __future__ import annotations

from typing import NamedTuple


class About(NamedTuple):
    """title: its own name. place: where it officially comes from, by name. licence: in a word.
    layout: what lies on disk after the official download, one line each."""

    title: str
    place: str
    licence: str
    layout: tuple[str, ...]
