"""Whole groups into splits, stratified by class: iterative stratification, over groups.

Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data" (ECML PKDD 2011),
section 3: the rarest class is dealt first, each time to the split that still wants it most. Here
the unit that is dealt is a group with all of its clips.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from understudy.errors import UserError


def deal_groups(
    groups: Sequence[str], labels: Sequence[tuple[str, ...]], shares: dict[str, float], seed: int
) -> list[str]:
    """The split of every clip, so that no group is in two of them.

    groups, labels: one entry per clip. shares: wanted share of the clips per split, adding up to 1.
    Raises UserError where a class would be absent from a split.
    """
    names = sorted(set(groups))
    classes = sorted({label for some in labels for label in some})
    group_number = {name: number for number, name in enumerate(names)}
    class_number = {name: number for number, name in enumerate(classes)}
    counts = np.zeros((len(names), len(classes)))  # clips of each class in each group
    for group, some in zip(groups, labels, strict=True):
        for label in some:
            counts[group_number[group], class_number[label]] += 1

    splits = list(shares)
    _check_enough(counts, classes, splits)
    # A deal can fail although another order succeeds, where people perform few classes each.
    missing = np.zeros((len(splits), len(classes)), dtype=bool)
    for attempt in range(10):
        dealt = _deal_once(counts, np.array([shares[s] for s in splits]), (seed, attempt))
        missing = np.array([counts[dealt == s].sum(axis=0) == 0 for s in range(len(splits))])
        if not missing.any():
            return [splits[dealt[group_number[group]]] for group in groups]
    split, label = np.argwhere(missing)[0]
    raise UserError(
        f"No way was found to split whole groups so that {splits[split]} holds clips of "
        f"{classes[label]!r}. Add groups (people) that show it, or give the splits in the table."
    )


def _check_enough(counts: np.ndarray, classes: list[str], splits: list[str]) -> None:
    few = [
        f"{name} ({int(number)})"
        for name, number in zip(classes, (counts > 0).sum(axis=0), strict=True)
        if number < len(splits)
    ]
    if few:
        raise UserError(
            f"Every class needs clips of {len(splits)} groups (people) at least, one for each of "
            f"{', '.join(splits)}. Too few: {', '.join(few)}. Add groups, leave these classes out, "
            "or give the splits in the table."
        )


def _deal_once(counts: np.ndarray, shares: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    """Split number of each group. counts (groups, classes), shares (splits,)."""
    order = np.random.default_rng(seed).permutation(len(counts))
    # Big groups first, while there is still room to balance them; equal ones in random order.
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    wanted = shares[:, None] * counts.sum(axis=0)  # (splits, classes)
    dealt = np.full(len(counts), -1)
    held = np.zeros_like(wanted)
    left = (counts > 0).sum(axis=0)  # undealt groups per class
    while left.any():
        label = int(np.where(left > 0, left, left.max() + 1).argmin())
        for group in order[(dealt[order] < 0) & (counts[order, label] > 0)]:
            need = wanted[:, label] - held[:, label]
            empty = held[:, label] == 0
            if left[label] <= empty.sum():  # the last groups go where the class is absent
                need = np.where(empty, need, -np.inf)
            total = (wanted - held).sum(axis=1)
            split = int(np.lexsort((-total, -np.round(need, 9)))[0])
            dealt[group] = split
            held[split] += counts[group]
            left -= counts[group] > 0
    return dealt
