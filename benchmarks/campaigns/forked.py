"""A call of the command line in a forked child, under limits: a second of start-up is paid once.

The parent has imported the package and computes nothing itself, so that no thread of a library is
lost in a fork. A child has a process group of its own, its output in files, and limits of wall
time, processor time and memory. It can be killed after so many seconds, or just before its n-th
change of the file system. Every connection that Python code opens is noted.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import importlib
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

IMPORTED = (
    "torch", "torch.onnx", "onnx", "onnxscript", "onnxruntime", "accelerate", "av", "pillow_heif",
    "PIL.Image", "pyarrow.csv", "pyarrow.parquet", "matplotlib.pyplot", "jinja2", "scipy.stats",
    "sklearn.linear_model", "statsmodels.stats.proportion", "safetensors.torch", "filelock",
    "torch.export", "torch.onnx._internal.exporter._core", "torchvision.transforms.v2", "timm",
    "understudy.cli", "understudy.teach.train", "understudy.ship.hub", "understudy.ship.int8.auto",
    "understudy.study.artifact_report", "understudy.perform.stream_command",
    "understudy.perform.predict_command", "understudy.judge.compare", "understudy.study.pareto",
    "understudy.ship.bench.lineup", "understudy.data.stage", "understudy.data.sources.folder",
)  # fmt: skip
"""Imported once, before the first fork."""

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
            "os.truncate", "shutil.rmtree"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """wall_s: seconds after which a child hangs; idle_s: those after which it does when it has not
    computed at all. processor_s, memory_mb: beyond what the parent had; None: not limited."""

    wall_s: float = 600.0
    idle_s: float = 30.0
    processor_s: int | None = None
    memory_mb: int | None = None
    file_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Kill:
    """When a child is killed: after seconds, or before its n-th change of the file system."""

    after_s: float | None = None
    before_change: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended. code: its exit status, None where a signal ended it."""

    code: int | None
    signal: int | None
    out: str
    err: str
    seconds: float
    grown_mb: float
    hung: bool
    changes: int
    connections: list[str] = field(default_factory=list)


def import_all() -> None:
    """What every child would import anyway."""
    import torch

    torch.set_num_threads(1)
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a child that collects garbage would copy all of it


def run(
    words: Sequence[str],
    folder: Path,
    *,
    limits: Limits = Limits(),
    kill: Kill = Kill(),
    log: Path | None = None,
) -> Ended:
    """Call `understudy WORDS` in a child whose working directory is `folder`. log: where its output
    is kept meanwhile, by default there."""
    return Child(words, folder, limits=limits, kill=kill, log=log).wait()


