"""Published data sets as they are downloaded, tiny, with one thing about one file broken."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from campaigns.asking import ask
from campaigns.forked import Ended
from campaigns.input import Input
from campaigns.mutate import damage, damage_tree, odd_file
from campaigns.workshop import Workshop

Files = dict[str, Any]
"""Name -> text, bytes, or what becomes JSON; media are empty texts."""

LINES = ("../../etc/passwd", "/dev/zero 1", "a;b;c", ";", "x" * 70_000, "\x1b[31m", '"', "a|b,c",
         "0 -1", "-1", "nan", "1e308")  # fmt: skip
ABSURD = ("../outside", "/etc/passwd", -1, 10**30, float("nan"), None, "", [], {}, "a|b",
          "x" * 5000, "\x1b[31mred", "a\0b", True, [[[]]])  # fmt: skip


def make(rng: Random, workshop: Workshop, place: Path) -> Input:
    del workshop
    name = rng.choice(sorted(_SETS))
    files, options = _SETS[name]()
    if name == "ego4d" and rng.random() < 0.5:
        files, options = _moments()
    broken = rng.choice([one for one, content in files.items() if content])
    how = rng.choice(("content", "content", "content", "content", "odd", "gone", "nothing"))
    content, what = files[broken], f"{broken}: nothing"
    if how == "content" and not isinstance(content, str | bytes):
        files[broken], done = damage_tree(content, rng, ABSURD)
        what = f"{broken}: {done}"
    elif how == "content" and isinstance(content, str) and rng.random() < 0.5:
        lines = content.splitlines()
        at = rng.randrange(len(lines))
        lines[at] = rng.choice((*LINES, lines[at].replace(lines[at][:3], rng.choice(LINES[:2]))))
        files[broken], what = "\n".join(lines), f"{broken}: line {at} is {lines[at][:30]!r}"
    elif how == "content":
        raw = content if isinstance(content, bytes) else content.encode()
        files[broken], done = damage(raw, rng)
        what = f"{broken}: {done}"
    elif how == "gone":
        del files[broken]
        what = f"{broken} is gone"
    for one, held in files.items():
        path = place / "set" / one
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(held if isinstance(held, bytes) else _text(held))
    if how == "odd":
        what = odd_file(place / "set" / broken, rng)
    words = ["data", "from", name, "set", "out.csv", *options]

    def check(ended: Ended) -> str:
        del ended
        return ask(_outside, place)

    whole = what.endswith(": nothing")
    return Input(words, f"{name}: {what}", check, must_work=whole)


def _text(held: Any) -> bytes:
    text = held if isinstance(held, str) else json.dumps(held)
    return text.encode(errors="surrogatepass")


def _outside(place: Path) -> str:
    """What is wrong about the rows that were written."""
    with (place / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        path = (place / row["path"]).resolve()
        if not path.is_relative_to(place.resolve()) or not path.exists():
            return f"a row names {row['path'][:60]!r}, which is outside or not there"
        times = [float(row[key]) for key in ("start_s", "end_s") if row.get(key)]
        if not all(0 <= time < 10**7 for time in times):
            return f"a row has the times {times}"
    return "" if len({row["label"] for row in rows}) > 1 else "fewer than two classes"


def _people() -> Iterator[tuple[int, int, str, str]]:
    """Number, person, class and split of 36 clips."""
    for number in range(36):
        person = number // 4
        yield number, person, ("wave", "nod")[number % 2], "test" if person > 6 else "train"


def _ucf101() -> tuple[Files, list[str]]:
    names = [(f"{label}/v_{label}_g{person + 1:02}_c{number:02}.avi", split)
             for number, person, label, split in _people()]  # fmt: skip
    files: Files = {f"UCF-101/{name}": "" for name, _ in names}
    for wanted in ("train", "test"):
        lines = [f"{name} 1" for name, split in names if split == wanted]
        files[f"ucfTrainTestlist/{wanted}list01.txt"] = "\n".join(lines)
    return files, []


def _hmdb51() -> tuple[Files, list[str]]:
    files: Files = {}
    lists: dict[str, list[str]] = {"wave": [], "nod": []}
    for number, person, label, split in _people():
        name = f"Film_{person}_{label}_f_cm_np1_ba_med_{number}.avi"
        files[f"{label}/{name}"] = ""
        lists[label].append(f"{name} {2 if split == 'test' else 1} ")
    files |= {f"splits/{label}_test_split1.txt": "\n".join(rows) for label, rows in lists.items()}
    return files, []


def _kinetics() -> tuple[Files, list[str]]:
    files: Files = {f"videos/video{n:06}_{n:06}_{n + 10:06}.mp4": "" for n in range(36)}
    for wanted in ("train", "test"):
        rows = [f"{label},video{n:06},{n},{n + 10},{split}" for n, _, label, split in _people()
                if split == wanted]  # fmt: skip
        files[f"{wanted}.csv"] = "\n".join(["label,youtube_id,time_start,time_end,split", *rows])
    return files, []


def _something() -> tuple[Files, list[str]]:
    files: Files = {f"videos/{n}.webm": "" for n in range(36)}
    for wanted, name in (("train", "train"), ("test", "validation")):
        files[f"{name}.json"] = [
            {"id": str(n), "template": f"{label} [something]"}
            for n, _, label, split in _people()
            if split == wanted
        ]
    files["labels.json"] = {"wave something": "0", "nod something": "1"}
    return files, ["--limit-classes", "2"]


def _jester() -> tuple[Files, list[str]]:
    files: Files = {f"20bn-jester-v1/{n}/{frame:05}.jpg": "" for n in range(36) for frame in (1, 2)}
    for wanted, name in (("train", "train"), ("test", "validation")):
        rows = [f"{n};{label}" for n, _, label, split in _people() if split == wanted]
        files[f"jester-v1-{name}.csv"] = "\n".join(rows)
    return files, []


def _charades() -> tuple[Files, list[str]]:
    files: Files = {f"Charades_v1_480/V{n:04}.mp4": "" for n in range(36)}
    files["Charades_v1_classes.txt"] = "c000 wave\nc001 nod\nc002 walk"
    for wanted in ("train", "test"):
        rows = [f"V{n:04},P{person},c00{n % 2} 0.00 9.00;c002 4.00 12.50,11.50"
                for n, person, _, split in _people() if split == wanted]  # fmt: skip
        files[f"Charades_v1_{wanted}.csv"] = "\n".join(["id,subject,actions,length", *rows])
    return files, []


def _epic() -> tuple[Files, list[str]]:
    files: Files = {f"P{p:02}/videos/P{p:02}_01.MP4": "" for p in range(9)}
    head = ("narration_id,participant_id,video_id,start_timestamp,stop_timestamp,verb_class,"
            "noun_class")  # fmt: skip
    for wanted, name in (("train", "train"), ("test", "validation")):
        rows = [f"P{p:02}_01_{n},P{p:02},P{p:02}_01,00:00:{n:02}.50,00:00:{n + 1:02}.25,{n % 2},0"
                for n, p, _, split in _people() if split == wanted]  # fmt: skip
        files[f"EPIC_100_{name}.csv"] = "\n".join([head, *rows])
    files["EPIC_100_verb_classes.csv"] = "id,key\n0,wave\n1,nod"
    return files, []


def _egtea() -> tuple[Files, list[str]]:
    files: Files = {"action_idx.txt": "Wave hand 1\nNod 2"}
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for number, person, _, split in _people():
        session = f"P{person:02}-R01-Pizza"
        name = f"{session}-{number}000-{number}900-F000100-F000122"
        files[f"cropped_clips/{session}/{name}.mp4"] = ""
        lists[split].append(f"{name} {1 + number % 2} 1 1")
    return files | {f"{split}_split1.txt": "\n".join(rows) for split, rows in lists.items()}, []


def _stanford40() -> tuple[Files, list[str]]:
    files: Files = {f"JPEGImages/{label}_{n:03}.jpg": "" for n, _, label, _ in _people()}
    for wanted in ("train", "test"):
        rows = [f"{label}_{n:03}.jpg" for n, _, label, split in _people() if split == wanted]
        files[f"ImageSplits/{wanted}.txt"] = "\n".join(rows)
    return files, []


def _wlasl() -> tuple[Files, list[str]]:
    files: Files = {f"videos/{n:05}.mp4": "" for n in range(36)}
    files["WLASL_v0.3.json"] = [
        {
            "gloss": word,
            "instances": [
                {"video_id": f"{n:05}", "signer_id": person, "split": split, "fps": 25,
                 "url": "http://a/b.mp4", "frame_start": 1 + n, "frame_end": -1 if n % 3 else 90}
                for n, person, label, split in _people() if label == word
            ],
        }
        for word in ("wave", "nod")
    ]  # fmt: skip
    return files, ["--limit-classes", "2"]


def _ego4d() -> tuple[Files, list[str]]:
    files: Files = {f"v2/full_scale/uid{p}.mp4": "" for p in range(9)}
    people = [{"video_uid": f"uid{p}", "fb_participant_id": p} for p in range(9)]
    files["v2/ego4d.json"] = {"videos": people}
    files["mapping.csv"] = "label,class\nwave*,wave\nnod*,nod"
    told: dict[str, list[dict[str, Any]]] = {f"uid{p}": [] for p in range(9)}
    for n, person, label, _ in _people():
        text = f"#C C {label}s at a friend"
        told[f"uid{person}"].append({"timestamp_sec": 10.0 + n, "narration_text": text})
    passes = {name: {"narration_pass_1": {"narrations": one}} for name, one in told.items()}
    files["v2/annotations/narration.json"] = passes
    return files, ["--mapping", "set/mapping.csv"]


def _moments() -> tuple[Files, list[str]]:
    files, _ = _ego4d()
    del files["v2/annotations/narration.json"], files["mapping.csv"]
    labels: dict[int, list[dict[str, Any]]] = {p: [] for p in range(9)}
    for n, person, label, _ in _people():
        times = {"start_time": n, "end_time": n + 1.5}
        times |= {f"video_{key}": moment for key, moment in times.items()}
        labels[person].append({"label": label, "primary": True, **times})
    videos = [
        {"video_uid": f"uid{p}", "clips": [{"clip_uid": f"c{p}", "annotations": [{"labels": one}]}]}
        for p, one in labels.items()
    ]
    return files | {"v2/annotations/moments_train.json": {"videos": videos}}, []


def _cifar() -> tuple[Files, list[str]]:
    records = [bytes([7, n % 2]) + bytes([n]) * 3072 for n in range(20)]
    files: Files = {"train.bin": b"".join(records[:14]), "test.bin": b"".join(records[14:])}
    return files | {"fine_label_names.txt": "wave\nnod"}, ["--pictures", "png"]


_SETS: dict[str, Callable[[], tuple[Files, list[str]]]] = {
    "charades": _charades,
    "cifar": _cifar,
    "ego4d": _ego4d,
    "egtea": _egtea,
    "epic-kitchens": _epic,
    "hmdb51": _hmdb51,
    "jester": _jester,
    "kinetics": _kinetics,
    "something-something": _something,
    "stanford40": _stanford40,
    "ucf101": _ucf101,
    "wlasl": _wlasl,
}
