"""What stands in a CVAT XML file, element by element: of boxes, only where and when they are.

https://docs.cvat.ai/docs/dataset_management/formats/format-xml (version 1.1, of videos and images).
No document type is taken: entities that name other files, or that grow to gigabytes, need one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from understudy.data.sources.annotations.reading import MOST_XML_BYTES, blocks
from understudy.errors import UserError

DEEPEST, LONGEST = 50, 10_000
SHAPES = frozenset(
    {"box", "polygon", "polyline", "points", "cuboid", "ellipse", "mask", "skeleton"}
)


@dataclass(slots=True)
class Shape:
    """Something labelled in a frame: attributes by name. outside: it is not there any more."""

    label: str
    frame: int
    outside: bool = False
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Track:
    label: str
    task: str
    shapes: list[Shape] = field(default_factory=list)


@dataclass(slots=True)
class Image:
    """A picture, or a frame of a video."""

    name: str
    frame: int
    task: str
    tags: list[Shape] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)


@dataclass(slots=True)
class Task:
    """source: the video. step: frames from one that was shown to the next. stop: the last one."""

    name: str = ""
    source: str = ""
    is_video: bool = False
    step: int = 1
    stop: int | None = None


@dataclass(slots=True)
class Content:
    """tasks: by id; a job, and what is said of all, under ""."""

    tasks: dict[str, Task] = field(default_factory=dict)
    tracks: list[Track] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)


def read_xml(path: Path) -> Content:
    """Raises UserError for what is no CVAT XML of version 1."""
    target = _Target(path)
    parser = ElementTree.XMLParser(target=target)
    try:
        for block in blocks(path, MOST_XML_BYTES):
            parser.feed(block)
        parser.close()
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is no readable XML: {error}.") from error
    return target.content


class _Target:
    """Is told of every element as it comes."""

    def __init__(self, path: Path) -> None:
        self.content = Content()
        self._path = path
        self._stack: list[str] = []
        self._text = ""
        self._task, self._task_id = Task(), ""
        self._open: Shape | None = None
        self._attribute = ""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        del name, public, system
        raise UserError(
            f"{self._path} declares a document type, which no CVAT export does. Export it again."
        )

    def start(self, tag: str, found: dict[str, str]) -> None:
        if not self._stack and tag != "annotations":
            raise UserError(f"{self._path} is no CVAT XML: it begins with {tag[:50]!r}.")
        if len(self._stack) >= DEEPEST:
            raise UserError(f"{self._path} is no CVAT XML: it is nested {DEEPEST} deep.")
        parent = self._stack[-1] if self._stack else ""
        self._stack.append(tag)
        self._text = ""
        if "meta" in self._stack:
            if tag in ("task", "job"):
                self._task, self._task_id = Task(), ""
        elif tag == "track":
            task = found.get("task_id", "")
            self.content.tracks.append(Track(self._of(found, "label"), task))
        elif tag == "image":
            number = self._number(found, "id")
            name = self._of(found, "name")
            self.content.images.append(Image(name, number, found.get("task_id", "")))
        elif parent == "track" and tag in SHAPES:
            track = self.content.tracks[-1]
            outside = found.get("outside", "0") == "1"
            self._open = Shape(track.label, self._number(found, "frame"), outside)
            track.shapes.append(self._open)
        elif parent == "image" and (tag in SHAPES or tag == "tag"):
            image = self.content.images[-1]
            self._open = Shape(self._of(found, "label"), image.frame)
            (image.tags if tag == "tag" else image.shapes).append(self._open)
        elif tag == "attribute":
            self._attribute = found.get("name", "")

    def data(self, text: str) -> None:
        if len(self._text) < LONGEST:
            self._text += text

    def end(self, tag: str) -> None:
        self._stack.pop()
        parent = self._stack[-1] if self._stack else ""
        text = self._text.strip()
        if tag == "version" and parent == "annotations":
            if text.partition(".")[0] != "1":
                raise UserError(
                    f"{self._path} has version {text[:20]!r}; CVAT XML 1.x is read. Export as CVAT "
                    "for video 1.1 or CVAT for images 1.1."
                )
        elif "meta" in self._stack:
            self._meta(tag, parent, text)
        elif tag == "attribute" and self._open is not None:
            self._open.attributes[self._attribute] = text
        elif parent in ("track", "image"):
            self._open = None
        self._text = ""

    def close(self) -> None:
        pass

    def _meta(self, tag: str, parent: str, text: str) -> None:
        if tag in ("task", "job"):
            self.content.tasks[self._task_id] = self._task
            self.content.tasks.setdefault("", self._task)
        elif tag == "source" and parent == "meta":
            self.content.tasks.setdefault("", Task()).source = text
        elif parent not in ("task", "job"):
            return
        elif tag == "id":
            self._task_id = text
        elif tag == "name":
            self._task.name = text
        elif tag == "source":
            self._task.source = text
        elif tag == "mode":
            self._task.is_video = text == "interpolation"
        elif tag == "stop_frame" and text:
            self._task.stop = self._number({tag: text}, tag)
        elif tag == "frame_filter" and text:
            step = self._number({tag: text.replace(" ", "").removeprefix("step=")}, tag)
            self._task.step = max(1, step)

    def _of(self, found: dict[str, str], name: str) -> str:
        if name not in found:
            raise UserError(f"{self._path} is no CVAT XML: a {self._stack[-1]} has no {name}.")
        return found[name]

    def _number(self, found: dict[str, str], name: str) -> int:
        text = self._of(found, name)
        if not (text.isascii() and text.isdigit() and len(text) < 12):
            raise UserError(
                f"{self._path} is no CVAT XML: {name} {text[:20]!r} of a {self._stack[-1]} is no "
                "number of a frame."
            )
        return int(text)
