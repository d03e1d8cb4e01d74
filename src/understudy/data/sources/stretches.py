"""Labels that hold over time: where they overlap, and where they change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

Span = tuple[float, float, frozenset[str]]
"""Start, end, and the labels that hold meanwhile."""


def cut_overlaps(spans: Sequence[Span], shortest: float) -> tuple[list[Span], int, int]:
    """Spans to pieces that don't overlap, in the order of time.

    A span that meets no other stays as it is. Gives how many did overlap as well, and how many
    pieces between them were shorter than `shortest` and left out.
    """
    pieces: list[Span] = []
    overlapping = dropped = 0
    ordered = sorted(spans, key=lambda one: (one[0], one[1], sorted(one[2])))
    place = 0
    while place < len(ordered):
        last, end = place + 1, ordered[place][1]
        while last < len(ordered) and ordered[last][0] < end:
            end = max(end, ordered[last][1])
            last += 1
        cluster = ordered[place:last]
        place = last
        if len({one[:2] for one in cluster}) == 1:
            labels = frozenset(name for one in cluster for name in one[2])
            pieces.append((*cluster[0][:2], labels))
            continue
        overlapping += len(cluster)
        for start, stop, labels in stretches(cluster):
            if stop - start < shortest:
                dropped += 1
            else:
                pieces.append((start, stop, labels))
    return pieces, overlapping, dropped


def stretches(spans: Sequence[Span]) -> list[Span]:
    """The longest stretches in which the same labels, one or more, hold."""
    turns: list[tuple[float, int, str]] = []
    for start, end, labels in spans:
        for label in labels:
            turns += [(start, 1, label), (end, -1, label)]
    turns.sort()
    held: Counter[str] = Counter()
    found: list[Span] = []
    since, place = 0.0, 0
    while place < len(turns):
        before, now = frozenset(held), turns[place][0]
        while place < len(turns) and turns[place][0] == now:
            _, step, label = turns[place]
            held[label] += step
            if not held[label]:
                del held[label]
            place += 1
        if before and before != frozenset(held):
            found.append((since, now, before))
        if before != frozenset(held):
            since = now
    return found
