"""Whole groups into splits, stratified by class: iterative stratification, over groups.

Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data" (ECML PKDD 2011),
section 3: the rarest class is dealt first, each time to the split that still wants it most. Here
the unit that is dealt is a group with all of its clips. G groups, K classes, S splits.

Most groups show few of the classes, so only the cells of the table (G, K) that hold clips are kept,
and the time goes with their number. What is decided:

- the class with the fewest undealt groups is next, of equal ones the first;
- of its groups the one with the most labels is next, of equal ones a random one, by the seed;
- it goes to the split that wants most clips of the class; of equal ones to that which wants most
  clips of all classes; of equal ones to the first. Wants are shares times counts, so two that are
  equal can differ by float noise: differences below 1e-9 clips of the class, or 1e-6 clips of all,
  are none.
- When no more groups of the class are left than splits without it, those splits alone are asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from understudy.errors import UserError


@dataclass(frozen=True)
class Cells:
    """How many clips of a class each group has, where there are any: all arrays (cells,) int64.

    Sorted by group, then class. groups: G, numbered in the order of their names. classes: names.
    """

    group: np.ndarray
    label: np.ndarray
    clips: np.ndarray
    groups: int
    classes: tuple[str, ...]

    @classmethod
    def count(
        cls, group: np.ndarray, label: np.ndarray, groups: int, classes: tuple[str, ...]
    ) -> Cells:
        """From the group and the class of every label of every clip, (L,) integers each."""
        cells, clips = np.unique(group.astype(np.int64) * len(classes) + label, return_counts=True)
        return cls(*np.divmod(cells, max(1, len(classes))), clips, groups, classes)


_BY_SIZE = 10
"""Attempts that deal big groups first, before as many that deal them in any order: where nobody is
as big as another, the first ones are all alike."""


def deal_groups(cells: Cells, shares: dict[str, float], seed: int) -> np.ndarray:
    """Split number (G,) of every group.

    shares: wanted share of the clips per split, adding up to 1. A group without any label goes to
    the first split. Raises UserError where a class would be absent from a split.
    """
    splits = list(shares)
    _check_enough(cells, splits)
    # A deal can fail although another order succeeds, where people perform few classes each.
    missing = np.zeros((len(splits), len(cells.classes)), dtype=bool)
    for attempt in range(2 * _BY_SIZE):
        dealt, held = _deal_once(cells, list(shares.values()), (seed, attempt))
        missing = held == 0
        if not missing.any():
            return dealt
    split, label = np.argwhere(missing)[0]
    raise UserError(
        f"No way was found to split whole groups so that {splits[split]} holds clips of "
        f"{cells.classes[label]!r}. Add groups (people) that show it, or give the splits in the "
        "table."
    )


def _check_enough(cells: Cells, splits: list[str]) -> None:
    numbers = np.bincount(cells.label, minlength=len(cells.classes)).tolist()
    few = [
        f"{name} ({number})"
        for name, number in zip(cells.classes, numbers, strict=True)
        if number < len(splits)
    ]
    if few:
        more = f" and {len(few) - 10} more" if len(few) > 10 else ""
        raise UserError(
            f"Every class needs clips of {len(splits)} groups (people) at least, one for each of "
            f"{', '.join(splits)}. Too few: {', '.join(few[:10])}{more}. Add groups, leave these "
            "classes out, or give the splits in the table."
        )


def _deal_once(
    cells: Cells, shares: list[float], seed: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Split number (G,) of each group, and the clips (S, K) that each split then holds."""
    members = _members(cells, seed)
    starts = np.searchsorted(cells.group, np.arange(cells.groups + 1)).tolist()
    # Plain lists: a group has few cells, and numpy would take longer to be called than to count.
    labels, clips = cells.label.tolist(), cells.clips.tolist()
    per_class = np.bincount(cells.label, cells.clips, len(cells.classes))
    wanted = [(share * per_class).tolist() for share in shares]
    held = [[0] * len(cells.classes) for _ in shares]
    wanted_in_all = [share * float(per_class.sum()) for share in shares]
    held_in_all = [0] * len(shares)
    in_all = [round(want * 1e6) for want in wanted_in_all]
    left = np.bincount(cells.label, minlength=len(cells.classes)).tolist()  # undealt groups
    dealt = [-1] * cells.groups
    splits = range(len(shares))
    undealt = len(set(cells.group.tolist()))
    while undealt:
        label = min((number, place) for place, number in enumerate(left) if number)[1]
        need = [round((wanted[s][label] - held[s][label]) * 1e9) for s in splits]
        for group in members[label]:
            if dealt[group] >= 0:
                continue
            asked = splits
            if left[label] <= len(shares):  # the last groups go where the class is absent
                empty = [s for s in splits if not held[s][label]]
                asked = empty if left[label] <= len(empty) else splits
            split = asked[0]
            for other in asked[1:]:
                if need[other] > need[split] or (
                    need[other] == need[split] and in_all[other] > in_all[split]
                ):
                    split = other
            dealt[group] = split
            undealt -= 1
            own = held[split]
            for cell in range(starts[group], starts[group + 1]):
                own[labels[cell]] += clips[cell]
                held_in_all[split] += clips[cell]
                left[labels[cell]] -= 1
            need[split] = round((wanted[split][label] - own[label]) * 1e9)
            in_all[split] = round((wanted_in_all[split] - held_in_all[split]) * 1e6)
    return np.maximum(dealt, 0), np.array(held)


