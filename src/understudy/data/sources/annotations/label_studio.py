"""Label Studio: exports as JSON or JSON-MIN, of video timelines and of classified clips.

A timeline (`TimelineLabels`) counts frames from 1, the last one included, at the `frameRate` of the
`<Video>` tag, which the export does not hold. Regions of `Labels` have seconds. `Choices` hold for
the whole clip, or for their region. See https://labelstud.io/guide/export and its tags.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, TypeAdapter

from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.data.sources.annotations.label_studio_media import is_media, media_of, without_hash
from understudy.data.sources.annotations.media_folder import MediaFolder
from understudy.data.sources.annotations.reading import (
    Name,
    Number,
    Part,
    checked,
    faults_of,
    read_bytes,
    the_file,
)
from understudy.data.sources.annotations.segments import Segment, to_manifest
from understudy.errors import UserError, some_of

TOOL = "Label Studio"
ABOUT = About(
    "Label Studio, video timelines and classification",
    "your server: Export of a project, JSON or JSON-MIN",
    "your own",
    ("project-1-at-2026-01-31.json", "the media beside it, or below --media"),
)


class _Range(Part):
    start: Annotated[int, Field(ge=1, le=2**53)]
    end: Annotated[int, Field(ge=1, le=2**53)]


class _Value(Part):
    """What was said, of the whole task or of a region of it."""

    choices: tuple[Name, ...] = ()
    timelinelabels: tuple[Name, ...] = ()
    labels: tuple[Name, ...] = ()
    ranges: tuple[_Range, ...] = ()
    start: Number | None = None
    end: Number | None = None


class _Result(Part):
    from_name: Name = ""
    value: dict[str, Any] = Field(default_factory=dict)


class _Annotation(Part):
    result: tuple[_Result, ...] = ()
    was_cancelled: bool = False
    skipped: bool = False
    ground_truth: bool = False
    completed_by: int | str | dict[str, Any] | None = None


class _Task(Part):
    id: int | str
    data: dict[str, Any]
    annotations: list[_Annotation]


class _MinRow(Part):
    """A row of JSON-MIN: one annotation, among the data of its task."""

    id: int | str
    annotator: int | str | dict[str, Any] | None = None


_OF_MIN = {"annotation_id", "created_at", "updated_at", "lead_time", "agreement"}
_ROWS = TypeAdapter(list[dict[str, Any]])


class _Said(NamedTuple):
    """Labels and where they hold: in seconds, or in frames of which the end is left out."""

    labels: tuple[str, ...]
    start: float | None = None
    end: float | None = None
    in_frames: bool = False


class _Answer(NamedTuple):
    """What one annotator said of a task. by: their id and e-mail, as far as they are told. said:
    by field, the name of a control tag."""

    by: tuple[str, ...]
    is_truth: bool
    said: dict[str, frozenset[_Said]]


class _Labelled(NamedTuple):
    """A task with all answers to it."""

    where: str
    data: dict[str, Any]
    answers: list[_Answer]


def read(
    place: Path,
    *,
    media: Path | None = None,
    fps: float | None = None,
    annotator: str | None = None,
    field: str | None = None,
    camera: str | None = None,
) -> Manifest:
    """place: the export, or the folder in which it lies alone.

    media: where the media lie, if not beside it.
    fps: frameRate of the `<Video>` tag, where segments are counted in frames.
    annotator: whose annotations are taken, by id or e-mail.
    field: name of the control tag whose labels are taken, where there are several.
    camera: key of the task's data that names the media, where there are several.

    Where annotators differ, ground truth is taken, else what more than half of them said.
    """
    file = the_file(place, (".json",), TOOL)
    left_out: Counter[str] = Counter()
    tasks = _tasks(file, left_out)
    field = _the_field(file, tasks, field)
    segments: list[Segment] = []
    for where, data, answers in tasks:
        reference = media_of(file, where, data, camera)
        if reference is None:
            left_out["tasks name no media"] += 1
            continue
        for labels, start, end, in_frames in sorted(
            _agreed(answers, field, annotator, left_out), key=str
        ):
            rate = _rate(file, where, data, fps) if in_frames else 1.0
            segments.append(Segment(reference, labels, start, end, rate, where))
    if not segments:
        by = sorted({" or ".join(one.by) for task in tasks for one in task.answers if one.by})
        left_out[f"annotators are there: {some_of(by)}. Choose one with --annotator"] = len(by)
    notes = [f"{count} {what}." for what, count in left_out.items() if count]
    return to_manifest(
        segments, MediaFolder(media or file.absolute().parent, without_hash), notes, file
    )


def _tasks(file: Path, left_out: Counter[str]) -> list[_Labelled]:
    rows = checked(file, read_bytes(file), _ROWS, TOOL)
    if not any("data" in row or "annotations" in row for row in rows):
        return _of_min(file, rows, left_out)
    tasks = []
    for number, row in _freed(rows):
        with faults_of(file, TOOL, str(number)):
            task = _Task.model_validate(row)
        answers = []
        for one in task.annotations:
            if one.was_cancelled or one.skipped:
                left_out["annotations were cancelled, and were left out"] += 1
                continue
            said: dict[str, frozenset[_Said]] = {}
            for result in one.result:
                with faults_of(file, TOOL, f"{number}.annotations"):
                    found = _said(result.value, left_out)
                said[result.from_name] = said.get(result.from_name, frozenset()) | found
            answers.append(_Answer(_names(one.completed_by), one.ground_truth, said))
        tasks.append(_Labelled(f"task {task.id}", _texts(task.data), answers))
    return tasks


def _freed(rows: list[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows with their numbers; what was read of a large export need not stay."""
    for number in range(len(rows)):
        row, rows[number] = rows[number], {}
        yield number, row


