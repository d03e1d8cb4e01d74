"""From photographs to video: hand signs learned from stills, recognised in clips of two signs.

    python benchmarks/pictures_to_signs.py --data FOLDER [--out runs/pictures-to-signs]

FOLDER holds sign_digits (stills), sign_words (clips made of such stills, each of two signs) and
backbones. A sign is read in the first quarter of a test clip and in the last: in the clips of the
validation split the cut lies between 0.32 and 0.65 of a clip. Nobody who is in a test clip is in a
picture of training, which `sign_people` checks by pixels. Writes
results/pictures_to_signs_<date>.csv and the tables of docs/pictures-to-video.md. Runs that are
there are kept.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pictures_to_video import AVERAGE, CROPPED, describe, into_page, predict, write
from sign_people import SIGNS, Sign, file_number, find_stills, read_both, report
from table import Job, Pooled, frozen_imagenet, parse_arguments, run_jobs, slug
from understudy.data.manifest import Manifest
from understudy.data.sources import write_manifest
from understudy.errors import UserError
from understudy.judge.predictions import Predictions
from understudy.recipe import load_recipe
from understudy.types import Record

PART = 0.25
"""Share of a clip in which a sign is read, at the start and at the end."""

ARMS: dict[str, dict[str, dict[str, Any]]] = {
    "rvit-image, one frame": {"data": CROPPED, "train": {"epochs": 30}},
    "rvit-image, pseudo-clips": {},
    "average, one frame": {"data": CROPPED, "model": AVERAGE},
    "frozen ImageNet, one frame": {
        "data": {"pseudo": None, "size": 96, "augment": {}},
        "model": {"name": "frames-average"},
    },
}
"""What each arm has otherwise than the recipe rvit-image-to-video."""

TESTED = {
    "stills": ("stills.csv", 8),
    "stills, one frame": ("stills.csv", 1),
    "parts": ("parts.csv", 8),
    "parts, one frame": ("parts.csv", 1),
}
"""What is tested on: a manifest, and how many frames of each of its rows are read at most."""

MEASURES = ("sign", "two signs", "word", "which")


def main() -> None:
    arguments = parse_arguments(__doc__, "runs/pictures-to-signs")
    data, out = arguments.data, arguments.out
    clips, stills = read_both(data)
    signs = find_stills(clips, stills, "test")
    sys.stdout.write(report(signs) + "\n")
    out.mkdir(parents=True, exist_ok=True)
    split = split_stills(stills, clips, signs)
    write_manifest(split, out / "stills.csv")
    write_manifest(parts_of_clips(clips, stills, signs), out / "parts.csv")
    arms = {arm: [job(data, out, arm, seed) for seed in arguments.seeds] for arm in ARMS}
    by_seed = [one for jobs in zip(*arms.values(), strict=True) for one in jobs]
    run_jobs(by_seed, arguments.processes)
    rows = []
    for arm, jobs in arms.items():
        for tested, (manifest, frames) in TESTED.items():
            seeds = [predict(one, out / manifest, frames) for one in jobs]
            figures = [*measures(arm, seeds)]
            if manifest == "parts.csv":
                figures += words(arm, seeds, clips)
            rows += [describe(tested, *figure, arguments.seeds) for figure in figures]
    write(rows, Path("results") / f"pictures_to_signs_{time.strftime('%Y-%m-%d')}.csv")
    into_page("signs", tables(rows))


def job(data: Path, out: Path, arm: str, seed: int) -> Job:
    recipe = load_recipe("rvit-image-to-video").model_dump(exclude={"distill", "teacher"})
    recipe |= {name: recipe[name] | change for name, change in ARMS[arm].items()}
    if arm.startswith("frozen"):
        recipe["model"]["options"] = frozen_imagenet(data)
    recipe["data"]["manifest"] = str(out / "stills.csv")
    recipe["train"] |= {"seed": seed, "device": "cpu"}
    return Job(arm, seed, recipe, out / f"{slug(arm)}-{seed}")


def split_stills(stills: Manifest, clips: Manifest, signs: list[Sign]) -> Manifest:
    """Stills of people in test clips are for the test, of people in validation clips for that.

    People are told apart by file numbers: a group of sign_words names the first two digits of one.
    Neighbouring numbers may be one person, so a group of stills goes where any of it belongs.
    Raises UserError where a still that a test clip was made of would be learned from.
    """
    hundreds = {
        split: {
            int(n) for row in clips.rows(split) for n in clips.records[row].group.split("-")[1:]
        }
        for split in ("val", "test")
    }
    of_group: dict[str, set[int]] = {}
    for row, record in enumerate(stills.records):
        of_group.setdefault(record.group, set()).add(file_number(stills, row) // 100)

    def split_of(group: str) -> str:
        if of_group[group] & hundreds["test"]:
            return "test"
        return "val" if of_group[group] & hundreds["val"] else "train"

    splits = [split_of(record.group) for record in stills.records]
    if any(splits[sign.still] != "test" for sign in signs):
        raise UserError("A still that a test clip was made of would be in training.")
    return stills.with_splits(splits)


def parts_of_clips(clips: Manifest, stills: Manifest, signs: list[Sign]) -> Manifest:
    """First and last quarter of each test clip, in turn; a group is one person's stills."""
    records = []
    for number, sign in enumerate(signs):
        clip = clips.records[sign.clip]
        seconds = float(clips.extras["seconds"][sign.clip])
        start_s = 0.0 if number % 2 == 0 else (1 - PART) * seconds
        records.append(
            Record(
                path=clip.path,
                label=sign.label,
                split="test",
                group=stills.records[sign.still].group,
                start_s=start_s,
                end_s=start_s + PART * seconds,
            )
        )
    return Manifest.from_records(records, clips.root)