def _members(cells: Cells, seed: tuple[int, int]) -> list[list[int]]:
    """The groups of each class, in the order in which they are dealt."""
    order = np.random.default_rng(seed).permutation(cells.groups)
    # Big groups first, while there is still room to balance them; equal ones in random order.
    if seed[1] < _BY_SIZE:
        sizes = np.bincount(cells.group, cells.clips, cells.groups)
        order = order[np.argsort(-sizes[order], kind="stable")]
    place = np.empty(cells.groups, np.int64)
    place[order] = np.arange(cells.groups)
    by_class = np.lexsort((place[cells.group], cells.label))
    ends = np.cumsum(np.bincount(cells.label, minlength=len(cells.classes)))
    groups = cells.group[by_class].tolist()
    return [groups[a:b] for a, b in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]


def even_out(cells: Cells, dealt: np.ndarray, splits: int, *, rounds: int = 5) -> np.ndarray:
    """Split number (G,) of every group after moves that make equal shares more equal.

    dealt: (G,) where the groups are. A group moves wherever that lowers the sum over classes, and
    over all clips, of the squared shares that the splits hold; no split loses a class by it. That
    is what `StratifiedGroupKFold` of scikit-learn has a group decided by, too.
    """
    k = len(cells.classes)
    per_class = np.bincount(cells.label, cells.clips, k)
    weights = [*(1 / np.maximum(per_class, 1) ** 2).tolist(), 1 / max(1, per_class.sum()) ** 2]
    starts = np.searchsorted(cells.group, np.arange(cells.groups + 1)).tolist()
    labels, clips = cells.label.tolist(), cells.clips.tolist()
    held = [[0] * (k + 1) for _ in range(splits)]
    holders = [[0] * k for _ in range(splits)]  # groups of a class in each split
    found: list[int] = dealt.tolist()
    parts = []
    for group, split in enumerate(found):
        own = range(starts[group], starts[group + 1])
        part = [(labels[cell], clips[cell]) for cell in own]
        for label, _ in part:
            holders[split][label] += 1
        part.append((k, sum(number for _, number in part)))
        for label, number in part:
            held[split][label] += number
        parts.append(part)
    for _ in range(rounds):
        moved = False
        for group, part in enumerate(parts):
            here = found[group]
            if len(part) == 1 or any(holders[here][label] == 1 for label, _ in part[:-1]):
                continue
            gains = [
                sum(
                    number * (held[there][label] - held[here][label] + number) * weights[label]
                    for label, number in part
                )
                if there != here
                else 0.0
                for there in range(splits)
            ]
            there = gains.index(min(gains))
            if gains[there] > -1e-8:  # among a million clips a few do not matter
                continue
            found[group], moved = there, True
            for label, number in part:
                held[here][label] -= number
                held[there][label] += number
            for label, _ in part[:-1]:
                holders[here][label] -= 1
                holders[there][label] += 1
        if not moved:
            break
    return np.array(found)
