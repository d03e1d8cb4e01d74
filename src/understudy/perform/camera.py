"""Cameras of this machine and live addresses, opened by PyAV.

--camera 0                      the first camera: /dev/video0 on Linux
--camera /dev/video2            a device by its path
--camera rtsp://host/stream     anything live that FFmpeg opens by its address
--camera lavfi:testsrc,realtime a picture that FFmpeg draws, to rehearse without a camera
"""

from __future__ import annotations

import shlex
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import av
import av.error
from av.container import InputContainer
from av.video.frame import VideoFrame

from understudy.errors import UserError
from understudy.perform.newest import LostError

OPEN_S, READ_S = 10.0, 5.0
"""Seconds after which FFmpeg gives up an address that does not answer, or falls silent."""
_SYSTEMS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
"""FFmpeg's name of the cameras of each system, as `sys.platform` calls it."""


@dataclass(frozen=True, slots=True)
class Camera:
    """What FFmpeg opens: `file` in `format` (None: it finds out) with `options`."""

    file: str
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)

    def frames(self) -> Iterator[VideoFrame | None]:
        """Connect, and give frames as they are decoded; None for one that was damaged.

        Ends where a recording ends. Raises LostError when a connection fails or a live one ends.
        """
        try:
            with self._connect() as container:
                if not container.streams.video:
                    raise LostError("it has no video")
                yield from _decode(container)
                if self.format != "lavfi" and container.duration is None:
                    raise LostError("it ended")  # what has a length may end, a camera may not
        except av.error.FFmpegError as error:
            raise LostError(error.strerror or str(error)) from error

    def _connect(self) -> InputContainer:
        return cast(
            InputContainer,
            av.open(self.file, format=self.format, options=self.options, timeout=(OPEN_S, READ_S)),
        )


def _decode(container: InputContainer) -> Iterator[VideoFrame | None]:
    stream = container.streams.video[0]
    while True:
        try:
            for packet in container.demux(stream):
                try:
                    yield from packet.decode()
                except av.error.InvalidDataError:
                    yield None
            return
        except av.error.BlockingIOError:  # avfoundation, when no frame is ready yet
            time.sleep(0.005)


def find_camera(name: str) -> Camera:
    """The camera that a user means by a number, a device path or an address.

    Raises UserError, naming the cameras there are, if there is none like that.
    """
    system = _SYSTEMS.get(sys.platform)
    if name.startswith("lavfi:"):
        return Camera(name.removeprefix("lavfi:"), "lavfi")
    if "://" in name:
        return Camera(name, options={"rtsp_transport": "tcp"} if name[:4] == "rtsp" else {})
    if Path(name).is_file():
        raise UserError(
            f"{name} is a file, no camera. Read it with: understudy stream RUN {shlex.quote(name)}"
        )
    if system is None:
        raise UserError(f"Cameras of {sys.platform} are not known here. Give an address.")
    there = list_cameras()
    known = f" Cameras here: {', '.join(there)}." if there else " This machine shows no camera."
    if name.isdecimal():
        number = int(name)
        if system == "avfoundation":  # it takes numbers, and most cameras only this rate
            return Camera(name, system, {"framerate": "30"})
        if system == "dshow":
            if number < len(there):
                return Camera(f"video={there[number]}", system)
        elif _is_device(Path(f"/dev/video{number}")):
            return Camera(f"/dev/video{number}", system)
        raise UserError(f"There is no camera {name}.{known}")
    if name in there or _is_device(Path(name)):
        return Camera(f"video={name}" if system == "dshow" else name, system)
    raise UserError(
        f"--camera {name}: give a number such as 0, a device such as /dev/video0, or an address "
        f"such as rtsp://host/stream.{known}"
    )


def list_cameras() -> list[str]:
    """The cameras that this machine shows, as `find_camera` takes them."""
    if sys.platform == "linux":
        return [str(path) for path in sorted(Path("/dev").glob("video*")) if _is_device(path)]
    try:
        found = av.enumerate_input_devices(_SYSTEMS[sys.platform])
    except (KeyError, av.error.FFmpegError, ValueError, NotImplementedError):
        return []
    return [device.name for device in found if "video" in device.media_types]


def _is_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False
