"""Runs and artifacts from strangers: every file of theirs with a field or some bytes changed."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path
from random import Random
from typing import Any

from campaigns.asking import ask
from campaigns.forked import Ended
from campaigns.input import Input
from campaigns.mutate import SCRIPT, damage, damage_tree, odd_file
from campaigns.workshop import Workshop

RUN_FILES = ("recipe.yaml", "data.json", "data.json", "environment.json", "history.json",
             "metrics.json", "unknown.json", "manifest.parquet", "manifest.parquet",
             "predictions.parquet", "checkpoints/best.safetensors",
             "resume/state.safetensors")  # fmt: skip
ARTIFACT_FILES = ("contract.json",) * 7 + ("parity.json", "latency.json", "clip.onnx", "step.onnx")

_READ_BY = {
    "history.json": ("report", "resume"),
    "metrics.json": ("report", "compare"),
    "predictions.parquet": ("compare",),
    "unknown.json": ("stream",),
    "environment.json": ("evaluate", "report", "resume"),
    "resume/state.safetensors": ("resume",),
}
_ALL = ("evaluate", "predict", "report", "resume", "stream", "compare", "export")


def make_run(rng: Random, workshop: Workshop, place: Path) -> Input:
    run = workshop.copy_run(place / "run", evaluated=True)
    name = rng.choice(RUN_FILES)
    what, absurd = _break(run / name, rng)
    verb = rng.choice(_READ_BY.get(name, _ALL))
    if verb == "export" and not workshop.artifact.exists():  # a quarter of a minute each
        verb = "evaluate"
    if verb == "resume":
        (run / "checkpoints" / "final.safetensors").unlink()
    words = {
        "evaluate": ["evaluate", "run"],
        "predict": ["predict", "run", str(workshop.clips[0]), "--json"],
        "stream": ["stream", "run", str(workshop.clips[0]), "--json"],
        "report": ["report", "run"],
        "resume": ["train", "--resume", "run"],
        "compare": ["compare", "run", str(workshop.student)],
        "export": ["export", "run"],
    }[verb]
    return Input(words, f"{verb}: {what}", _check(workshop, verb, run, absurd))


def make_artifact(rng: Random, workshop: Workshop, place: Path) -> Input:
    artifact = place / "artifact"
    shutil.copytree(workshop.artifact, artifact)
    verb = rng.choice(("predict", "predict", "stream", "pull", "report", "evaluate"))
    outside = place / "outside"
    if rng.random() < 0.25:
        what, escapes, absurd = _trick(artifact, outside, rng), True, False
    else:
        what, absurd = _break(artifact / rng.choice(ARTIFACT_FILES), rng)
        escapes = False
    words = {
        "predict": ["predict", "artifact", str(workshop.clips[0]), "--json"],
        "stream": ["stream", "artifact", str(workshop.clips[0]), "--json"],
        "pull": ["pull", "artifact"],
        "report": ["report", "artifact"],
        "evaluate": ["evaluate", "artifact", "--data", str(workshop.table), "--split", "test"],
    }[verb]
    answers = _check(workshop, verb, artifact, absurd)

    def check(ended: Ended) -> str:
        if escapes and verb != "report":
            return "a file outside the artifact is used"
        return answers(ended)

    return Input(words, f"{verb}: {what}", check)


def _check(workshop: Workshop, verb: str, place: Path, absurd: bool) -> Any:
    """What is wrong with a call that went well, though a field says what can't be."""

    def check(ended: Ended) -> str:
        page = place / "report.html"
        if verb == "report" and SCRIPT in page.read_text(encoding="utf-8"):
            return "markup of a stranger stands in the page"
        if verb == "predict" and absurd:
            known = json.loads((workshop.folder / "said.json").read_text(encoding="utf-8"))
            if _segments(ended.out) != known:
                return "another answer, without a word"
        if verb == "evaluate" and "nan" in ended.out.lower() and "nan" not in ended.err.lower():
            return "NaN is evaluated without a word"
        return ""

    return check


def know(workshop: Workshop) -> None:
    """Keep what run and artifact say of a clip, to compare with."""
    from campaigns.forked import run

    words = ["predict", str(workshop.student), str(workshop.clips[0]), "--json"]
    ended = run(words, workshop.folder)
    (workshop.folder / "said.json").write_text(json.dumps(_segments(ended.out)), encoding="utf-8")


def _segments(out: str) -> Any:
    """The answer to one clip, but for last digits."""
    found = json.loads(out)
    found.pop("path", None)
    return json.loads(json.dumps(found), parse_float=lambda text: round(float(text), 2))


