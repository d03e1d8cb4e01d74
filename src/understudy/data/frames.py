"""The frames of an open video in the order of showing, each at a time that is known and rises.

Times are those that the file tells, but for three kinds of files. AVI and ASF tell when a frame is
decoded, not when it is shown: a decoder gives one frame for each packet, as many packets late as it
reorders. A raw stream tells no times: its frames follow each other at its rate. Where the clock of
a file begins anew, as in streams joined byte by byte, what comes then follows what came before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import dropwhile
from pathlib import Path
from typing import cast

import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from understudy.data.media import TOO_MANY, DecodeError, check_size, faults_of
from understudy.data.packets import Shown, Stamp, period_of, shown, shown_late, stamp_of, time_base
from understudy.data.pixels import shown_size

OF_DECODING = frozenset({"avi", "asf"})
RAW = frozenset("h264 hevc vvc av1 obu mpegvideo m4v h263 mjpeg mpjpeg vc1".split())  # noqa: SIM905
DECODES_ANYTHING = frozenset({"mpeg4", "mpeg2video", "mpeg1video"})
"""Codecs whose decoders begin where there is no key frame, and give a grey mash."""


class Frames:
    """An iterator over the frames from where the file stands; `jump` moves it to a key frame."""

    def __init__(self, path: Path, container: InputContainer, stream: VideoStream) -> None:
        self._path, self._container, self._stream = path, container, stream
        self._period = period_of(stream)
        kind = container.format.name
        self._tells = "decoding" if kind in OF_DECODING else "nothing" if kind in RAW else "showing"
        # An AVI counts its chunks, those that it left out too.
        self._step = 1 if kind == "avi" else self._period
        self._late: int | None = None  # packets by which frames come late
        self._fed: list[Stamp] = []
        self._begin()

    def __iter__(self) -> Iterator[VideoFrame]:
        return self

    def __next__(self) -> VideoFrame:
        """The next frame; its `pts` is higher than that of the frame before. Raises DecodeError."""
        frame = next(self._frames)
        time, last = frame.pts, self._last
        if time is None:
            time = (self._stream.start_time or 0) if last is None else last + self._period
        elif self._shift:
            time += self._shift
        if last is not None and self._anew:
            self._shift += last + self._period - time
            time = last + self._period
        elif last is not None and time <= last:
            if time > last - self._period or self._tells == "decoding":  # rounded, or one wrong
                time = last + (self._step if time == last else 1)
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
        self._awaits_key = True

    def shown(self) -> tuple[Shown, Fraction]:
        """When all frames of the file are shown, of which one was taken; the last time in seconds
        of any of its streams. Reads the other packets, and decodes none of them."""
        assert self._last is not None, "a frame was taken"
        last_s = Fraction(0)
        with faults_of(self._path, "damaged video"), suppress(av.error.EOFError):
            for packet in self._container.demux():
                if packet.pts is not None and packet.time_base is not None:
                    last_s = max(last_s, packet.pts * packet.time_base)
                if packet.stream_index == self._stream.index and packet.size:
                    self._fed.append(stamp_of(packet))
        first, period = self._last, self._period
        if self._tells == "showing":
            return shown(self._fed, first, period), last_s
        if self._tells == "decoding":
            return shown_late(self._fed, first, self._step, self._late or 0), last_s
        frames = list(dropwhile(lambda stamp: not stamp.is_key, self._fed))
        return Shown([first + number * period for number in range(len(frames) or 1)]), last_s

    def _begin(self) -> None:
        self._last: int | None = None
        self._shift, self._anew = 0, False
        self._awaits_key = self._stream.codec_context.name in DECODES_ANYTHING
        self._frames: Iterator[VideoFrame] = self._decoded()

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
                    if last_dts is not None and dts < last_dts and self._tells == "showing":
                        # Frames before and after have nothing in common, and none may be lost.
                        yield from self._checked(codec.decode(None))
                        codec.flush_buffers()
                        self._anew, self._awaits_key = True, codec.name in DECODES_ANYTHING
                    last_dts = dts
                if self._last is None and packet.size:
                    self._fed.append(stamp_of(packet))
                for frame in self._checked(cast("Packet[VideoStream]", packet).decode()):
                    if self._tells != "showing":
                        self._retime(frame, dts, fed)
                    self._awaits_key = self._awaits_key and not frame.key_frame
                    if not self._awaits_key:
                        yield frame
                fed += 1

    def _checked(self, frames: list[VideoFrame]) -> list[VideoFrame]:
        for frame in frames:
            check_size(self._path, *shown_size(frame, self._stream.sample_aspect_ratio))
        return frames

    def _retime(self, frame: VideoFrame, dts: int | None, fed: int) -> None:
        """A frame that came out when a packet went in; dts is None when the file had ended."""
        frame.pts = None
        if self._tells == "nothing":
            rate = self._stream.codec_context.framerate  # of the codec, which is known by now
            self._period = round(1 / (rate * time_base(self._stream))) if rate else self._period
        elif dts is not None:
            self._late = fed if self._late is None else self._late
            frame.pts = dts - self._late * self._step