def _texts(data: dict[str, Any]) -> dict[str, Any]:
    """What of a task's data may name media, or a rate."""
    return {key: value for key, value in data.items() if isinstance(value, str | int | float)}


def _of_min(file: Path, rows: list[dict[str, Any]], left_out: Counter[str]) -> list[_Labelled]:
    """Rows of JSON-MIN, those of one task together.

    A text that names no media may be a choice or have come with the task: it is a choice where
    nothing else in the file is a label.
    """
    tasks: dict[int | str, _Labelled] = {}
    texts: list[tuple[_Answer, dict[str, frozenset[_Said]]]] = []
    for number, content in _freed(rows):
        with faults_of(file, TOOL, str(number)):
            row = _MinRow.model_validate(content)
        where = f"task {row.id}"
        said: dict[str, frozenset[_Said]] = {}
        text: dict[str, frozenset[_Said]] = {}
        for key, value in content.items():
            parts = value if isinstance(value, list) else [value]
            if key in _OF_MIN:
                continue
            if parts and all(isinstance(one, dict) for one in parts):
                with faults_of(file, TOOL, f"{number}.{key}"):
                    said[key] = frozenset().union(*(_said(one, left_out) for one in parts))
            elif isinstance(value, str) and not is_media(value):
                text[key] = frozenset([_Said((value,))])
        answer = _Answer(_names(row.annotator), False, said)
        texts.append((answer, text))
        task = tasks.setdefault(row.id, _Labelled(where, _texts(content), []))
        task.answers.append(answer)
    if not any(some for answer, _ in texts for some in answer.said.values()):
        for answer, text in texts:
            answer.said.update(text)
    return list(tasks.values())


def _said(value: dict[str, Any], left_out: Counter[str]) -> frozenset[_Said]:
    """What one result says. Raises ValidationError."""
    if not {"choices", "timelinelabels", "labels"} & set(value) or "sequence" in value:
        left_out["results are of another kind (boxes, text, ratings), and were left out"] += 1
        return frozenset()
    part = _Value.model_validate(value)
    labels = tuple(sorted({*part.choices, *part.timelinelabels, *part.labels}))
    if not labels:
        left_out["regions have no label, and were left out"] += 1
        return frozenset()
    if part.ranges:
        return frozenset(_Said(labels, one.start - 1, one.end, True) for one in part.ranges)
    if part.labels and part.start is None:
        left_out["results are of another kind (boxes, text, ratings), and were left out"] += 1
        return frozenset()
    return frozenset([_Said(labels, part.start, part.end)])


def _names(person: int | str | dict[str, Any] | None) -> tuple[str, ...]:
    if isinstance(person, dict):
        return tuple(str(person[key]) for key in ("id", "email") if key in person)
    return () if person is None else (str(person),)


def _the_field(file: Path, tasks: Sequence[_Labelled], wanted: str | None) -> str:
    """The control tag whose labels are taken."""
    answers = [one for task in tasks for one in task.answers]
    names = sorted({name for one in answers for name, some in one.said.items() if some})
    if wanted is None and len(names) != 1:
        raise UserError(
            f"{file} holds {'no labels' if not names else 'labels of several fields'}"
            + (f": {some_of(names)}. Say which: --field {names[0]}." if names else ".")
        )
    if wanted is not None and wanted not in names:
        raise UserError(f"{file} has no labels of a field {wanted!r}; there: {some_of(names)}.")
    return wanted or names[0]


def _agreed(
    answers: Sequence[_Answer], field: str, annotator: str | None, left_out: Counter[str]
) -> frozenset[_Said]:
    """What holds of a task: ground truth, else what more than half of its annotators said."""
    if annotator is not None:
        answers = [one for one in answers if annotator in one.by]
    answers = [one for one in answers if one.is_truth] or answers
    if not answers:
        left_out["tasks have no annotation, and were left out"] += 1
        return frozenset()
    votes = Counter(one.said.get(field, frozenset()) for one in answers)
    said, number = votes.most_common(1)[0]
    if number * 2 <= len(answers):
        left_out[
            "tasks have annotators who differ, and were left out; --annotator chooses one"
        ] += 1
        return frozenset()
    if number < len(answers):
        left_out["tasks have annotators who differ; what more than half said was taken"] += 1
    if not said:
        left_out["tasks were annotated without a label, and were left out"] += 1
    return said


def _rate(file: Path, where: str, data: dict[str, Any], fps: float | None) -> float:
    """Frames a second by which a timeline counts."""
    rate = data.get("fps") if fps is None else fps
    if isinstance(rate, str) and rate.replace(".", "", 1).isdigit():
        rate = float(rate)
    if not isinstance(rate, int | float) or not 0 < rate < 1000:
        raise UserError(
            f"{file}, {where}: its segments are counted in frames at the frameRate of the <Video> "
            "tag, which the export does not hold. Give it: --fps 24 if the labelling configuration "
            "names none, since that is then taken, whatever the video has."
        )
    return rate
