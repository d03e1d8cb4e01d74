"""Media that are damaged, lie in their headers, open other files or are no files at all."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from pathlib import Path
from random import Random
from typing import Any

from campaigns.asking import AskError, ask
from campaigns.forked import Ended
from campaigns.input import Input
from campaigns.mutate import damage, odd_file
from campaigns.workshop import Workshop, film

CODECS = {"mp4": "libx264", "mov": "mpeg4", "avi": "mpeg4", "mkv": "libx264", "ts": "mpeg2video",
          "mjpeg.avi": "mjpeg", "webm": "libvpx", "flv": "flv"}  # fmt: skip
PICTURES = ("png", "jpg", "gif", "webp", "bmp", "tif", "avif")
HUGE = 0x7FFFFFFF
_KINDS = ("bytes",) * 3 + ("head",) * 2 + ("lie",) * 2 + ("suffix", "playlist", "odd")
_LIES = ("mvhd", "mdhd", "tkhd", "stts", "avc1", "gif", "png", "bmp", "jpg", "avi", "tif", "webp")


def film_media(folder: Path) -> None:
    """One whole file of every kind, and the real odd ones where they are at hand."""
    folder.mkdir()
    ask(_film, folder)
    real = os.environ.get("UNDERSTUDY_REAL_DATA")
    if real and (Path(real) / "robust").is_dir():
        for file in sorted((Path(real) / "robust").rglob("*")):
            if file.is_file() and file.name != "LICENSE" and file.stat().st_size < 300_000:
                shutil.copyfile(file, folder / f"real_{file.name}")


def make(rng: Random, workshop: Workshop, place: Path) -> Input:
    whole = sorted((workshop.folder / "media").iterdir())
    source = rng.choice(whole)
    file = place / f"clip.{source.name.rpartition('.')[2]}"
    kind = rng.choice(_KINDS)
    content, escapes = source.read_bytes(), False
    if kind in ("bytes", "head"):
        content, what = damage(content, rng, 600 if kind == "head" else None)
        what = f"{source.name}: {what}"
    elif kind == "lie":
        file, content, what = _lie(place, workshop, rng)
    elif kind == "suffix":
        file = place / f"clip.{rng.choice(('mp4', 'jpg', 'gif', 'png', 'avi', 'webm', 'tif'))}"
        what = f"{source.name} as {file.name}"
    elif kind == "playlist":
        what, text = _playlist(workshop.clips[0], rng)
        file, content, escapes = place / f"clip.{rng.choice(('mp4', 'mkv', 'ts'))}", text, True
        what = f"{file.name} is {what}"
    else:
        what = odd_file(file, rng)
    if kind != "odd":
        file.write_bytes(content)
    return _call(rng, workshop, place, file, what, escapes)


def _call(
    rng: Random, workshop: Workshop, place: Path, file: Path, what: str, escapes: bool
) -> Input:
    def opened(ended: Ended) -> str:
        said = ended.out.strip() and '"error": null' in ended.out
        return "another file was opened through it" if escapes and said else ""

    def streamed(ended: Ended) -> str:
        return "another file was opened through it" if escapes and ended.out.strip() else ""

    verb = rng.choice(("predict", "predict", "evaluate", "evaluate", "check", "stream"))
    if verb == "predict":
        model = rng.choice((workshop.artifact, workshop.student))
        model = model if model.exists() else workshop.student
        return Input(["predict", str(model), file.name, "--json"], f"predict {what}", opened)
    if verb == "stream":  # which keeps its threshold in the run
        run = workshop.copy_run(place / "student")
        return Input(["stream", run.name, file.name, "--json"], f"stream {what}", streamed)
    others = [(str(clip), label) for clip, label in zip(workshop.clips[:3], _LABELS, strict=True)]
    lines = [f"{path},{label},test" for path, label in [*others, (file.name, "left")]]
    (place / "table.csv").write_text(
        "path,label,split\n" + "\n".join(lines) + "\n", encoding="utf-8"
    )
    if verb == "check":
        return Input(["data", "check", "table.csv"], f"check {what}")
    run = workshop.copy_run(place / "student")

    def check(ended: Ended) -> str:
        del ended
        try:
            found = ask(_logits, place)
        except (AskError, IndexError) as error:
            return f"no predictions: {error}"
        known = json.loads((workshop.folder / "known.json").read_text(encoding="utf-8"))
        if any(found.get(path) != known[path] for path, _ in others):
            return "the other clips get other predictions"
        return "another file was opened through it" if escapes and file.name in str(found) else ""

    return Input(["evaluate", run.name, "--data", "table.csv", "--split", "test"],
                 f"evaluate {what}", check, must_work=True)  # fmt: skip


_LABELS = ("left", "right", "still")


def know(workshop: Workshop) -> None:
    """Keep what the student says of whole clips, to compare with."""
    from campaigns.forked import run

    place = workshop.folder / "known"
    workshop.copy_run(place / "student")
    lines = [
        f"{path},{label},test" for path, label in zip(workshop.clips[:3], _LABELS, strict=True)
    ]
    (place / "table.csv").write_text(
        "path,label,split\n" + "\n".join(lines) + "\n", encoding="utf-8"
    )
    ended = run(["evaluate", "student", "--data", "table.csv", "--split", "test"], place)
    assert ended.code == 0, ended.err
    (workshop.folder / "known.json").write_text(json.dumps(ask(_logits, place)), encoding="utf-8")


def _logits(place: Path) -> dict[str, list[float]]:
    """What was said of each clip, by its path; rounded, since batches of other sizes add up
    otherwise."""
    from understudy.judge.predictions import read_predictions

    [file] = (place / "student").rglob("predictions.parquet")
    found = read_predictions(file)
    rounded = [[round(value, 3) for value in one] for one in found.logits.tolist()]
    return {
        str((place / path).resolve()): one for path, one in zip(found.path, rounded, strict=True)
    }


def _lie(place: Path, workshop: Workshop, rng: Random) -> tuple[Path, bytes, str]:
    """A header that promises more than there is."""
    media = workshop.folder / "media"
    kind = rng.choice(_LIES)
    number = rng.choice((HUGE, 0xFFFFFFFF, 0, 1_000_000_000))
    side = rng.choice((16_000, 65_535, 30_000, 0))
    if kind in ("mvhd", "mdhd", "tkhd", "stts", "avc1"):
        content = bytearray((media / "clip.mp4").read_bytes())
        at = content.index(kind.encode()) + 4
        if kind == "avc1":
            struct.pack_into(">HH", content, at + 24, side, side)
        elif kind == "stts":
            struct.pack_into(">II", content, at + 8, number, rng.choice((number, 1)))
        else:
            struct.pack_into(">I", content, at + (20 if kind == "tkhd" else 16), number)
        return place / "clip.mp4", bytes(content), f"{kind} of an MP4 lies ({number}, {side})"
    content = bytearray((media / f"clip.{kind}").read_bytes())
    if kind == "png":
        struct.pack_into(">II", content, 16, side, side)
        struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    elif kind == "gif":
        struct.pack_into("<HH", content, 6, min(side, 65535), min(side, 65535))
    elif kind == "bmp":
        struct.pack_into("<ii", content, 18, side, side)
    elif kind == "jpg":
        at = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
        struct.pack_into(">HH", content, at + 5, side, side)
    elif kind == "avi":
        struct.pack_into("<I", content, content.index(b"avih") + 24, number)
        struct.pack_into("<I", content, content.index(b"strh") + 40, number)
    elif kind == "tif":
        content = bytearray(content.replace(struct.pack("<HHI", 256, 3, 1), b"", 0))
        at = content.find(struct.pack("<HH", 256, 3))
        if at >= 0:
            struct.pack_into("<H", content, at + 8, side)
    else:
        at = content.find(b"VP8 ")
        if at >= 0:
            struct.pack_into("<HH", content, at + 14, side & 0x3FFF, side & 0x3FFF)
    return place / f"clip.{kind}", bytes(content), f"a {kind} says {number} frames, {side} pixels"


def _playlist(target: Path, rng: Random) -> tuple[str, bytes]:
    """A text that makes FFmpeg open another file, or an address."""
    where = rng.choice((str(target), f"file:{target}", "http://127.0.0.1:9/a.mp4"))
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
    texts = {
        "an HLS playlist": f"{head}#EXTINF:1,\n{where}\n#EXT-X-ENDLIST\n",
        "a concat script": f"ffconcat version 1.0\nfile '{where}'\n",
        "an SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
                  "m=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "a DASH manifest": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
                           'type="static" mediaPresentationDuration="PT1S"><Period>'
                           '<AdaptationSet mimeType="video/mp4">'
                           f'<Representation id="1" bandwidth="1"><BaseURL>{where}</BaseURL>'
                           "</Representation></AdaptationSet></Period></MPD>",
        "an SVG": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{where}"/></svg>',
    }  # fmt: skip
    kind = rng.choice(sorted(texts))
    return f"{kind} that names {where.split(':')[0] if ':' in where else 'a file'}", texts[
        kind
    ].encode()


def _film(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    for suffix, codec in CODECS.items():
        film(folder / f"clip.{suffix}", "left", 7, codec=codec)
    rng: Any = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)) for _ in range(4)]
    for suffix in PICTURES:
        moving = {"save_all": True, "append_images": frames[1:]} if suffix == "gif" else {}
        frames[0].save(folder / f"clip.{suffix}", **moving)