def _break(path: Path, rng: Random) -> tuple[str, bool]:
    """Change one file. What was done, and whether it made the content absurd."""
    if rng.random() < 0.06:
        return odd_file(path, rng), False
    if rng.random() < 0.12 or path.suffix in (".onnx", ""):
        content, what = damage(path.read_bytes(), rng)
        path.write_bytes(content)
        return f"{path.name}: {what}", False
    if path.suffix == ".safetensors":
        return f"{path.name}: {_weights(path, rng)}", False
    if path.suffix == ".parquet":
        return f"{path.name}: {ask(_columns, path, rng.randrange(2**32))}", False
    if rng.random() < 0.12:
        what, text = rng.choice(_TEXTS)
        path.write_bytes(text)
        return f"{path.name}: {what}", False
    if path.suffix == ".yaml":
        import yaml

        tree, what = damage_tree(yaml.safe_load(path.read_text(encoding="utf-8")), rng)
        path.write_text(yaml.safe_dump(tree), encoding="utf-8", errors="surrogatepass")
    else:
        tree, what = damage_tree(json.loads(path.read_text(encoding="utf-8")), rng)
        path.write_text(json.dumps(tree), encoding="utf-8")
    # Any text may be the name of a class, and is then said in the place of the old one.
    absurd = " = " in what and "classes" not in what and "=1+1" not in what
    return f"{path.name}: {what}", absurd and path.suffix == ".json"


_TEXTS = [
    ("deeply nested", b"[" * 200_000), ("deeply nested objects", b'{"a":' * 100_000),
    ("a number of 10,000 digits", b'{"classes": ' + b"9" * 10_000 + b"}"), ("empty", b""),
    ("a list", b"[]"), ("null", b"null"), ("a text", b'"x"'), ("not UTF-8", b'{"a": "\xff\xfe"}'),
    ("NUL", bytes(2000)), ("keys twice", b'{"classes": [], "classes": {}}'), ("an object", b"{}"),
]  # fmt: skip


def _weights(path: Path, rng: Random) -> str:
    """A safetensors file whose header or values are changed."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    head, rest = json.loads(content[8 : 8 + size]), content[8 + size :]
    if rng.random() < 0.3:
        value = struct.pack("<f", rng.choice((float("nan"), float("inf"), 1e38)))
        path.write_bytes(content[: 8 + size] + value * (len(rest) // 4))
        return "every value is no number"
    absurd = (-1, 0, 2**63, [], {}, None, "F7", [2**40, 2**40], [-1], "I64", "BOOL", [0, 1], "x")
    head, what = damage_tree(head, rng, absurd)
    text = json.dumps(head).encode()
    length = len(text) if rng.random() < 0.8 else rng.choice((0, 2**62, len(text) + 9, 100_000_001))
    path.write_bytes(struct.pack("<Q", length) + text + rest)
    return what if length == len(text) else f"{what}, its header says {length} bytes"


def _columns(path: Path, seed: int) -> str:
    """A Parquet file with a column, a value or the metadata changed."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = Random(seed)
    table = pq.read_table(path)
    at = rng.randrange(table.num_columns)
    name, count = table.column_names[at], table.num_rows
    values: dict[str, Any] = {
        "text": ["\x1b[2Jred"] * count, "paths": ["../../outside"] * count, "numbers": [-1] * count,
        "large": [2**62] * count, "nulls": [None] * count, "NaN": [float("nan")] * count,
        "lists": [[1]] * count, "markup": [SCRIPT] * count, "devices": ["/dev/zero"] * count,
    }  # fmt: skip
    kind = rng.choice([*sorted(values), "removed", "twice", "no rows", "no metadata", "metadata"])
    if kind in values:
        table = table.set_column(at, name, pa.array(values[kind]))
    elif kind == "removed":
        table = table.remove_column(at)
    elif kind == "twice":
        table = pa.concat_tables([table, table])
    elif kind == "no rows":
        table = table.slice(0, 0)
    else:
        notes = {
            key: rng.choice((b"{", b"[[]]", b"\xff", b"7")) for key in table.schema.metadata or {}
        }
        table = table.replace_schema_metadata(None if kind == "no metadata" else notes)
    pq.write_table(table, path)
    return f"{name}: {kind}"


def _trick(artifact: Path, outside: Path, rng: Random) -> str:
    """Make an artifact name a file that lies outside of it, whole and with the right checksum."""
    outside.mkdir()
    graph = rng.choice(("clip", "step"))
    for kind in ("clip", "step"):
        shutil.copy(artifact / f"{kind}.onnx", outside / f"{kind}.onnx")
    contract = json.loads((artifact / "contract.json").read_text(encoding="utf-8"))
    if rng.random() < 0.4:
        target = rng.choice((f"../outside/{graph}.onnx", str(outside / f"{graph}.onnx")))
        (artifact / f"{graph}.onnx").unlink()
        (artifact / f"{graph}.onnx").symlink_to(target)
        return f"{graph}.onnx is a link that leads outside"
    file = rng.choice((f"../outside/{graph}.onnx", str(outside / f"{graph}.onnx"),
                       f"./../outside/{graph}.onnx", f"{graph}.onnx/../../outside/{graph}.onnx",
                       f"..//outside/{graph}.onnx"))  # fmt: skip
    contract["graphs"][graph]["file"] = file
    (artifact / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
    return f"graphs.{graph}.file = {file if file.startswith('.') else 'an absolute path'}"
