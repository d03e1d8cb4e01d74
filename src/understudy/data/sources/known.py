"""Every data set and annotation tool that is read by name: `understudy data from NAME FOLDER OUT`.

Each is a short file in `published/` (data sets) or `annotations/` (tools), with

- `ABOUT`, what `understudy data sources` tells of it;
- `read(place, **options) -> Manifest`, whose keyword arguments are the options of the command that
  it takes. What lies there and is no clip of the manifest, it counts in `Manifest.notes`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from understudy.data.manifest import Manifest
from understudy.data.sources.about import About
from understudy.errors import UserError, nearest

MODULES: dict[str, str] = {
    "charades": "published.charades",
    "cifar": "published.cifar",
    "ego4d": "published.ego4d",
    "egtea": "published.egtea",
    "epic-kitchens": "published.epic_kitchens",
    "hmdb51": "published.hmdb51",
    "hub": "published.hub",
    "human-action": "published.human_action",
    "jester": "published.jester",
    "kinetics": "published.kinetics",
    "something-something": "published.something",
    "stanford40": "published.stanford40",
    "ucf101": "published.ucf101",
    "wlasl": "published.wlasl",
    "create-ml": "annotations.create_ml",
    "cvat": "annotations.cvat",
    "fiftyone": "annotations.fiftyone",
    "label-studio": "annotations.label_studio",
    "lerobot": "annotations.lerobot",
    "mmaction2": "annotations.mmaction2",
    "via": "annotations.via",
}
"""Name on the command line -> module in `published/` or `annotations/`."""


def about(name: str) -> About:
    """What is told of a source."""
    return _module(name).ABOUT


def options_of(name: str) -> tuple[str, ...]:
    """The options that a source takes, as they are called in Python."""
    return tuple(list(inspect.signature(_reader(name)).parameters)[1:])


def read_source(name: str, place: Path, given: Mapping[str, Any]) -> Manifest:
    """The manifest of what lies at `place`. given: options by name, None where not given.

    Raises UserError for an unknown name, an option that this source does not take, and whatever is
    wrong with what lies there.
    """
    if name not in MODULES:
        known = sorted(MODULES)
        raise UserError(f"No source {name!r}; there are {', '.join(known)}.{nearest(name, known)}")
    taken = options_of(name)
    for option, value in given.items():
        if value is not None and option not in taken:
            allowed = ", ".join(f"--{one.replace('_', '-')}" for one in taken) or "no option"
            raise UserError(f"{name} takes no --{option.replace('_', '-')}; it takes {allowed}.")
    return _reader(name)(place, **{key: value for key, value in given.items() if value is not None})


def _reader(name: str) -> Callable[..., Manifest]:
    return _module(name).read


def _module(name: str) -> ModuleType:
    return import_module(f"understudy.data.sources.{MODULES[name]}")
