"""Tables of clips that nobody meant to write: CSV, Parquet and what only says it is one."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from random import Random
from typing import Any

from campaigns.asking import AskError, ask
from campaigns.forked import Ended
from campaigns.input import Input
from campaigns.mutate import SCRIPT, damage, odd_file
from campaigns.workshop import Workshop

FIELDS = ("", " ", "nan", "inf", "-1", "1e308", "1,5", "x" * 100_000, "\x1b[31mred", SCRIPT, "a\0b",
          "../../etc/passwd", "/dev/zero", "|", "left|right", "a\nb", '"', "=1+1", "\udc80",
          "/" + "d/" * 2500, "TRAIN", "unknown", "\u202eetsap", "file:///etc/passwd",
          "http://localhost:1/a.mp4", "concat:a|b", "C:\\a.mp4", "..\\..\\a.mp4", "nan", "None",
          "0:61", "1:02:03:04", "9" * 400 + ":00", "1,500", "cafe\u0301", "['a', 'b']", "/", ".",
          "a/" * 2000 + "..", "12 ms")  # fmt: skip
COLUMNS = ["path", "label", "split", "group", "start_s", "end_s"]


def make(rng: Random, workshop: Workshop, place: Path) -> Input:
    rows = _rows(workshop)
    kind = rng.choice(("bytes", "bytes", "field", "field", "field", "columns", "same", "parquet",
                       "parquet", "text", "odd"))  # fmt: skip
    table, same = place / "table.csv", False
    if kind == "bytes":
        content, what = damage(_csv(rows), rng)
    elif kind == "field":
        row, column = rng.randrange(1, len(rows)), rng.randrange(len(COLUMNS))
        rows[row][column] = rng.choice(FIELDS)
        content = _csv(rows)
        what = f"{COLUMNS[column]} = {rows[row][column][:40].encode('unicode_escape').decode()}"
    elif kind == "columns":
        what, content = _columns(rows, rng)
    elif kind == "same":
        what, content = _same(rows, rng)
        same = True
    elif kind == "text":
        what, content = rng.choice(_texts())
    elif kind == "parquet":
        table = place / "table.parquet"
        content, what = ask(_parquet, rows, rng.randrange(2**32))
    else:
        content, what = b"", odd_file(table, rng)
    if kind != "odd":
        table.write_bytes(content)
    verb = rng.choice(("csv", "csv", "parquet", "check"))
    if verb == "check":
        return Input(["data", "check", table.name], f"check: {what}")
    out = place / f"out.{verb}"
    expected = table if not same else workshop.table

    def check(ended: Ended) -> str:
        del ended
        try:
            read, written = ask(_records, expected), ask(_records, out)
        except AskError as error:
            return f"what was written cannot be read: {error}"
        return "" if read == written else "the table that was written is another"

    return Input(["data", "csv", table.name, out.name], what, check)


def _rows(workshop: Workshop) -> list[list[str]]:
    with workshop.table.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    assert head == COLUMNS[:4]
    return [list(COLUMNS), *([str(workshop.folder / row[0]), *row[1:], "", ""] for row in rows)]


def _csv(rows: list[list[str]], encoding: str = "utf-8", **options: Any) -> bytes:
    text = io.StringIO(newline="")
    options.setdefault("lineterminator", "\n")
    csv.writer(text, **options).writerows(rows)
    return text.getvalue().encode(encoding, errors="surrogateescape")


def _columns(rows: list[list[str]], rng: Random) -> tuple[str, bytes]:
    """The head of the table made wrong."""
    at = rng.randrange(len(COLUMNS))
    kind = rng.choice(
        (
            "dropped",
            "renamed",
            "twice",
            "empty",
            "misspelt",
            "many",
            "short rows",
            "by another name",
        )
    )
    if kind == "dropped":
        rows = [row[:at] + row[at + 1 :] for row in rows]
    elif kind == "twice":
        rows = [[*row, row[at]] for row in rows]
    elif kind == "many":
        rows = [[*row, *(f"{n}" for n in range(3000))] for row in rows]
    elif kind == "short rows":
        rows = [rows[0], *(row[: rng.randrange(1, 7)] for row in rows[1:])]
    else:
        rows[0][at] = {
            "renamed": "colour",
            "empty": "",
            "misspelt": COLUMNS[at] + "s",
            "by another name": rng.choice(
                (
                    "video_id",
                    "class",
                    "subject",
                    "start_frame",
                    "end_ms",
                    "begin",
                    "to",
                    "fps",
                    "duration",
                )
            ),
        }[kind]
    return f"column {COLUMNS[at]} {kind}", _csv(rows)


def _same(rows: list[list[str]], rng: Random) -> tuple[str, bytes]:
    """Another spelling of the same table."""
    order = rng.sample(range(len(COLUMNS)), len(COLUMNS))
    spellings = {
        "BOM": lambda: _csv(rows, "utf-8-sig"),
        "UTF-16": lambda: _csv(rows, "utf-16"),
        "CRLF": lambda: _csv(rows, lineterminator="\r\n"),
        "quoted": lambda: _csv(rows, quoting=csv.QUOTE_ALL),
        "another order": lambda: _csv([[row[n] for n in order] for row in rows]),
        "one more column": lambda: _csv([[*row, "note"] for row in rows]),
        "blank lines": lambda: _csv(rows) + b"\n\n",
        "semicolons": lambda: _csv(rows, delimiter=";"),
        "tabs in UTF-16": lambda: _csv(rows, "utf-16", delimiter="\t"),
        "sep=;": lambda: b"sep=;\r\n" + _csv(rows, delimiter=";"),
        "empty columns and rows": lambda: _csv([[*row, "", ""] for row in [*rows, [""] * 6]]),
        "other names": lambda: _csv(
            [["video_id", "action", "Subset", "signer", "start (s)", "stop"], *rows[1:]]
        ),
        "longer spellings": lambda: _csv(
            [rows[0], *([f"/./{row[0]}", *row[1:]] for row in rows[1:])]
        ),
    }
    name = rng.choice(sorted(spellings))
    return name, spellings[name]()


def _texts() -> list[tuple[str, bytes]]:
    many = b"".join(b"%d.mp4,c%d\n" % (n, n) for n in range(100_000))
    return [
        ("empty", b""),
        ("only a head", b"path,label\n"),
        ("NUL", b"path,label\n" + bytes(1000)),
        ("one long line", b"x" * 5_000_000),
        ("JSON", b'[{"path": "a.mp4", "label": "a"}]'),
        ("an open quote", b'path,label\n"a.mp4,left\n' + b"b.mp4,right\n" * 1000),
        ("a ZIP", b"PK\3\4" + bytes(400)),
        ("not UTF-8", "path,label\nä.mp4,left\n".encode("latin-1")),
        ("100,000 classes", b"path,label\n" + many),
    ]


def _parquet(rows: list[list[str]], seed: int) -> tuple[bytes, str]:
    """A Parquet table with a column of another type, or with its bytes damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = Random(seed)
    columns: dict[str, Any] = {
        name: [row[n] for row in rows[1:]] for n, name in enumerate(COLUMNS[:4])
    }
    count, name = len(rows) - 1, rng.choice(COLUMNS)
    others: dict[str, Any] = {
        "lists": [["a"]] * count, "maps": [{"a": 1}] * count, "bytes": [b"\xff\0"] * count,
        "numbers": list(range(count)), "nulls": [None] * count, "booleans": [True] * count,
        "floats": [float("nan")] * count, "text of numbers": ["0.5"] * count,
        "dictionary": pa.array(["a"] * count).dictionary_encode(), "large numbers": [2**62] * count,
    }  # fmt: skip
    kind = rng.choice([*sorted(others), "damaged", "damaged", "damaged", "dropped"])
    if kind == "dropped":
        columns.pop(name, None)
    elif kind != "damaged":
        columns[name] = others[kind]
    target = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), target)
    content = target.getvalue().to_pybytes()
    if kind == "damaged":
        content, name = damage(content, rng)
    return content, f"Parquet, {kind}: {name}"


def _records(table: Path) -> list[Any]:
    from understudy.data.sources import read_manifest

    manifest = read_manifest(table)
    return sorted(
        (str(manifest.path_of(row)), str(one.label), one.split, one.group if one.group != one.path
         else "", str(one.start_s), str(one.end_s))
        for row, one in enumerate(manifest.records)
    )  # fmt: skip