def measures(arm: str, seeds: list[Predictions]) -> Iterator[tuple[str, str, Pooled]]:
    """Top-1 of ten signs: its name, the sign it is of or "all", and the rows behind it."""
    correct = np.stack([one.correct for one in seeds])
    groups, target = np.array(seeds[0].group), seeds[0].target.numpy()
    yield "sign", "all", Pooled(arm, correct, groups.tolist())
    for number, label in enumerate(seeds[0].classes):
        of = target == number
        if of.any():
            yield "sign", label, Pooled(arm, correct[:, of], groups[of].tolist())


def words(arm: str, seeds: list[Predictions], clips: Manifest) -> Iterator[tuple[str, str, Pooled]]:
    """Words of two signs, read from the two parts of each test clip.

    two signs: both are the best of ten. word: the best of the eight words, by the product of the
    probabilities of its signs. which: the word beats its mirror; a coin gives 0.5.
    """
    rows = clips.rows("test")
    names = clips.classes
    index = np.array([[SIGNS.index(sign) for sign in name.split("_")] for name in names])
    truth = np.array([names.index(str(clips.records[row].label)) for row in rows])
    mirror = np.array([names.index("_".join(reversed(name.split("_")))) for name in names])
    groups, each = [clips.records[row].group for row in rows], np.arange(len(rows))
    found: dict[str, list[np.ndarray]] = {"two signs": [], "word": [], "which": []}
    for one in seeds:
        parts = one.logits.log_softmax(1).numpy().reshape(len(rows), 2, -1)
        scores = parts[:, 0, index[:, 0]] + parts[:, 1, index[:, 1]]  # (clips, words)
        found["two signs"].append((parts.argmax(2) == index[truth]).all(1))
        found["word"].append(scores.argmax(1) == truth)
        found["which"].append(scores[each, truth] > scores[each, mirror[truth]])
    for what, correct in found.items():
        yield what, "all", Pooled(arm, np.stack(correct), groups)


def tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown: the arms side by side, then the signs on parts of clips."""
    cells = {
        (row["arm"], row["tested_on"], row["measure"], row["class"]): (
            f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        )
        for row in rows
    }
    yield "| arm | tested on | sign, of ten | both signs | word, of eight | which of the two |"
    yield "|---|---|---|---|---|---|"
    for arm in ARMS:
        for tested in TESTED:
            line = [cells.get((arm, tested, what, "all"), "") for what in MEASURES]
            yield f"| {arm} | {tested} | {' | '.join(line)} |"
    for tested in TESTED:
        yield ""
        yield f"| {tested} | {' | '.join(ARMS)} |"
        yield f"|---{'|---' * len(ARMS)}|"
        for label in sorted({row["class"] for row in rows if row["tested_on"] == tested} - {"all"}):
            line = [cells[arm, tested, "sign", label] for arm in ARMS]
            yield f"| {label} | {' | '.join(line)} |"


if __name__ == "__main__":
    main()