class Child:
    """A call that goes on beside its parent, until `wait`. Arguments as for `run`."""

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        *,
        limits: Limits = Limits(),
        kill: Kill = Kill(),
        log: Path | None = None,
    ) -> None:
        self.limits, self.kill = limits, kill
        log = log or folder
        stem = f".child-{time.monotonic_ns()}"
        self._files = {kind: log / f"{stem}.{kind}" for kind in ("out", "err", "notes")}
        self.began = time.monotonic()
        self.process = os.fork()
        if self.process == 0:
            self._become(words, folder)
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(self.process, self.process)  # whichever of both is first

    def running(self) -> bool:
        return os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def notes(self) -> list[str]:
        """What the child has noted so far: a line for each change and connection."""
        with contextlib.suppress(OSError):
            return self._files["notes"].read_text(encoding="utf-8", errors="replace").splitlines()
        return []

    def wait(self) -> Ended:
        hung, deadline = False, self._deadline()
        killed_at = None if self.kill.after_s is None else self.began + self.kill.after_s
        busy, seen = 0.0, self.began
        while self.running():
            now = time.monotonic()
            if now > seen + self.limits.idle_s / 4:
                busy, seen, idle = _busy_s(self.process), now, _busy_s(self.process) == busy
                deadline = min(deadline, now + self.limits.idle_s) if idle else self._deadline()
            if killed_at is not None and now >= killed_at:
                self._signal(signal.SIGKILL)
                break
            if now >= deadline:
                hung = True
                self._signal(signal.SIGUSR1)  # says where it is
                time.sleep(0.2)
                self._signal(signal.SIGKILL)
                break
            time.sleep(0.004)
        _, status, used = os.wait4(self.process, 0)
        self._signal(signal.SIGKILL)  # what it left running
        seconds = time.monotonic() - self.began
        texts = {kind: _read(path) for kind, path in self._files.items()}
        for path in self._files.values():
            path.unlink(missing_ok=True)
        notes = texts["notes"].splitlines()
        mine = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        return Ended(
            code=None if ended_by is not None else os.waitstatus_to_exitcode(status),
            signal=ended_by,
            out=texts["out"],
            err=texts["err"],
            seconds=seconds,
            grown_mb=round(max(0, used.ru_maxrss - mine) / 1024, 1),
            hung=hung or ended_by == signal.SIGXCPU,
            changes=sum(note.startswith("change") for note in notes),
            connections=[note for note in notes if note.startswith("connect")],
        )

    def _deadline(self) -> float:
        return self.began + self.limits.wall_s

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process, number)

    def _become(self, words: Sequence[str], folder: Path) -> NoReturn:
        """The child from here on: limits, output, the call, the end."""
        code = 70
        try:
            os.setpgid(0, 0)
            for stream, kind in ((1, "out"), (2, "err")):
                file = os.open(self._files[kind], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(file, stream)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            # Where pytest has replaced them, and unbuffered: what was said before a kill counts.
            sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False,  # noqa: SIM115
                              buffering=1)  # fmt: skip
            faulthandler.register(signal.SIGUSR1, file=2)
            faulthandler.register(signal.SIGXCPU, file=2, chain=True)
            os.chdir(folder)
            self._watch()
            _limit(self.limits)
            code = call(words)
        except BaseException:
            import traceback

            traceback.print_exc()
            code = 1
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _watch(self) -> None:
        """Note changes of the file system and connections; die before the change that was named."""
        notes = os.open(self._files["notes"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        changes = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal changes
            # A forkserver of multiprocessing is asked through a socket in a folder of this name.
            own = "/pymp-" in str(arguments[-1]) if event == "socket.connect" else False
            if event in ("socket.connect", "socket.getaddrinfo") and not own:
                os.write(notes, f"connect {event} {arguments[-1]!r}\n".encode())
            elif event in _CHANGES or (event == "open" and _writes(arguments)):
                changes += 1
                # Said before it happens, and no more than that.
                os.write(notes, f"change {event} {arguments[0]!r:.200}\n".encode())
                if changes == self.kill.before_change:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)


def call(words: Sequence[str]) -> int:
    """The command line in this process; its exit status."""
    from understudy.cli import main

    sys.argv = ["understudy", *words]
    try:
        main()
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    return 0


def _limit(limits: Limits) -> None:
    if limits.memory_mb is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        size = pages * resource.getpagesize() + limits.memory_mb * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    if limits.processor_s is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (limits.processor_s, limits.processor_s + 2))
    if limits.file_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails with EFBIG
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _busy_s(process: int) -> float:
    """Seconds of processor that a process has had."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return -1.0


def _writes(arguments: tuple[Any, ...]) -> bool:
    path, mode, flags = arguments
    if isinstance(path, int) or str(path).startswith(("/dev/", "/proc/")):
        return False
    return any(c in mode for c in "wax+") if mode else bool(flags & (os.O_WRONLY | os.O_RDWR))


def _read(path: Path) -> str:
    with contextlib.suppress(OSError):
        # What is more is no message any more.
        return path.read_bytes()[:2_000_000].decode("utf-8", errors="backslashreplace")
    return ""
