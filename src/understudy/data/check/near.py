"""Clips in two splits that show almost the same: re-encoded, resized, cropped, brighter, trimmed.

Two steps. Candidates come from a coarse look, 8 x 8, compared with all others as it is and with
windows cut out of it. Then each candidate is laid over its partner: where in one picture does the
whole of the other lie, over scales, shifts and fractions of a pixel? What is compared are
gradients, as a cosine, so that brightness and contrast do not count. A window is chosen to fit
best, so it must fit better, and in finer detail, than pictures that are compared as they are. Of
films, several moments are compared and the middle one decides, so that one empty frame in common
is no alarm.

L looks of N clips; H = W = SIDE.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from understudy.data.check.looks import SIDE
from understudy.progress import Track, untold

WHOLE, WINDOW = 0.86, 0.89
"""Cosines from which two looks are taken for one scene: as they are, and one as a window of the
other. Both lie above all that different people reach in benchmarks/leaks.py; they were set by hand,
after a look at all of these data."""
CANDIDATES = 8
"""Of each clip, in other splits."""
_WORTH_REFINING = 0.68
"""Cosine at whole pixels, below which fractions of one never reached an alarm."""
_MOMENTS = 3
_PLAIN = 1.0
"""Mean gradient below which a look has nothing to compare: a black frame, a wall."""
_SMALL = 32
"""Pixels a side at which looks are compared as they are, and at which windows are looked for."""
_WINDOWS = tuple(range(_SMALL, 22, -1))
"""Sides of the windows."""
_AT_ONCE, _CLIPS = 256, 64
"""Pairs that are laid over each other, and clips whose coarse looks are compared, at a time."""


class Pair(NamedTuple):
    """Two clips by number, the cosines of their looks as they are and as a window, and which looks
    of each those are."""

    first: int
    second: int
    whole: float
    window: float
    at: tuple[int, int]

    @property
    def margin(self) -> float:
        """By how much they are too alike; below 0, they are not."""
        return max(self.whole - WHOLE, self.window - WINDOW)


def is_plain(looks: np.ndarray) -> np.ndarray:
    """(L, H, W) uint8 -> (L,) bool: too little in it to tell it from others."""
    return _gradients(torch.from_numpy(looks).float()).abs().mean((1, 2, 3)).numpy() < _PLAIN


def near_pairs(
    clips: Sequence[np.ndarray],
    split: np.ndarray,
    beside: np.ndarray | None = None,
    *,
    all_compared: bool = False,
    track: Track = untold,
) -> list[Pair]:
    """Pairs of clips of different splits that are too alike, the most alike first.

    clips: N times looks (n, H, W) uint8 that are not plain, n may be 0. split: (N,) integers.
    beside: (M, 2) further pairs to look at, as a backbone proposes them. all_compared: give those
    too that are not alike.
    """
    pairs = _candidates(clips, split, track)
    if beside is not None and len(beside):
        seen = np.array([len(looks) > 0 for looks in clips])
        beside = np.sort(beside[seen[beside].all(1)], 1)
        pairs = np.unique(np.concatenate([pairs, beside]), axis=0)
    owners, first, second = _moments(clips, pairs)
    cosines = np.full((len(first), 2), -1.0)
    blocks = [slice(start, start + _AT_ONCE) for start in range(0, len(first), _AT_ONCE)]
    size = {id(block): min(block.stop, len(first)) - block.start for block in blocks}
    for block in track(blocks, "comparing", len(first), lambda block: size[id(block)]):
        cosines[block] = laid_over(
            np.stack([clips[a][i] for a, i in first[block]]),
            np.stack([clips[b][j] for b, j in second[block]]),
        )
    found = []
    for number, (a, b) in enumerate(pairs.tolist()):
        mine = np.flatnonzero(owners == number)
        margins = (cosines[mine] - (WHOLE, WINDOW)).max(1)
        middle = mine[np.argsort(margins)[(len(mine) - 1) // 2]]
        whole, window = cosines[middle].tolist()
        pair = Pair(a, b, whole, window, (first[middle][1], second[middle][1]))
        if all_compared or pair.margin >= 0:
            found.append(pair)
    return sorted(found, key=lambda pair: -pair.margin)


def _candidates(clips: Sequence[np.ndarray], split: np.ndarray, track: Track) -> np.ndarray:
    """(M, 2) pairs of clips of different splits whose coarse looks are nearest; first < second.

    Those of the largest split ask nobody: whoever has a copy there asks for it.
    """
    filled = np.array([n for n, looks in enumerate(clips) if len(looks)], np.int64)
    if not len(filled) or len(np.unique(split[filled])) < 2:
        return np.zeros((0, 2), np.int64)
    names, sizes = np.unique(split[filled], return_counts=True)
    asking = filled[split[filled] != names[sizes.argmax()]]
    value = np.full((len(asking), CANDIDATES), -2.0, np.float32)
    who = np.zeros((len(asking), CANDIDATES), np.int64)
    parts = [filled[start : start + _CLIPS] for start in range(0, len(filled), _CLIPS)]
    for asked in track(parts, "looking for copies", len(filled), len):
        whole, windows, of_asked = _coarse_windows([clips[n] for n in asked])
        for start in range(0, len(asking), _CLIPS):
            mine = asking[start : start + _CLIPS]
            some = [_spread(clips[n], _MOMENTS) for n in mine]
            own_whole, own_windows, of_mine = _coarse_windows(some)
            alike = torch.maximum(
                (own_whole @ windows.flatten(0, 1).T).unflatten(1, windows.shape[:2]).amax(2),
                (own_windows.flatten(0, 1) @ whole.T).unflatten(0, own_windows.shape[:2]).amax(1),
            ).numpy()
            alike = np.maximum.reduceat(np.maximum.reduceat(alike, of_mine, 0), of_asked, 1)
            alike[split[mine][:, None] == split[asked]] = -2.0
            rows = slice(start, start + len(mine))
            values = np.concatenate([value[rows], alike], 1)
            names_of = np.concatenate([who[rows], np.broadcast_to(asked, alike.shape)], 1)
            best = np.argsort(-values, 1, kind="stable")[:, :CANDIDATES]
            value[rows] = np.take_along_axis(values, best, 1)
            who[rows] = np.take_along_axis(names_of, best, 1)
    pairs = np.stack([np.repeat(asking, CANDIDATES), who.ravel()], 1)[value.ravel() > -2.0]
    return np.unique(np.sort(pairs, 1), axis=0)


def _coarse_windows(clips: Sequence[np.ndarray]) -> tuple[Tensor, Tensor, np.ndarray]:
    """Coarse looks (l, D) of these clips, those of V windows of each (l, V, D), and where each
    clip begins among them."""
    looks = torch.from_numpy(np.concatenate(clips)).float()
    starts = np.concatenate([[0], np.cumsum([len(one) for one in clips])[:-1]]).astype(np.int64)
    windows = _coarse(_cut_out(looks)).unflatten(0, (-1, len(looks))).transpose(0, 1)
    return windows[:, 0].contiguous(), windows.contiguous(), starts


def _spread(looks: np.ndarray, count: int) -> np.ndarray:
    """At most so many of them, spread over the clip."""
    return looks[
        np.unique(np.linspace(0, len(looks) - 1, min(count, len(looks))).round().astype(int))
    ]


def _cut_out(looks: Tensor) -> Tensor:
    """(n, H, W) -> (V * n, H, W): all as they are, then windows of them made as large."""
    windows = [looks]
    for less in (4, 9):
        steps = sorted({0, less // 2, less})
        side = SIDE - less
        windows += [
            _resized(looks[:, down : down + side, right : right + side], SIDE)
            for down in steps
            for right in steps
        ]
    return torch.cat(windows)


def _coarse(looks: Tensor) -> Tensor:
    """(L, H, W) -> (L, D) gradients of 8 x 8 pixels, of length 1."""
    return _unit(F.avg_pool2d(looks[:, None], SIDE // 8)[:, 0])


def _moments(
    clips: Sequence[np.ndarray], pairs: np.ndarray
) -> tuple[np.ndarray, list[tuple[int, int]], list[tuple[int, int]]]:
    """What is laid over what: the number of the pair, and (clip, look) of either side. From the
    clip with fewer looks some are taken, and of the other the one most like each."""
    owners, first, second = [], [], []
    coarse: dict[int, Tensor] = {}
    for number, (a, b) in enumerate(pairs.tolist()):
        for one in (a, b):
            if one not in coarse:
                coarse[one] = _coarse(torch.from_numpy(clips[one]).float())
        alike = coarse[a] @ coarse[b].T
        swapped = len(coarse[a]) > len(coarse[b])
        if swapped:
            alike = alike.T
        some = torch.linspace(0, len(alike) - 1, min(_MOMENTS, len(alike))).long().unique()
        for i, j in zip(some.tolist(), alike[some].argmax(1).tolist(), strict=True):
            owners.append(number)
            first.append((a, j if swapped else i))
            second.append((b, i if swapped else j))
    return np.array(owners), first, second


def laid_over(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How alike two looks are, (n, H, W) uint8 each -> (n, 2) cosines: as they are, and where
    either is laid over the window of the other that is most like it."""
    a, b = (torch.from_numpy(some).float() for some in (first, second))
    small_a, small_b = (_resized(some, _SMALL) for some in (a, b))
    whole = (_unit(small_a) * _unit(small_b)).sum(1)
    cosine, place = _placed(torch.cat([small_a, small_b]), torch.cat([small_b, small_a]))
    window = torch.full_like(cosine, -1.0)
    near = cosine >= _WORTH_REFINING
    if near.any():
        outer, inner = torch.cat([a, b])[near], torch.cat([b, a])[near]
        window[near] = _refined(outer, inner, (place[near] * SIDE / _SMALL).round().long())
    return torch.stack([whole, window.reshape(2, -1).amax(0)], 1).numpy()


