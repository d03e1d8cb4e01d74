"""A data set checked: what needs no model, and what a frozen backbone tells where there is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from understudy.data.check.findings import Finding
from understudy.data.check.verdict import Checked, check_data, with_near_copies
from understudy.data.check.workers import PATIENCE_S
from understudy.data.manifest import Manifest
from understudy.progress import Track, untold

NO_BACKBONE = (
    "labels, since no backbone was named: --backbone mobilenetv3_large_100, or a file of weights, "
    "names those that may be wrong"
)


@dataclass(frozen=True, slots=True)
class Backbone:
    """named: as `frozen_backbone` takes it. mean, std: of the pixels that its weights were trained
    on, per channel; None: as the file says."""

    named: str
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def check(
    place: str | Path,
    *,
    media: bool = True,
    state: Path | None = None,
    backbone: Backbone | None = None,
    seed: int = 0,
    allow_shared_groups: bool = False,
    patience_s: float = PATIENCE_S,
    processes: int | None = None,
    track: Track = untold,
    counted: Callable[[Manifest], None] = lambda manifest: None,
) -> Checked:
    """All that is wrong with a manifest or a folder. Arguments as for `check_data`.

    Raises UserError where the table or the weights cannot be read.
    """
    frozen = None
    if backbone is not None:  # a mistake in it is told before all files are decoded
        from understudy.judge.frozen import frozen_backbone

        statistics = (backbone.mean, backbone.std) if backbone.mean and backbone.std else None
        frozen = frozen_backbone(backbone.named, statistics)
    checked = check_data(place, media=media, state=state, seed=seed,
                         allow_shared_groups=allow_shared_groups, patience_s=patience_s,
                         processes=processes, track=track, counted=counted)  # fmt: skip
    if not media:
        return checked
    if frozen is None:
        with_near_copies(checked, None, track)
        checked.unchecked.append(NO_BACKBONE)
        return checked
    from understudy.judge.frozen import embed, neighbours

    lost = {row for one in checked.findings if one.kind in _UNREADABLE for row in one.rows}
    rows = [row for row in range(len(checked.manifest)) if row not in lost]
    embedded = embed(frozen, checked.manifest, rows, track)
    split = checked.manifest.columns.split.codes
    with_near_copies(checked, neighbours(embedded, split), track)
    _doubt_labels(checked, embedded.rows, embedded.vectors)
    return checked


_UNREADABLE = frozenset({"missing", "unreadable", "no_video", "truncated", "outside"})


def _doubt_labels(checked: Checked, rows: np.ndarray, vectors: np.ndarray) -> None:
    from understudy.judge.doubts import FEWEST, TELLS_APART, doubtful

    manifest = checked.manifest
    if manifest.is_multi_label:
        checked.unchecked.append("labels, since clips have several")
        return
    labels = manifest.targets(rows)
    known = labels >= 0
    rows, vectors, labels = rows[known], vectors[known], labels[known]
    few = [name for code, name in enumerate(manifest.classes) if (labels == code).sum() < FEWEST]
    if few:
        checked.unchecked.append(
            f"labels of {len(few)} classes of fewer than {FEWEST} clips: {', '.join(few[:5])}"
        )
    doubts = doubtful(vectors, labels, manifest.groups(rows))
    if doubts.accuracy < TELLS_APART:
        if doubts.accuracy:
            checked.unchecked.append(
                "labels, since this backbone does not tell the classes apart: a probe on it "
                f"agrees with {doubts.accuracy:.0%} of the labels; {TELLS_APART:.0%} is the least"
            )
        return
    for doubt in doubts.found:
        row = int(rows[doubt.clip])
        said, label = manifest.classes[doubt.said], manifest.classes[labels[doubt.clip]]
        reason = f"labelled {label}; looks like {said} ({doubt.probability:.0%} to "
        reason += f"{doubt.of_label:.0%})"
        checked.findings.append(Finding("label", manifest.id_of(row), reason, (row,), (row,)))
