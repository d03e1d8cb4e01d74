"""How many wrong labels `understudy data check` names, and how many that it names are wrong.

    python benchmarks/wrong_labels.py --data FOLDER --backbone FILE

5% of the labels of three data sets are changed to another class at random, with three seeds, and
the clips that are named are held against those. Precision is the share of the named ones whose
label was changed: labels that were wrong before count against it. Intervals are of whole groups.
Writes results/wrong_labels_DATE_HARDWARE.csv.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dated import dated_path, write_rows
from understudy.data.manifest import Manifest
from understudy.data.sources import from_folder, read_manifest
from understudy.judge.doubts import doubtful, out_of_fold
from understudy.judge.frozen import embed, frozen_backbone
from understudy.judge.statistics import group_index, proportion_interval, resample_sums
from understudy.ship.bench import where_and_when

SHARE = 0.05
SEEDS = (0, 1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of real data")
    parser.add_argument("--backbone", required=True, help="a file, or NAME=FILE")
    parser.add_argument("--kept", type=Path, required=True, help="where vectors are kept")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    frozen = frozen_backbone(asked.backbone, ((0.5,) * 3, (0.5,) * 3))
    rows = []
    for name, manifest in read_sets(asked.data).items():
        vectors = kept_vectors(frozen, manifest, asked.kept / f"{name}.npy")
        labels = manifest.targets(range(len(manifest)))
        groups = [record.group for record in manifest.records]
        accuracy = float((out_of_fold(vectors, labels, groups).argmax(1) == labels).mean())
        for row in measure(vectors, labels, groups):
            rows.append({"data": name, "clips": len(labels), "probe_accuracy": round(accuracy, 3),
                         **row})  # fmt: skip
            sys.stdout.write("  ".join(str(value) for value in rows[-1].values()) + "\n")
    path = dated_path("wrong_labels", Path("results"), where_and_when())
    write_rows(path, rows)
    sys.stdout.write(f"{path}\n")


def read_sets(data: Path) -> dict[str, Manifest]:
    return {
        "sign_digits": from_folder(data / "sign_digits" / "images", neighbours=10),
        "body_gestures": from_folder(data / "body_gestures" / "images"),
        "sign_words": read_manifest(data / "sign_words" / "labels.csv"),
    }


def kept_vectors(frozen: Any, manifest: Manifest, place: Path) -> np.ndarray:
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        found = embed(frozen, manifest, range(len(manifest)))
        assert len(found.rows) == len(manifest)
        np.save(place, found.vectors)
    return np.load(place)


def measure(vectors: np.ndarray, labels: np.ndarray, groups: list[str]) -> list[dict[str, Any]]:
    """Precision and recall, all seeds together; their clips of one group stay together."""
    wrong, named = [], []
    for seed in SEEDS:
        changed, given = flipped(labels, seed)
        wrong.append(changed)
        named.append(np.isin(np.arange(len(labels)), [one.clip for one in
                     doubtful(vectors, given, groups).found]))  # fmt: skip
    changed, flagged = np.concatenate(wrong), np.concatenate(named)
    index, _ = group_index(groups)
    every = np.tile(index, len(SEEDS))
    rows = []
    for what, among, hit in (
        ("precision", flagged, changed),
        ("recall", changed, flagged),
        ("named of those unchanged", ~changed, flagged),
    ):
        sums = resample_sums(np.stack([among & hit, among], 1).astype(float), every)
        with np.errstate(invalid="ignore"):
            draws = sums[:, 0] / sums[:, 1]
        hits, n = int((among & hit).sum()), int(among.sum())
        low, high, method = proportion_interval(hits, n, draws)
        rows.append({"what": what, "hits": hits, "n": n, "value": round(hits / max(1, n), 4),
                     "low": round(low, 4), "high": round(high, 4), "method": method,
                     "seeds": len(SEEDS), "flipped": SHARE})  # fmt: skip
    return rows


def flipped(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Which were changed, (n,) bool, and the labels afterwards."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(labels), round(SHARE * len(labels)), replace=False)
    given, changed = labels.copy(), np.zeros(len(labels), bool)
    classes = labels.max() + 1
    given[chosen] = (labels[chosen] + rng.integers(1, classes, len(chosen))) % classes
    changed[chosen] = True
    return changed, given


if __name__ == "__main__":
    main()
