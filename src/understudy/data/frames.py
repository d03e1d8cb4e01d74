"""The frames of an open video in the order of showing, each at a time that is known and rises.

Times are those that the file tells, but for three kinds of files. An AVI numbers its chunks in the
order of decoding and tells no time of showing: a decoder gives one frame for each chunk, as many
chunks late as it reorders. A raw stream tells no times: its frames follow each other at its rate.
Where the clock of a file begins anew, as in streams joined byte by byte, what comes then follows
what came before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import dropwhile
from pathlib import Path
from typing import cast

import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from understudy.data.extent import period_of
from understudy.data.media import TOO_MANY, DecodeError, check_size, faults_of


class Frames:
    """An iterator over the frames from where the file stands; `jump` moves it to a key frame."""

    def __init__(self, path: Path, container: InputContainer, stream: VideoStream) -> None:
        self._path, self._container, self._stream = path, container, stream
        self._period = period_of(stream)
        self._numbered = container.format.name == "avi"
        self._late: int | None = None  # chunks by which frames of an AVI come late
        self._begin()

    def __iter__(self) -> Iterator[VideoFrame]:
        return self

    def __next__(self) -> VideoFrame:
        """The next frame; its `pts` is higher than that of the frame before. Raises DecodeError."""
        frame = next(self._frames)
        time, last = frame.pts, self._last
        if time is None:
            time = (self._stream.start_time or 0) if last is None else last + self._period
        time += self._shift
        if last is not None and time <= last:
            if self._anew:
                self._shift += last + self._period - time
                time = last + self._period
            elif time == last or self._numbered:  # rounded by its container to the same tick
                time = last + 1
            else:
                raise DecodeError(self._path, "the times of its frames run backwards")
        self._anew = False
        self._last = frame.pts = time
        return frame

    def jump(self, time: int) -> None:
        """Go on from a key frame, by its time in the index. It may be a later one that comes."""
        self._container.seek(time, stream=self._stream, backward=True, any_frame=False)
        self._begin()
        # What is shown before the key frame but decoded after it leans on frames not decoded.
        self._frames = dropwhile(lambda frame: not frame.key_frame, self._frames)

    def _begin(self) -> None:
        self._last: int | None = None
        self._shift, self._anew = 0, False
        self._frames = self._decoded()

    def _decoded(self) -> Iterator[VideoFrame]:
        codec = self._stream.codec_context
        # FFmpeg forgets a size that is over `max_pixels`.
        sized = codec.width and codec.height
        fault = "damaged video" if sized else f"its size cannot be read, or it has {TOO_MANY}"
        fed, last_dts = 0, None
        with faults_of(self._path, fault), suppress(av.error.EOFError):
            for packet in self._container.demux(self._stream):
                dts = packet.dts
                if dts is not None:
                    if last_dts is not None and dts < last_dts and not self._numbered:
                        # Frames before and after have nothing in common, and none may be lost.
                        yield from self._checked(codec.decode(None))
                        codec.flush_buffers()
                        self._anew = True
                    last_dts = dts
                for frame in self._checked(cast("Packet[VideoStream]", packet).decode()):
                    if self._numbered:
                        self._number(frame, dts, fed)
                    yield frame
                fed += 1

    def _checked(self, frames: list[VideoFrame]) -> list[VideoFrame]:
        for frame in frames:
            check_size(self._path, frame.width, frame.height)
        return frames

    def _number(self, frame: VideoFrame, chunk: int | None, fed: int) -> None:
        """A frame of an AVI that came out when a chunk went in; None: when the file had ended."""
        if self._late is None and chunk is not None:
            self._late = fed
        frame.pts = None if chunk is None or self._late is None else chunk - self._late
