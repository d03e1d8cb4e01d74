"""A video file opened by FFmpeg.

It is given bytes and no name, since names mean things to it (`x:` a protocol, `%03d` a row of
files), and no way to open anything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from understudy.data.media import MAX_PIXELS, DecodeError, check_size, faults_of, open_file

FORMATS = (
    "mov,matroska,avi,mpegts,mpeg,asf,flv,live_flv,ogg,gif,swf,mxf,dv,rm,nut,ivf,wtv,dhav,apng,"
    "mpegvideo,m4v,h263,h264,hevc,vvc,av1,obu,vc1,mjpeg,mpjpeg,yuv4mpegpipe,"
    "mp3,wav,aac,flac"  # only to say that it is only audio
)
"""Demuxers that read one file. None that reads a playlist (hls, concat, dash, sdp, imf), or other
files beside it (image2, mlv, vobsub): a file that only names others would have them opened."""
OPTIONS = {
    "format_whitelist": FORMATS,
    "protocol_whitelist": "none",
    "max_pixels": str(MAX_PIXELS),  # of the decoder, should frames be larger than the header says
}


@contextmanager
def open_container(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A video file and its first stream of pictures. Raises DecodeError, also for whatever is
    raised while it is open."""
    with open_file(path) as file, faults_of(path, "no readable video"):
        # Too few pictures for FFmpeg to be sure that it is a row of them.
        format = "mjpeg" if file.read(3) == b"\xff\xd8\xff" else None
        file.seek(0)
        try:
            opened = av.open(file, format=format, options=OPTIONS, metadata_errors="replace")
        except av.error.ArgumentError as error:  # FFmpeg knows it, and it is none of FORMATS
            raise DecodeError(path, "neither a picture nor a video of a known kind") from error
        with cast(InputContainer, opened) as container:
            yield container, _video_stream(path, container)


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:  # the cover of a song
            codec = stream.codec_context
            if codec is None:
                raise DecodeError(path, "its codec is none that is known here")
            if codec.width and codec.height:
                check_size(path, codec.width, codec.height)
            codec.options = OPTIONS
            # Loaders have processes of their own; threads would only delay the first frame.
            codec.thread_count = 1
            return stream
    raise DecodeError(path, "it holds no video stream" + (", only audio" * bool(container.streams)))
