"""Where the frames of a stream come from: a video file or a camera, one frame at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from torch import Tensor

from understudy.data.decode import probe, stream_frames
from understudy.data.pixels import to_rgb
from understudy.perform.camera import Camera
from understudy.perform.newest import Newest


class TimedFrame(NamedTuple):
    """A frame of a stream.

    time_s: since the first frame. pixels: (3, H, W) uint8 RGB. fresh: nothing that came before
    belongs to it.
    """

    time_s: float
    pixels: Tensor
    fresh: bool


class Source(Protocol):
    """An iterable of `TimedFrame`. live: frames come at their own pace and are waited for.

    dropped: frames that were due while nobody took them; damaged: that could not be decoded.
    """

    @property
    def live(self) -> bool: ...

    @property
    def dropped(self) -> int: ...

    @property
    def damaged(self) -> int: ...

    def __iter__(self) -> Iterator[TimedFrame]: ...

    def close(self) -> None: ...


class FileSource:
    """The frames of a video file, `step_s` seconds apart; None: every frame.

    What comes after a pause begins afresh. Iterating raises DecodeError where it cannot be read.
    """

    live = False
    dropped = damaged = 0

    def __init__(self, path: Path, step_s: float | None) -> None:
        self._path, self._step_s = path, step_s

    def __iter__(self) -> Iterator[TimedFrame]:
        begins_s = [0.0, *(end_s for _, end_s in probe(self._path).pauses_s)]
        for time_s, pixels in stream_frames(self._path, self._step_s):
            begun = bisect_right(begins_s, time_s + 1e-6)
            yield TimedFrame(time_s, pixels, begun > 0)
            del begins_s[:begun]

    def close(self) -> None:
        """Nothing is held between frames."""


class CameraSource:
    """The newest frames of a camera, `step_s` seconds apart; None: as fast as they come.

    A lost camera is tried again for `reconnect_s` seconds; `note` takes a sentence about it.
    Iterating raises LostError when it cannot be opened or is lost for good.
    """

    live = True

    def __init__(
        self,
        camera: Camera,
        step_s: float | None,
        *,
        reconnect_s: float = 10.0,
        note: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self._newest: Newest[VideoFrame] = Newest(
            camera.frames, step_s, reconnect_s=reconnect_s, note=note
        )

    @property
    def dropped(self) -> int:
        return self._newest.dropped

    @property
    def damaged(self) -> int:
        return self._newest.damaged

    def __iter__(self) -> Iterator[TimedFrame]:
        reformatter = VideoReformatter()
        for time_s, frame, fresh in self._newest:
            # Only frames that are taken are converted; the others cost no more than decoding.
            yield TimedFrame(time_s, to_rgb(frame, reformatter), fresh)

    def close(self) -> None:
        """Let go of the camera."""
        self._newest.close()
