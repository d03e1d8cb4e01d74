"""A disk without room, or that may not be written: one message, nothing left, and mended after.

Where it may, the campaign mounts a small tmpfs of its own that nobody else sees, as root or in a
user namespace. Elsewhere a limit on the size of files stands in for the full disk, and read-only
disks are left out.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from campaigns.forked import Child, Ended, Limits, run
from campaigns.jobs import (
    BENCH,
    EVALUATE,
    EXPORT,
    REPLACE,
    REPORT,
    STAGE,
    STORE,
    TRAIN,
    Job,
    Undisturbed,
    look,
    prepare,
    shape,
)
from campaigns.kills import Kills
from campaigns.outcome import Row, message_of, of_call

JOBS = (TRAIN, STORE, EVALUATE, EXPORT, REPLACE, STAGE, REPORT, BENCH)

_NEW_MOUNTS, _NEW_USER = 0x20000, 0x10000000
_READ_ONLY, _REMOUNT, _RECURSIVE, _PRIVATE = 1, 32, 0x4000, 1 << 18
_libc = ctypes.CDLL(None, use_errno=True)


def enter_own_mounts() -> str:
    """Leave the mounts of the machine for a copy. What full disks are from now on: "tmpfs", or
    "file size" where nothing may be mounted. Call it before there are threads."""
    user, group = os.getuid(), os.getgid()
    if os.geteuid() == 0:
        inside = _libc.unshare(_NEW_MOUNTS) == 0
    else:
        inside = _libc.unshare(_NEW_USER | _NEW_MOUNTS) == 0
        if inside:
            with contextlib.suppress(OSError):
                Path("/proc/self/setgroups").write_text("deny", encoding="utf-8")
                Path("/proc/self/uid_map").write_text(f"0 {user} 1", encoding="utf-8")
                Path("/proc/self/gid_map").write_text(f"0 {group} 1", encoding="utf-8")
    if not inside or _libc.mount(None, b"/", None, _RECURSIVE | _PRIVATE, None) != 0:
        return "file size"
    return "tmpfs"


def full(case: int, job: Job, kills: Kills, by: str) -> Row:
    """A disk with room for a part of what the job writes; then one with enough."""
    rng = random.Random(f"{kills.seed} full {case}")
    expected = kills.expected(job)
    place = kills.folder / f"full-{case}"
    most = max(expected.kilobytes, kills.expected(EXPORT).kilobytes if job is REPLACE else 4)
    room = rng.randint(0, most - 4) if case % 3 else 0
    with _disk(place, by) as disk:
        prepare(job, kills.workshop, disk)
        before = shape(disk)
        if by == "tmpfs":
            _remount(place, kilobytes=_used_kilobytes(place) + room)
            ended = run(job.words(disk), disk, log=kills.folder)
        else:
            limits = Limits(file_bytes=1024 * room)
            ended = run(job.words(disk), disk, limits=limits, log=kills.folder)
        outcome, where = of_call(ended)
        if outcome == "refused":
            outcome, where = _of_refused(job, disk, before)
        if by == "tmpfs":
            _remount(place, kilobytes=_ROOM)
        if outcome in ("right", "refused"):
            outcome, where = _mended(job, disk, outcome, expected, kills.folder)
    return _row(
        case, "full disk", job, f"{room} of {most} kB of room ({by})", outcome, where, ended
    )


def filled(case: int, job: Job, kills: Kills) -> Row:
    """A disk that somebody else fills while the job is at work; then one with room."""
    rng = random.Random(f"{kills.seed} filled {case}")
    expected = kills.expected(job)
    place = kills.folder / f"filled-{case}"
    after = rng.randint(1, expected.changes - 1)
    with _disk(place, "tmpfs") as disk:
        prepare(job, kills.workshop, disk)
        before = shape(disk)
        child = Child(job.words(disk), disk, log=kills.folder)
        while len(child.notes()) < after and child.running():
            time.sleep(0.001)
        with contextlib.suppress(OSError), (place / "filler").open("wb", 0) as file:
            while True:
                file.write(bytes(4096))
        ended = child.wait()
        (place / "filler").unlink()
        outcome, where = of_call(ended)
        if outcome == "refused":
            outcome, where = _of_refused(job, disk, before)
        if outcome in ("right", "refused"):
            outcome, where = _mended(job, disk, outcome, expected, kills.folder)
    what = f"filled by others after {after} of {expected.changes} changes"
    return _row(case, "full disk", job, what, outcome, where, ended)


def read_only(case: int, job: Job, kills: Kills) -> Row:
    """A disk that may not be written; the same once it may."""
    expected = kills.expected(job)
    place = kills.folder / f"read-only-{case}"
    with _disk(place, "tmpfs") as disk:
        prepare(job, kills.workshop, disk)
        _remount(place, read_only=True)
        ended = run(job.words(disk), disk, log=kills.folder)
        outcome, where = of_call(ended)
        _remount(place)
        if outcome in ("right", "refused"):
            outcome, where = _mended(job, disk, outcome, expected, kills.folder)
    return _row(case, "read-only disk", job, "may not be written", outcome, where, ended)


def _row(case: int, part: str, job: Job, what: str, outcome: str, where: str, ended: Ended) -> Row:
    message = message_of(ended) if outcome != "right" else ""
    return Row(case, part, job.name, what, outcome, where, message, round(ended.seconds, 2))


def _of_refused(job: Job, disk: Path, before: set[str]) -> tuple[str, str]:
    """Nothing is left of a refused call but epochs, which are worth keeping, and a store."""
    if job is REPLACE and not (disk / "runs/student/exports/onnx/contract.json").is_file():
        return "lost", "the earlier artifact is gone"
    if (disk / "runs/new/history.json").exists():
        return "refused", ""
    left = sorted(
        name
        for name in shape(disk) - before
        if "teacher-store" not in name and not (job is BENCH and _is_whole(disk / name))
    )
    partial = [file.name for file in disk.rglob("*.partial")]
    if left or partial:
        return "left", f"refused, and left behind: {', '.join((left + partial)[:5])}"
    return "refused", ""


def _is_whole(file: Path) -> bool:
    """Figures that were measured are worth keeping; half a file is not."""
    text = file.read_text(encoding="utf-8").rstrip(" ")
    return text.endswith({".json": "]\n", ".svg": "</svg>\n", ".csv": "\n"}.get(file.suffix, "\n"))


def _mended(
    job: Job, disk: Path, outcome: str, expected: Undisturbed, log: Path
) -> tuple[str, str]:
    """What is found when the call is made again with room, where it was refused."""
    if outcome == "refused":
        again = run(job.again(disk), disk, log=log)
        if again.code != 0:
            return "lost", f"with room it fails: {message_of(again)[:150]}"
    found, where = look(job, disk, expected)
    return (outcome, "") if found == "right" else (found, where)


_ROOM = 65536


@contextmanager
def _disk(place: Path, by: str) -> Iterator[Path]:
    """A folder on a disk of its own; a folder like any other where there can be none."""
    place.mkdir()
    if by == "tmpfs":
        _mount(place, 0, f"size={_ROOM}k")
    try:
        yield place / "disk"
    finally:
        if by == "tmpfs":
            _libc.umount2(os.fsencode(place), 2)
        shutil.rmtree(place)


def _mount(place: Path, flags: int, options: str) -> None:
    if _libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", flags, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"{place}: {os.strerror(ctypes.get_errno())}")


def _remount(place: Path, *, kilobytes: int = _ROOM, read_only: bool = False) -> None:
    _mount(place, _REMOUNT | (_READ_ONLY if read_only else 0), f"size={kilobytes}k")


def _used_kilobytes(place: Path) -> int:
    found = os.statvfs(place)
    return (found.f_blocks - found.f_bfree) * found.f_frsize // 1024
