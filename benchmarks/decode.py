"""How fast clips are sampled, decoded and resized, beside other decoders; and read from a pack.

    python benchmarks/decode.py
    python benchmarks/decode.py --codecs h264 mpeg4 --rounds 5

A film is written in every codec that PyAV encodes here. Who takes part gives the same frames of it
(8 uniform ones, 16 dense ones from the middle), made small by the same function: Understudy, PyAV
without anything around it, torchcodec, decord, and Understudy from a pack, raw and JPEG. Each has
one thread. Rounds are interleaved, and time is processor time of the whole process, so that a busy
machine disturbs little. `of_best`: the time of the best of the other decoders, as a share of the
time that is needed here, paired by round; above 1 nobody is faster. `same`: frames whose pixels are
those of Understudy.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from torch import Tensor

from dated import dated_path, write_rows
from understudy.data.decode import opened, read_timeline, read_views
from understudy.data.fingerprint import fingerprint
from understudy.data.manifest import Manifest
from understudy.data.pack import making
from understudy.data.pack.opened import Pack
from understudy.data.pack.shards import Settings
from understudy.data.sampling import sample_times
from understudy.data.transforms import resize_short_side
from understudy.record import Record
from understudy.ship.bench import where_and_when

CODECS = {
    "mpeg4": ("avi", "mpeg4", {}),
    "mpeg2": ("mpg", "mpeg2video", {}),
    "mjpeg": ("avi", "mjpeg", {}),
    "h264": ("mp4", "libx264", {}),
    "hevc": ("mp4", "libx265", {"x265-params": "log-level=none"}),
    "vp8": ("webm", "libvpx", {"deadline": "realtime", "cpu-used": "8"}),
    "vp9": ("webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
    "av1": ("mp4", "libsvtav1", {"preset": "12"}),
}
SAMPLINGS = {"8 uniform": ("uniform", 8, None), "16 dense": ("dense", 16, 0.08)}
OTHERS = ("pyav", "torchcodec", "decord")
RESAMPLES = 2000

Reader = Callable[[Path, list[float]], Tensor]
"""A file and times -> (T, 3, H, W) uint8, the short side at its length."""


def main() -> None:
    options = parse_arguments()
    if "FFMPEG_OF_PYAV" not in os.environ:
        raise SystemExit(again_with_ffmpeg())
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for codec in options.codecs:
            path = film(Path(folder), codec, options)
            if path is None:
                print(f"{codec}: cannot be encoded here")
                continue
            packs = {
                name: pack(path, Path(folder) / f"{codec}-{name}", options.side, quality)
                for name, quality in (("pack", None), ("jpeg pack", 90))
            }
            for sampling in SAMPLINGS:
                rows += measure(path, codec, sampling, packs, options)
    print(f"\nWritten to {write(rows, options)}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--codecs", nargs="+", choices=CODECS, default=list(CODECS))
    parser.add_argument("--width", type=int, default=480)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--side", type=int, default=256, help="short side of the frames wanted")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder for the CSV")
    return parser.parse_args()


def again_with_ffmpeg() -> int:
    """This script once more, where torchcodec finds the FFmpeg that PyAV brings along, by the names
    that it looks for. It brings none itself, and is not there where the system has none."""
    with tempfile.TemporaryDirectory() as folder:
        for library in Path(av.__file__).parents[1].glob("av.libs/lib[as][vw]*.so.*"):
            name, number = library.name.split("-")[0], library.name.split(".so.")[1].split(".")[0]
            (Path(folder) / f"{name}.so.{number}").symlink_to(library)
        environment = os.environ | {"FFMPEG_OF_PYAV": "1", "LD_LIBRARY_PATH": folder}
        command = [sys.executable, *sys.argv]
        return subprocess.run(command, env=environment, check=False).returncode


def film(folder: Path, codec: str, options: argparse.Namespace) -> Path | None:
    """A texture that moves, and something before it; 25 frames a second, key frames as the encoder
    sets them."""
    suffix, encoder, settings = CODECS[codec]
    path = folder / f"{codec}.{suffix}"
    try:
        av.Codec(encoder, "w")
    except ValueError:  # that this FFmpeg has none
        return None
    width, height, count = options.width, options.height, round(options.seconds * 25)
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.integers(0, 256, (1, 3, 30, 40)).astype(np.float32))
    wide = torch.nn.functional.interpolate(coarse, (2 * height, 2 * width), mode="bicubic")
    wide = (wide + torch.from_numpy(rng.normal(0, 4, wide.shape))).clamp(0, 255)
    texture = wide[0].permute(1, 2, 0).byte().numpy()
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=25, options=settings)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 1_500_000
        stream.time_base = Fraction(1, 25)
        for number in range(count):
            x, y = (np.array([width, height]) * number // (2 * count)).tolist()
            picture = texture[y : y + height, x : x + width].copy()
            place = number * (width - 60) // count
            picture[100:160, place : place + 60] = rng.integers(0, 256, (60, 60, 3))
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
                container.mux(packet)
        container.mux(stream.encode(None))
    return path


def pack(path: Path, folder: Path, side: int, quality: int | None) -> Reader:
    """A reader of the film from a pack of it."""
    manifest = Manifest.from_records([Record(path.name, "a", "train", "a")], path.parent)
    settings = Settings(short_side=side, jpeg_quality=quality)
    made = making.make_pack(manifest, folder, settings, processes=1)
    assert made.clips == 1, made.faults
    opened, name = Pack(folder), fingerprint(path)
    assert name is not None

    def read(path: Path, times_s: list[float]) -> Tensor:
        del path
        frames = opened.frames_at(name, times_s)
        assert frames is not None
        return torch.stack(frames)

    return read


def ours(path: Path, times_s: list[float], side: int) -> Tensor:
    """All that the loader does: the header, the timeline, the frames."""
    with opened(path) as clip:
        read_timeline(clip)
        return read_views(clip, [(times_s, side)])[0]


def by_pyav(path: Path, times_s: list[float], side: int) -> Tensor:
    """Every frame up to the last one that is wanted, and those that are converted."""
    numbers = numbers_of(times_s)
    frames = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for number, frame in enumerate(container.decode(stream)):
            if number in numbers:
                frames.append(torch.from_numpy(frame.to_ndarray(format="rgb24")))
            if number >= max(numbers):
                break
    return small([frame.permute(2, 0, 1).contiguous() for frame in frames], side)


def by_torchcodec(path: Path, times_s: list[float], side: int) -> Tensor:
    # By name: it is no dependency, and where it is missing it is left out.
    decoders = import_module("torchcodec.decoders")
    decoder = decoders.VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="exact")
    return small(list(decoder.get_frames_at(numbers_of(times_s)).data), side)


def by_decord(path: Path, times_s: list[float], side: int) -> Tensor:
    decord = import_module("decord")
    reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
    pixels = torch.from_numpy(reader.get_batch(numbers_of(times_s)).asnumpy())
    return small([frame.permute(2, 0, 1).contiguous() for frame in pixels], side)


def numbers_of(times_s: Sequence[float]) -> list[int]:
    return [int(time_s * 25 + 1e-6) for time_s in times_s]


def small(frames: Sequence[Tensor], side: int) -> Tensor:
    return torch.stack([resize_short_side(frame, side) for frame in frames])


def measure(
    path: Path, codec: str, sampling: str, packs: dict[str, Reader], options: argparse.Namespace
) -> list[dict[str, Any]]:
    method, count, stride_s = SAMPLINGS[sampling]
    timeline = read_timeline(path)
    times_s = sample_times(method, count, timeline, stride_s=stride_s)
    counted = [time_s - timeline.start_s for time_s in times_s]
    side = options.side
    readers: dict[str, Callable[[], Tensor]] = {
        "understudy": lambda: ours(path, times_s, side),
        "pyav": lambda: by_pyav(path, counted, side),
        "torchcodec": lambda: by_torchcodec(path, counted, side),
        "decord": lambda: by_decord(path, counted, side),
    }
    readers |= {name: lambda read=read: read(path, times_s) for name, read in packs.items()}
    expected = readers["understudy"]()
    rows, same, faults = [], {}, {}
    for name, read in list(readers.items()):
        try:
            found = read()
            same[name] = sum(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        except Exception as error:
            faults[name] = f"{type(error).__name__}: {error}".split("\n")[0][:200]
            del readers[name]
    spent: dict[str, list[float]] = {name: [] for name in readers}
    for number in range(options.rounds):
        names = list(readers)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            repeats = 5 if name.endswith("pack") else 1
            begun = time.process_time()
            for _ in range(repeats):
                readers[name]()
            spent[name].append((time.process_time() - begun) / repeats)
    seconds = {name: np.array(values) for name, values in spent.items()}
    best = min((name for name in OTHERS if name in seconds), key=lambda n: np.median(seconds[n]))
    for name in (*readers, *faults):
        row: dict[str, Any] = {"codec": codec, "sampling": sampling, "reader": name}
        if name in faults:
            rows.append(row | {"fault": faults[name]})
            continue
        row["cpu_ms"], row["low"], row["high"] = interval(1e3 * seconds[name])
        if name == "understudy":
            row["best"] = best
            row |= named_interval("of_best", seconds[best] / seconds[name])
        if name.endswith("pack"):
            row |= named_interval("times_faster", seconds["understudy"] / seconds[name])
        rows.append(row | {"same": f"{same[name]} of {len(expected)}"})
    for row in rows:
        print("  ".join(f"{key} {value:.3g}" if isinstance(value, float) else str(value)
                        for key, value in row.items()))  # fmt: skip
    return rows


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Median, with a 95% interval over rounds."""
    chosen = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(np.median(values[chosen], axis=1), [2.5, 97.5])
    return float(np.median(values)), float(low), float(high)


def named_interval(name: str, values: np.ndarray) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), interval(values), strict=True))


def write(rows: list[dict[str, Any]], options: argparse.Namespace) -> Path:
    context = where_and_when() | {
        "load": round(os.getloadavg()[0], 1),
        "rounds": options.rounds,
        "film": f"{options.width} x {options.height}, {options.seconds:g} s at 25 fps",
        "short_side": options.side,
    }
    path = dated_path("decode", options.out, context)
    write_rows(path, [row | context for row in rows])
    return path


if __name__ == "__main__":
    main()
