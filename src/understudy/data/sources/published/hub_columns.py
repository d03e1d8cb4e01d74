"""A data set of the Hugging Face hub, opened, and which of its columns say what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from understudy.data.manifest import OWN_COLUMNS
from understudy.errors import UserError, nearest
from understudy.hub_address import is_reachable

LABELS = ("label", "labels", "action", "class")
"""What a column of labels is called, if not by its kind."""


class Chosen(NamedTuple):
    """media: the column with pictures or videos. labels_of: from its value to none, one or several
    labels. further: columns of text and numbers, which are kept. unused: the others."""

    media: str
    label: str
    labels_of: Callable[[Any], str | tuple[str, ...] | None]
    further: tuple[str, ...]
    unused: tuple[str, ...]


def open_hub(place: Path, config: str | None) -> tuple[dict[str, Any], Path]:
    """Split -> table, of a name on the hub, a folder or a Parquet file, and the folder in which its
    files lie. config: which, of several.

    Raises UserError for whatever keeps it from being opened.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            "Sets of the hub are read by the library datasets, which is missing. Install it: "
            "pip install 'understudy[datasets]'"
        ) from error
    name = Path(place).as_posix()
    is_here = Path(place).exists()
    if not is_here and name.count("/") != 1:
        raise UserError(f"{place} is neither a folder or file here, nor a name of the hub, as a/b.")
    try:
        if Path(place).is_file():
            opened: Any = datasets.load_dataset("parquet", data_files={"train": name})
        else:
            with _at_once(asks_hub=not is_here):
                opened = datasets.load_dataset(name, config)
    except (ConnectionError, TimeoutError) as error:
        raise UserError(
            f"{name} is not here, and the hub was not reached: {_line(error)} Without a network, "
            "give a folder instead of the name: one that `hf download --repo-type dataset "
            f"{name} --local-dir FOLDER` filled elsewhere, or of the hub's cache "
            "(hub/datasets--*/snapshots/*)."
        ) from error
    except Exception as error:  # the library raises whatever its hundred readers do
        raise UserError(
            f"{name} cannot be read as a data set of the hub: {_line(error)} Expected tables "
            "(Parquet, best) or folders of pictures; --annotations names one of several sets."
        ) from error
    if not is_here:
        from datasets import config as settings

        return dict(opened), Path(settings.HF_CACHE_HOME).absolute()
    folder = Path(place).absolute()
    return dict(opened), folder if folder.is_dir() else folder.parent


@contextmanager
def _at_once(*, asks_hub: bool) -> Iterator[None]:
    """The library looks into its cache alone where the hub cannot be reached: it would ask it for
    half a minute."""
    from datasets import config

    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = before or (asks_hub and not is_reachable())
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before


def choose_columns(features: Any, media: str | None, label: str | None) -> Chosen:
    """Which columns of these hold the pictures and the labels. Raises UserError where it is not
    plain and nobody said it."""
    import datasets

    for column in filter(None, (media, label)):
        if column not in features:
            raise UserError(
                f"There is no column {column!r}; there are {', '.join(features)}."
                f"{nearest(column, list(features))}"
            )
    media = media or _only(
        [name for name, kind in features.items() if _holds_media(kind)], features, "image"
    )
    coded = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    called = [name for name in LABELS if name in features]
    label = label or _only(coded if len(coded) == 1 else called, features, "label")
    rest = [name for name in features if name not in (media, label)]
    further = [
        name
        for name in rest
        if isinstance(kind := features[name], datasets.Value)
        and "binary" not in kind.dtype
        and name not in OWN_COLUMNS
    ]
    unused = tuple(name for name in rest if name not in further)
    return Chosen(media, label, _reader(features[label]), tuple(further), unused)


def _holds_media(kind: Any) -> bool:
    import datasets

    return isinstance(kind, datasets.Image | datasets.Video) or (
        isinstance(kind, dict) and {"bytes", "path"} <= set(kind)
    )


def _only(found: list[str], features: Any, what: str) -> str:
    if len(found) != 1:
        raise UserError(
            f"Which column is the {what}? {'Several could be' if found else 'None is known as one'}"
            f". Say it: --{what}-column NAME, one of {', '.join(features)}."
        )
    return found[0]


def _reader(kind: Any) -> Callable[[Any], str | tuple[str, ...] | None]:
    """From a value of a column of labels to their names; None and -1 are none."""
    import datasets

    if isinstance(kind, datasets.ClassLabel):
        names = kind.names
        return lambda value: None if value is None or value < 0 else names[value]
    if isinstance(kind, datasets.List | list):
        each = _reader(kind[0] if isinstance(kind, list) else kind.feature)
        return lambda value: tuple(str(each(one)) for one in value or ())
    return lambda value: None if value is None else str(value).strip() or None


def _line(error: Exception) -> str:
    return f"{str(error).strip().splitlines()[0][:300].rstrip('.') if str(error) else error!r}."
