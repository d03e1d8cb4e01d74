"""From pictures to video: what a model that saw only stills knows of clips, and what it cannot.

    python benchmarks/pictures_to_video.py --data STAGE [--out runs/pictures-to-video]

STAGE is a folder of `understudy data stage STAGE --clips 1600`, filmed first where there is none:
ten actions, eight of them in mirrored pairs within which only the order of frames tells. Every arm
is tested on the clips of the test split, whose actors are in no picture of training. Writes
results/pictures_to_video_<date>.csv and the tables of docs/pictures-to-video.md. Runs that are
there are kept.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from table import Job, Pooled, parse_arguments, run_jobs, slug
from understudy.data.sources import read_manifest
from understudy.data.sources.table import from_table
from understudy.data.stage import ACTIONS, MIRRORED_PAIRS, film_stage
from understudy.errors import UserError
from understudy.judge.collect import predict_loader, split_loader
from understudy.judge.leaks import leaks
from understudy.judge.predictions import Predictions, read_predictions
from understudy.recipe import load_recipe
from understudy.run import open_run
from understudy.ship.bench import where_and_when

CLIPS = 1600
AVERAGE = {"name": "frames-average", "options": {"backbone": "small-cnn", "embedding_dim": 256}}

CROPPED = {"pseudo": None, "augment": {"crop_scale": 0.7, "brightness": 0.2, "contrast": 0.2,
                                       "saturation": 0.2}}  # fmt: skip
"""Without a moving camera, one crop for a whole clip; 0.7 of the area is a zoom of 1.2."""

ARMS: dict[str, dict[str, dict[str, Any]]] = {
    "rvit-image, one frame": {"data": CROPPED, "train": {"epochs": 30}},
    "rvit-image, pseudo-clips": {},
    "rvit-image, real clips": {"data": CROPPED | {"manifest": "manifest.csv"}},
    "average, one frame": {"data": CROPPED, "model": AVERAGE},
}
"""What each arm has otherwise than the recipe rvit-image-to-video."""

TESTED = {
    "pictures": ("pictures.csv", 8),
    "pictures, one frame": ("pictures.csv", 1),
    "clips": ("manifest.csv", 8),
    "clips, one frame": ("manifest.csv", 1),
}
"""What is tested on: a manifest, and how many frames of each of its rows are read at most. A model
of pseudo-clips sees a picture for as many."""

PARTNER = dict(MIRRORED_PAIRS) | {b: a for a, b in MIRRORED_PAIRS}
COLUMNS = (("top1", "all"), ("top1", "unpaired"), ("pair", "paired"), ("within", "paired"))
UNPAIRED = [action for action in ACTIONS if action not in PARTNER]


def main() -> None:
    arguments = parse_arguments(__doc__, "runs/pictures-to-video")
    stage = arguments.data
    if not (stage / "pictures.csv").exists():
        film_stage(stage, clips=CLIPS, seed=0)
    refuse_shared_actors(stage)
    arms = {arm: [job(stage, arguments.out, arm, seed) for seed in arguments.seeds] for arm in ARMS}
    by_seed = [one for jobs in zip(*arms.values(), strict=True) for one in jobs]
    run_jobs(by_seed, arguments.processes)
    rows = []
    for arm, jobs in arms.items():
        for tested, (manifest, frames) in TESTED.items():
            seeds = [predict(one, stage / manifest, frames) for one in jobs]
            for what, label, pooled in measures(arm, seeds):
                rows.append(describe(tested, what, label, pooled, arguments.seeds))
    write(rows, Path("results") / f"pictures_to_video_{time.strftime('%Y-%m-%d')}.csv")
    into_page("stage", tables(rows))


def refuse_shared_actors(stage: Path) -> None:
    """Raises UserError where an actor of the tested clips is in a picture or clip of training."""
    pictures, clips = (read_manifest(stage / name) for name in ("pictures.csv", "manifest.csv"))
    tested = {clips.records[row].group for row in clips.rows("test")}
    for manifest in (pictures, clips):
        seen = {r.group for r in manifest.records if r.split in ("train", "val")}
        if shared := tested & seen:
            raise UserError(f"{sorted(shared)} are in training and in the clips of the test.")


def job(stage: Path, out: Path, arm: str, seed: int) -> Job:
    changes = ARMS[arm]
    recipe = load_recipe("rvit-image-to-video").model_dump(exclude={"distill", "teacher"})
    recipe |= {name: recipe[name] | change for name, change in changes.items()}
    recipe["data"]["manifest"] = str(
        stage / changes.get("data", {}).get("manifest", "pictures.csv")
    )
    recipe["train"] |= {"seed": seed, "device": "cpu"}
    return Job(arm, seed, recipe, out / f"{slug(arm)}-{seed}")


def predict(job: Job, manifest: Path, frames: int) -> Predictions:
    """What a run says of the test split of a manifest, `frames` frames of each row at most.

    Evaluation would show it as many as it learned from; here every arm is shown as many as another.
    """
    run = open_run(job.path)
    place = run.path / "evaluations" / f"{manifest.stem}-{frames}.parquet"
    if not place.exists():
        clips, classifier = from_table(manifest), run.classifier()
        if found := leaks(run.manifest, clips, clips.rows("test")):
            raise UserError(f"{job.path.name}: {found[0]}")
        look = replace(classifier.sampling, frames=frames)
        loader = split_loader(clips, "test", look, data=run.recipe.data)
        place.parent.mkdir(exist_ok=True)
        predict_loader(classifier, loader, clips, "test", classes=run.classes).write(place)
    return read_predictions(place)


def measures(arm: str, seeds: list[Predictions]) -> Iterator[tuple[str, str, Pooled]]:
    """Every figure of an arm: its name, the class it is of or "all", and the clips behind it.

    top1: of ten classes. pair: the class or its partner was named. within: which of the two scored
    higher is right, whatever the other eight scored; a coin gives 0.5.
    """
    classes = seeds[0].classes
    target = np.array([classes[one] for one in seeds[0].target])
    groups = np.array(seeds[0].group)
    partner = np.array([classes.index(PARTNER.get(label, label)) for label in target])
    own = seeds[0].target.numpy()
    logits = np.stack([one.logits.numpy() for one in seeds])  # (seeds, N, K)
    named, clips = logits.argmax(2), np.arange(len(own))
    top1 = named == own
    pair = top1 | (named == partner)
    within = logits[:, clips, own] > logits[:, clips, partner]

    def some(values: np.ndarray, of: np.ndarray) -> Pooled:
        return Pooled(arm, values[:, of], groups[of].tolist())

    paired = np.isin(target, list(PARTNER))
    yield "top1", "all", some(top1, clips >= 0)
    yield "top1", "unpaired", some(top1, ~paired)
    yield "top1", "paired", some(top1, paired)
    yield "pair", "paired", some(pair, paired)
    yield "within", "paired", some(within, paired)
    for label in ACTIONS:
        yield "top1", label, some(top1, target == label)
        if label in PARTNER:
            yield "pair", label, some(pair, target == label)
    for names in MIRRORED_PAIRS:
        # Of a pair, not of a class: a model that always says the first has 1 and 0.
        yield "within", " / ".join(names), some(within, np.isin(target, names))


def describe(
    tested: str, what: str, label: str, pooled: Pooled, seeds: list[int]
) -> dict[str, Any]:
    """A row of the CSV, with the 95% interval over seeds and groups."""
    value, low, high = pooled.accuracy()
    return {
        "arm": pooled.arm,
        "tested_on": tested,
        "measure": what,
        "class": label,
        "value": round(value, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "per_seed": " ".join(f"{one:.3f}" for one in pooled.correct.mean(1)),
        "seeds": " ".join(map(str, seeds)),
        "clips": pooled.correct.shape[1],
        "groups": len(set(pooled.groups)),
    }


def write(rows: list[dict[str, Any]], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {where_and_when()}\n")
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def into_page(name: str, lines: Iterator[str]) -> None:
    """Put tables between the two comments with this name in the page of this experiment."""
    page = Path("docs") / "pictures-to-video.md"
    text = page.read_text(encoding="utf-8")
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise UserError(f"{page} has no place for tables between {start!r} and {end!r}.")
    tables = "\n".join(lines)
    page.write_text(f"{before}{start}\n{tables}\n\n{end}{after}", encoding="utf-8")
    print(tables)


def tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown: the arms side by side, then the actions and pairs on clips."""
    found = {(r["arm"], r["tested_on"], r["measure"], r["class"]): r for r in rows}

    def cell(arm: str, tested: str, what: str, label: str) -> str:
        row = found[arm, tested, what, label]
        return f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"

    yield "| arm | tested on | all ten | unpaired | right pair | which of the two |"
    yield "|---|---|---|---|---|---|"
    for arm in ARMS:
        for tested in TESTED:
            cells = [cell(arm, tested, what, label) for what, label in COLUMNS]
            yield f"| {arm} | {tested} | {' | '.join(cells)} |"
    yield ""
    yield f"| on clips | {' | '.join(ARMS)} |"
    yield f"|---{'|---' * len(ARMS)}|"
    for label in UNPAIRED:
        yield f"| {label} | {' | '.join(cell(arm, 'clips', 'top1', label) for arm in ARMS)} |"
    for label in PARTNER:
        cells = [cell(arm, "clips", "pair", label) for arm in ARMS]
        yield f"| {label}, pair | {' | '.join(cells)} |"
    for names in MIRRORED_PAIRS:
        label = " / ".join(names)
        cells = [cell(arm, "clips", "within", label) for arm in ARMS]
        yield f"| {label}, which | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