def _unit(looks: Tensor) -> Tensor:
    return F.normalize(_gradients(looks).flatten(1))


def _placed(outer: Tensor, inner: Tensor) -> tuple[Tensor, Tensor]:
    """The best window of whole pixels: its cosine (n,), and (side, top, left) of it (n, 3)."""
    n, gradients = len(outer), _gradients(outer)
    energy = gradients.square().sum(1, keepdim=True)
    best, place = torch.full((n,), -1.0), torch.zeros(n, 3, dtype=torch.int64)
    for side in _WINDOWS:
        pattern, k = _gradients(_resized(inner, side)), side - 1
        product = F.conv2d(gradients.reshape(1, 2 * n, _SMALL - 1, _SMALL - 1), pattern, groups=n)[
            0
        ]
        lengths = (F.avg_pool2d(energy, k, 1)[:, 0] * k * k).sqrt()
        lengths = lengths * pattern.flatten(1).norm(dim=1)[:, None, None]
        cosine, at = (product / lengths.clamp_min(1e-6)).flatten(1).max(1)
        found = torch.stack([torch.full_like(at, side), at // (_SMALL - k), at % (_SMALL - k)], 1)
        better = cosine > best
        best[better], place[better] = cosine[better], found[better]
    return best, place


def _refined(outer: Tensor, inner: Tensor, place: Tensor) -> Tensor:
    """(n,) cosine at the best fraction of a pixel and of the scale, near `place`."""
    best = torch.full((len(outer),), -1.0)
    steps = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * 3)  # (27, right down scale)
    for side in place[:, 0].unique().tolist():
        mine = (place[:, 0] == side).nonzero()[:, 0]
        pattern = _unit(_resized(inner[mine], side))
        middle = place[mine].flip(1)[:, :2] + side / 2
        pixels = torch.arange(side) + 0.5 - side / 2
        moved, value = torch.tensor([0.0, 0.0, 1.0]).expand(len(mine), 3), best[mine]
        for fine in (1.0, 0.5, 0.25, 0.125):
            tried = moved[None] + steps[:, None] * torch.tensor([0.5, 0.5, 0.02]) * fine
            cosines = []
            for right, down, scale in (one.unbind(1) for one in tried):
                x = (middle[:, 0] + right)[:, None] + pixels * scale[:, None]
                y = (middle[:, 1] + down)[:, None] + pixels * scale[:, None]
                grid = torch.stack(
                    [
                        x[:, None, :].expand(-1, side, side) * 2 / SIDE - 1,
                        y[:, :, None].expand(-1, side, side) * 2 / SIDE - 1,
                    ],
                    3,
                )
                seen = F.grid_sample(
                    outer[mine][:, None], grid, padding_mode="border", align_corners=False
                )
                cosines.append((_unit(seen[:, 0]) * pattern).sum(1))
            value, chosen = torch.stack(cosines).max(0)
            moved = tried[chosen, torch.arange(len(mine))]
        best[mine] = value
    return best


def _gradients(pixels: Tensor) -> Tensor:
    """(n, h, w) -> (n, 2, h - 1, w - 1): what changes to the right and downwards."""
    corner = pixels[:, :-1, :-1]
    return torch.stack([pixels[:, :-1, 1:] - corner, pixels[:, 1:, :-1] - corner], 1)


def _resized(pixels: Tensor, side: int) -> Tensor:
    if pixels.shape[-2:] == (side, side):
        return pixels
    return F.interpolate(pixels[:, None], [side, side], mode="bilinear", antialias=True)[:, 0]
