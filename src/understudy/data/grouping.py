"""Which clips belong together: the group of each row, by a rule that the user gives.

A group is a person or a source video. Clips of one resemble each other, so it is never parted
between splits or folds, and everything honest about a figure rests on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from understudy.data.columns import SEPARATOR, Coded, as_text, pc
from understudy.errors import UserError, nearest

if TYPE_CHECKING:
    from understudy.data.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Grouping:
    """One rule at most; without one the groups stay what they are.

    column: a further column of the table, which names the group.
    level: the folder of the path that names it, 1 the first below the root, -1 the one that holds
        the clip.
    pattern: a regular expression on the path; its first bracket is the group.
    neighbours: files numbered one after another show the same person. Over all classes together, a
        group takes this many files at least and ends where a new round of the classes begins.
    """

    column: str | None = None
    level: int | None = None
    pattern: str | None = None
    neighbours: int | None = None

    def __call__(self, manifest: Manifest) -> Manifest:
        """The same rows in the groups of the rule. Raises UserError for two rules, and for one that
        does not fit a row."""
        given = [
            option
            for option, value in (
                ("group_column", self.column),
                ("group_level", self.level),
                ("group_by", self.pattern),
                ("neighbours", self.neighbours),
            )
            if value is not None
        ]
        if len(given) > 1:
            raise UserError(f"{' and '.join(given)} both say what belongs together; give one.")
        paths = manifest.columns.path.to_pylist() if self.column is None else []
        if self.column is not None:
            return _by_column(manifest, self.column)
        if self.level is not None:
            return _grouped(manifest, [_folder(self.level, path) for path in paths])
        if self.pattern is not None:
            return _grouped(manifest, [_matched(self.pattern, path) for path in paths])
        if self.neighbours is not None:
            return _grouped(manifest, _number_blocks(manifest, paths, self.neighbours))
        return manifest


def _grouped(manifest: Manifest, groups: list[str], *notes: str) -> Manifest:
    columns = replace(manifest.columns, group=Coded.of(groups))
    if len(columns.group.names) == len(manifest):
        notes += ("Every clip is a group of its own: no two of them have the same one.",)
    return replace(manifest, columns=columns, notes=(*manifest.notes, *notes))


def _by_column(manifest: Manifest, name: str) -> Manifest:
    if name == "group":
        return manifest
    if name not in manifest.extras:
        there = ", ".join(["group", *manifest.extras])
        raise UserError(
            f"There is no column {name!r} that could name groups. There: {there}."
            f"{nearest(name, list(manifest.extras))}"
        )
    found = as_text(manifest.extras[name])
    bare = pc.equal(found, "")
    groups = pc.if_else(bare, manifest.columns.path, found).to_pylist()
    count = pc.sum(bare).as_py() or 0
    if count == len(manifest):
        raise UserError(f"The column {name!r} is empty, so it names no groups.")
    notes = (
        [f"{count} of {len(manifest)} clips name no {name}: each file is a group of its own."]
        if count
        else []
    )
    return _grouped(manifest, groups, *notes)


def _folder(level: int, path: str) -> str:
    folders = [part for part in PurePosixPath(path).parts[:-1] if part not in ("/", "..")]
    if level == 0 or abs(level) > len(folders):
        there = ", ".join(f"{number} {name}" for number, name in enumerate(folders, start=1))
        raise UserError(
            f"group_level {level}: {path} has no such folder. There: {there or 'none'}; -1 is the "
            "folder that holds the clip."
        )
    return folders[level - 1 if level > 0 else level]


def _matched(pattern: str, path: str) -> str:
    try:
        match = re.search(pattern, path)
        group = match[1] if match else None
    except (re.error, IndexError) as error:
        raise UserError(
            f"group_by {pattern!r} is no regular expression with a bracket: {error}"
        ) from error
    if not group:
        raise UserError(f"group_by {pattern!r} finds no group in {path}.")
    return group


def _number_blocks(manifest: Manifest, paths: list[str], size: int) -> list[str]:
    if size < 1:
        raise UserError(f"neighbours={size}: a group takes one file at least.")
    names, label = manifest.classes, manifest.columns.label
    rows = sorted(range(len(paths)), key=lambda row: (_number(paths[row]), paths[row], row))
    groups = [""] * len(paths)
    name, members, last, file = "", 0, "", ""
    for row in rows:
        label_of_row = SEPARATOR.join(names[code] for code in label.of_row(row))
        # A person shows the classes in turn, so a block that ends in mid-round would put one
        # person into two groups; a file is of one group, however many of its parts are rows.
        new_round = members >= size and label_of_row <= last and paths[row] != file
        if members == 0 or new_round:
            name, members = f"from-{_number(paths[row])}", 0
        members, last, file = members + 1, label_of_row, paths[row]
        groups[row] = name
    return groups


def _number(path: str) -> int:
    numbers = re.findall(r"\d+", PurePosixPath(path).stem)
    if not numbers:
        raise UserError(f"neighbours needs a number in every file name; {path} has none.")
    return int(numbers[-1])
