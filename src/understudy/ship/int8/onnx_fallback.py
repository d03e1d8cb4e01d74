"""Which stretches of a graph can be quantised, by what each of them does to the logits.

The graph is cut, in its own order, into stretches of as many operators with weights each. Every
stretch is quantised alone, and the logits on training clips are compared with the float ones. Then
stretches are quantised together, the least harmful first, as many as keep the noise of the logits
20 dB below them. That takes some 16 trials, where trying each operator would take a hundred, and
leaves few borders between float and whole numbers, each of which costs time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from understudy.ship.formats import onnx as onnx_format
from understudy.ship.int8 import Unsuitable

STRETCHES = 12
PROBES = 8
"""Calibration inputs on which logits are compared."""

LEAST_DB = 20.0
"""Signal over noise of the logits: the noise has a hundredth of their variance."""


def least_harmful(
    simple: Path,
    weighted: Sequence[str],
    entry: dict[str, Any],
    calibration: Sequence[Sequence[np.ndarray]],
    write: Callable[[Sequence[str]], Path],
) -> tuple[list[str], dict[str, Any]]:
    """Names of the nodes to leave float, and notes for the contract.

    simple: the graph in float. weighted: names of its operators that have weights. write: quantises
    all nodes but those given and says where. Raises Unsuitable where all or nothing can be
    quantised: the former is what `static percentile` is.
    """
    step = max(1, len(calibration) // PROBES)
    probes = list(calibration)[::step][:PROBES]
    expected = _logits(simple, entry, probes)
    stretches = cut(_node_names(simple), weighted)

    def signal_db(quantised: Sequence[int]) -> float:
        excluded = [
            name
            for place, stretch in enumerate(stretches)
            if place not in quantised
            for name in stretch
        ]
        return signal_to_noise_db(expected, _logits(write(excluded), entry, probes))

    if signal_db(range(len(stretches))) >= LEAST_DB:
        raise Unsuitable(
            f"nothing has to stay float: all quantised, logits have {LEAST_DB:.0f} dB over their "
            "noise, so it would be static percentile again"
        )
    order = sorted(range(len(stretches)), key=lambda place: -signal_db([place]))
    enough, too_many = 0, len(order)
    while too_many - enough > 1:
        middle = (enough + too_many) // 2
        if signal_db(order[:middle]) >= LEAST_DB:
            enough = middle
        else:
            too_many = middle
    if not enough:
        raise Unsuitable(f"no stretch can be quantised without falling below {LEAST_DB:.0f} dB")
    left = sorted(order[enough:])
    excluded = [name for place in left for name in stretches[place]]
    return excluded, {"float_stretches": left, "stretches": len(stretches)}


def cut(nodes: Sequence[str], weighted: Sequence[str]) -> list[list[str]]:
    """The nodes in their order, cut into at most 12 stretches of as many weighted ones each."""
    count = min(STRETCHES, len(weighted))
    firsts = {weighted[round(place * len(weighted) / count)] for place in range(1, count)}
    stretches: list[list[str]] = [[]]
    for name in nodes:
        if name in firsts:
            stretches.append([])
        stretches[-1].append(name)
    return stretches


def signal_to_noise_db(expected: np.ndarray, given: np.ndarray) -> float:
    """Variance of logits (N, K) over classes, over that of what was added to them, in decibels.

    What is added to all classes of a clip alike changes no probability and is no noise.
    """
    signal = expected - expected.mean(axis=1, keepdims=True)
    noise = given - expected
    noise = noise - noise.mean(axis=1, keepdims=True)
    power = max(float((noise**2).sum()), 1e-30)
    return 10 * float(np.log10(max(float((signal**2).sum()), 1e-30) / power))


def _logits(
    path: Path, entry: dict[str, Any], probes: Sequence[Sequence[np.ndarray]]
) -> np.ndarray:
    session = onnx_format.open_session(path, entry, 1)
    return np.concatenate([session(inputs)[0] for inputs in probes])


def _node_names(path: Path) -> list[str]:
    import onnx

    return [node.name for node in onnx.load(str(path)).graph.node]
