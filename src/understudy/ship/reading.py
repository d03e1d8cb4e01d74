"""Reading the JSON files of an artifact: each checked by its schema, at the door and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from understudy.errors import UserError
from understudy.run import read_json
from understudy.run.schema import explain
from understudy.ship.own_files import check_own
from understudy.ship.schema import CONTRACT_FORMAT, CONTRACT_VERSION, Contract
from understudy.ship.schema_measured import Bench, Int8, Latency, ParityFile

MOST_BYTES = 32_000_000
"""Of one JSON file."""

_AGAIN = "Copy the folder again, or export the run again."
_FILES: dict[str, tuple[TypeAdapter[Any], str]] = {
    "contract.json": (TypeAdapter(Contract), _AGAIN),
    "parity.json": (TypeAdapter(ParityFile), _AGAIN),
    "int8.json": (TypeAdapter(Int8), _AGAIN),
    "latency.json": (TypeAdapter(Latency), "Delete it, or measure again: understudy bench."),
    "bench.json": (TypeAdapter(Bench), "Delete it, or measure again: understudy bench."),
}
"""File -> what it may hold, and what to do where it holds something else."""


class _Header(BaseModel):
    """What says by which schema a contract is read."""

    format: Any = None
    contract_version: Any = None


def read_checked(path: Path) -> Any:
    """The content of one of the JSON files above, checked.

    Raises UserError with the file, the field and what to do, where it is missing, no file of its
    folder, too long, no JSON, or not what its schema says.
    """
    adapter, remedy = _FILES[path.name]
    content = _read(path, remedy)
    try:
        if path.name == "contract.json":
            _check_version(path, _Header.model_validate_json(content))
        return adapter.dump_python(adapter.validate_json(content), exclude_unset=True)
    except ValidationError as error:
        raise UserError(f"{path} is damaged: {explain(error)}. {remedy}") from None


def read_known(path: Path) -> Any:
    """Any JSON file of a run or an artifact, checked by its schema where it has one here."""
    return read_checked(path) if path.name in _FILES else read_json(path)


def _read(path: Path, remedy: str) -> bytes:
    check_own(path)
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UserError(
                f"{path} has {size:,} bytes, of which at most {MOST_BYTES:,} are read. {remedy}"
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing. {remedy}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error


def _check_version(path: Path, header: _Header) -> None:
    if header.format != CONTRACT_FORMAT:
        raise UserError(f"{path} is not the contract of an artifact of this package.")
    version = header.contract_version
    if version != CONTRACT_VERSION:
        newer = isinstance(version, int) and version > CONTRACT_VERSION
        raise UserError(
            f"{path} has contract version {version!r}; this package reads {CONTRACT_VERSION}. "
            f"{'Upgrade understudy, or export' if newer else 'Export'} the run again."
        )
