"""Inputs that people really have, rebuilt here, and what each must give.

A case makes its input in a folder and names the call; `judge` says what came of it: "right",
"refused" (exit code 2 and a message that names the mend), or what is wrong.
"""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

Rows = list[dict[str, str]]
"""The manifest that was written, a dictionary for each row."""


@dataclass(frozen=True, slots=True)
class Case:
    """name: for the table. make: fills a folder, gives the arguments of `understudy`; "OUT" is the
    manifest to write. right: what the manifest must be. mends: words of which a refusal names one;
    none where refusing is not right."""

    name: str
    make: Callable[[Path], list[str]]
    right: Callable[[Rows], bool]
    mends: tuple[str, ...] = ()


def picture(path: Path, level: int = 0) -> Path:
    """A small picture; no two levels have equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), (level % 256, level // 256, 7)).save(path)
    return path


def _classes(folder: Path, names: tuple[str, ...] = ("clap", "jump"), each: int = 6) -> None:
    for place, name in enumerate(names):
        for number in range(each):
            picture(folder / name / f"{name}{number}.png", 10 * place + number)


def _labels_are(*names: str) -> Callable[[Rows], bool]:
    return lambda rows: {row["label"] for row in rows} == set(names)


def _as_meant(rows: Rows) -> bool:
    """Twelve clips of two classes, whose paths lead to a file."""
    return len(rows) == 12 and _labels_are("clap", "jump")(rows)


def _table_of(
    text: str, name: str = "table.csv", encoding: str = "utf-8"
) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        _classes(folder)
        (folder / name).write_bytes(text.encode(encoding))
        return ["data", "csv", str(folder / name), "OUT"]

    return make


def _lines(separator: str = ",", header: str = "path,label", slash: str = "/") -> str:
    rows = [
        f"{name}{slash}{name}{number}.png,{name}"
        for name in ("clap", "jump")
        for number in range(6)
    ]
    return "\n".join([header, *rows]).replace(",", separator) + "\n"


def _timed(header: str, first: str, second: str) -> Callable[[Path], list[str]]:
    """Two actions in each of six films: `first` and `second` are times as a row writes them."""

    def make(folder: Path) -> list[str]:
        from campaigns.odd_media import film

        rows = [header]
        for number in range(6):
            film(folder / f"film{number}.mp4", seconds=4, shade=number)
            rows += [f"film{number}.mp4,clap,{first}", f"film{number}.mp4,jump,{second}"]
        (folder / "table.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        return ["data", "csv", str(folder / "table.csv"), "OUT"]

    return make


def _times_kept(rows: Rows) -> bool:
    found = {(row["label"], float(row["start_s"] or -1), float(row["end_s"] or -1)) for row in rows}
    return len(rows) == 12 and found == {("clap", 0.5, 1.5), ("jump", 2.0, 3.0)}


def _checkpoints(folder: Path) -> list[str]:
    _classes(folder)
    picture(folder / ".ipynb_checkpoints" / "clap0-checkpoint.png")
    picture(folder / "clap" / ".ipynb_checkpoints" / "clap0-checkpoint.png")
    picture(folder / "__MACOSX" / "clap" / "._clap0.png")
    return ["data", "folder", str(folder), "OUT"]


def _extra_folder(folder: Path) -> list[str]:
    for place, split in enumerate(("train", "val", "test")):
        for name in ("clap", "jump"):
            for number in range(4):
                picture(folder / split / name / f"{number}.png", 100 * place + number + len(name))
    (folder / "runs").mkdir()
    (folder / "docs").mkdir()
    (folder / "docs" / "notes.txt").write_text("notes")
    return ["data", "folder", str(folder), "OUT"]


def _frames(folder: Path, names: Callable[[int], str], extra: tuple[str, ...] = ()) -> list[str]:
    for label in ("clap", "jump"):
        for clip in range(3):
            place = folder / label / f"clip{clip}"
            for number in range(1, 7):
                picture(place / names(number), number + 10 * clip + len(label))
            for name in extra:
                if name.endswith(".png"):
                    picture(place / name, 99)
                else:
                    (place / name).write_bytes(b"x")
    return ["data", "folder", str(folder), "OUT"]


def _with_thumbs(folder: Path) -> list[str]:
    return _frames(folder, "{:03}.png".format, ("Thumbs.db", "desktop.ini"))


def _with_a_copy(folder: Path) -> list[str]:
    return _frames(folder, "frame_{:03}.png".format, ("frame (1).png",))


def _with_gaps(folder: Path) -> list[str]:
    return _frames(folder, lambda number: f"{3 * number:05}.png")


def _two_classes(rows: Rows) -> bool:
    return len({row["label"] for row in rows}) == 2


def _as_split(rows: Rows) -> bool:
    counts = [sum(row["split"] == split for row in rows) for split in ("train", "val", "test")]
    return counts == [8, 8, 8]


def _six_clips(rows: Rows) -> bool:
    return len(rows) == 6 and _labels_are("clap", "jump")(rows)


def _sequences(folder: Path) -> list[str]:
    for label in ("clap", "jump"):
        for clip in range(3):
            for kind in ("img_", "flow_x_", "flow_y_"):
                for number in range(1, 6):
                    picture(folder / label / f"clip{clip}" / f"{kind}{number:05}.png", number)
    return ["data", "folder", str(folder), "OUT"]


def _two_spellings(folder: Path) -> list[str]:
    return _table_of(_lines() + "./clap/../clap/clap0.png,clap\n")(folder)


def _composed(folder: Path) -> list[str]:
    name = "café"
    for number in range(3):
        picture(folder / unicodedata.normalize("NFC", name) / f"a{number}.png", number)
        picture(folder / unicodedata.normalize("NFD", name) / f"b{number}.png", 10 + number)
        picture(folder / "jump" / f"{number}.png", 20 + number)
    return ["data", "folder", str(folder), "OUT"]


def _overwritten(folder: Path) -> list[str]:
    _classes(folder)
    (folder.parent / "kept.csv").write_text("path,label\nmine.png,mine\n")
    return ["data", "folder", str(folder), str(folder.parent / "kept.csv")]


def _odd_cells(folder: Path) -> list[str]:
    _classes(folder)
    paths = [f"{name}/{name}{number}.png" for name in ("clap", "jump") for number in range(6)]
    nothing = [None, float("nan")] * 6
    table = pa.table(
        {
            "path": paths,
            "label": [Path(path).parent.name for path in paths],
            "start_s": pa.array(nothing, pa.float64()),
            "group": pa.array([None] * 12, pa.string()),
            "tags": [["a", "b"]] * 12,
        }
    )
    with (folder / "table.parquet").open("wb") as file:
        pq.write_table(table, file)
    return ["data", "csv", str(folder / "table.parquet"), "OUT"]


def _label_studio(folder: Path) -> list[str]:
    from campaigns.odd_media import film

    tasks = []
    for number in range(6):
        film(folder / f"film{number}.mp4", seconds=4, shade=number)
        result = [
            {
                "type": "timelinelabels",
                "from_name": "actions",
                "to_name": "video",
                "value": {"ranges": [{"start": a, "end": b}], "timelinelabels": [label]},
            }
            for label, a, b in (("clap", 6, 15), ("jump", 21, 30))  # frames, from 1, at 10 a second
        ]
        tasks.append(
            {
                "id": number,
                "data": {"video": f"/data/upload/1/0a1b2c3d-film{number}.mp4"},
                "file_upload": f"0a1b2c3d-film{number}.mp4",
                "annotations": [{"id": number, "was_cancelled": False, "result": result}],
            }
        )
    (folder / "export.json").write_text(json.dumps(tasks))
    return ["data", "from", "label-studio", str(folder / "export.json"), "OUT"]


_in_seconds = _timed("video_id,label,time_start,time_end", "0.5,1.5", "2,3")
_in_minutes = _timed("path,label,start,end", "0:00.5,0:01.5", "0:02,0:03")
_in_milliseconds = _timed("clip,action,start_ms,end_ms", "500,1500", "2000,3000")
_in_frames = _timed("path,label,start_frame,end_frame,fps", "5,15,10", "20,30,10")
_create_ml = _timed("video,label,start,end", "0.5,1.5", "2,3")
_PADDED = _lines().replace("\n", ",,\n") + ",,,\n,,,\n"


_REFUSED = lambda rows: False  # noqa: E731
_MAPPING = ("--column", "Rename")

CASES = [
    Case("folder: .ipynb_checkpoints, __MACOSX", _checkpoints, _as_meant),
    Case("folder: runs/ and docs/ beside train, val, test", _extra_folder, _as_split),
    Case("frame folder with Thumbs.db", _with_thumbs, _six_clips),
    Case("frame folder with a copied frame (1)", _with_a_copy, _six_clips, ("frame (1)",)),
    Case("frame folder with gaps", _with_gaps, _six_clips),
    Case("img_, flow_x_ and flow_y_ in one folder", _sequences, _REFUSED, ("flow_x",)),
    Case("table: two spellings of one path", _two_spellings, _as_meant, ("clap0.png",)),
    Case("folder: NFC and NFD spellings of a class", _composed, _two_classes),
    Case("data folder onto a table that is there", _overwritten, _REFUSED, ("overwrite",)),
    Case("table with a byte order mark", _table_of("\ufeff" + _lines()), _as_meant),
    Case("table with ;", _table_of(_lines(";")), _as_meant),
    Case("table.tsv", _table_of(_lines("\t"), "table.tsv"), _as_meant),
    Case("table in UTF-16", _table_of(_lines(), encoding="utf-16"), _as_meant),
    Case("table with sep=,", _table_of("sep=,\n" + _lines()), _as_meant),
    Case("TABLE.CSV", _table_of(_lines(), "TABLE.CSV"), _as_meant),
    Case("spreadsheet's empty columns and rows", _table_of(_PADDED), _as_meant),
    Case("table with Windows paths", _table_of(_lines(slash="\\")), _as_meant),
    Case("Parquet with None, NaN and lists", _odd_cells, _as_meant, ("tags",)),
    Case("columns video_id, time_start, time_end", _in_seconds, _times_kept, _MAPPING),
    Case("columns start, end in mm:ss", _in_minutes, _times_kept, _MAPPING),
    Case("columns start_ms, end_ms", _in_milliseconds, _times_kept, _MAPPING),
    Case("columns start_frame, end_frame, fps", _in_frames, _times_kept, _MAPPING),
    Case("Create ML: video,label,start,end", _create_ml, _times_kept, _MAPPING),
    Case("Label Studio's video timeline", _label_studio, _times_kept, ("--fps",)),
]


def read_rows(path: Path) -> Rows:
    """The manifest that a call wrote; empty where there is none."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [dict(row) for row in csv.DictReader(file)]
