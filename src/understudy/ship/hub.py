"""Publishing artifacts and fetching them: the Hugging Face hub, or a folder that stands in for it.

OWNER/NAME/
  README.md     the model card
  onnx/         an artifact, as it was exported; one folder for each format that was published
  litert/

Where UNDERSTUDY_HUB names a folder, models lie in it by owner and name exactly so, and no network
is needed: laboratories without one share such a folder.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from understudy.errors import UserError
from understudy.hub_address import is_reachable
from understudy.run import Run, write_json, write_text
from understudy.ship.artifact import Artifact, open_artifact
from understudy.ship.card import render_card
from understudy.ship.draft import draft_of, mend
from understudy.ship.formats import FORMATS, is_installed
from understudy.ship.own_files import check_own
from understudy.ship.reading import MOST_BYTES

HUB_FOLDER = "UNDERSTUDY_HUB"
"""Environment variable: a folder to use as the hub."""

MOST_BROKEN = 10
"""Connections that may break off while one model is fetched."""

_NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
_DOCUMENTS = ("contract.json", "parity.json", "latency.json", "int8.json", "README.md")
_FACTS = ["*/contract.json", "*/parity.json", "*/latency.json"]


def push_to_hub(artifact: Artifact, repo: str, *, run: Run | None, private: bool = True) -> str:
    """Publish an artifact as OWNER/NAME, with a model card, and give its address.

    Its files take the place of those of its format there; other formats stay and are on the card
    too. run: what the card tells of data, teacher and figures. private: of a model that is new.

    Raises UserError for a name that is none, an artifact that is damaged, without a network and
    without the right to write there.
    """
    check_name(repo)
    open_artifact(artifact.path)  # nothing damaged is published
    runtime = artifact.contract["runtime"]
    shared = _hub_folder()
    if shared is not None:
        return str(_push_to_folder(artifact, repo, run, shared / repo))

    import huggingface_hub

    _require_hub(repo, "publish")
    with _plain_errors(repo, "published"), tempfile.TemporaryDirectory() as scratch:
        api = huggingface_hub.HfApi()
        address = api.create_repo(repo, private=private, exist_ok=True)
        stage = Path(scratch)
        api.snapshot_download(repo, local_dir=stage, allow_patterns=_FACTS)
        shutil.rmtree(stage / runtime, ignore_errors=True)
        _copy(artifact, stage / runtime)
        _write_card(stage, repo, run)
        api.upload_folder(
            repo_id=repo,
            folder_path=stage,
            allow_patterns=["README.md", f"{runtime}/*"],
            delete_patterns=[f"{runtime}/*"],
            commit_message=f"{FORMATS[runtime].TITLE} export of {artifact.contract['run']}",
        )
    return str(address)


def fetch_from_hub(name: str, *, revision: str | None = None) -> Path:
    """The directory of a published artifact, checked: fetched, or as it lies in the shared folder.

    name: OWNER/NAME, or OWNER/NAME/FORMAT; without a format, the first that this machine can
    execute, else the first. revision: of the hub, a branch, tag or commit. What was fetched once is
    found again without a network. Raises UserError.
    """
    repo, format_name = _split(name)
    shared = _hub_folder()
    if shared is not None:
        if not (shared / repo).is_dir():
            raise UserError(f"There is no {repo} in {shared}, the folder that {HUB_FOLDER} names.")
        root = shared / repo
        return open_artifact(root / _choose(root, repo, format_name)).path

    import huggingface_hub

    online = is_reachable()
    known: dict[str, Any] = {"revision": revision, "local_files_only": not online}
    with _plain_errors(repo, "fetched"):
        listed = _sizes(repo, revision) if online else {}
        for path in sorted(listed):
            if any(fnmatch(path, fact) for fact in _FACTS) and listed[path] > MOST_BYTES:
                raise UserError(
                    f"{repo} could not be fetched: {path} has {listed[path]:,} bytes, of which at "
                    f"most {MOST_BYTES:,} are read."
                )
        facts = huggingface_hub.snapshot_download(repo, allow_patterns=_FACTS, **known)
        chosen = _choose(Path(facts), repo, format_name)
        files = _files_of(Artifact(Path(facts) / chosen), repo, listed)
        root = huggingface_hub.snapshot_download(repo, allow_patterns=files, **known)
    return open_artifact(Path(root) / chosen).path


def _sizes(repo: str, revision: str | None) -> dict[str, int]:
    """Bytes of each file there, by its path, before any is fetched."""
    import huggingface_hub

    info = huggingface_hub.HfApi().model_info(repo, revision=revision, files_metadata=True)
    return {file.rfilename: file.size or 0 for file in info.siblings or ()}


def _files_of(artifact: Artifact, repo: str, listed: dict[str, int]) -> list[str]:
    """Patterns of what belongs to an artifact, whatever else lies with it. Raises UserError where
    the hub has other sizes than the contract: a terabyte would be found wrong only afterwards."""
    folder, patterns = artifact.path.name, [f"{artifact.path.name}/{name}" for name in _DOCUMENTS]
    for entry in artifact.contract["graphs"].values():
        path = f"{folder}/{entry['file']}"
        own = [size for name, size in listed.items() if name == path or name.startswith(f"{path}/")]
        if listed and sum(own) != entry["bytes"]:
            raise UserError(
                f"{repo} could not be fetched: {path} has {sum(own):,} bytes, its contract says "
                f"{entry['bytes']:,}. Ask its owner to publish it again."
            )
        patterns += [path, f"{path}/*"]
    return patterns


def _push_to_folder(artifact: Artifact, repo: str, run: Run | None, root: Path) -> Path:
    """Into a folder. The new files are all there before the old ones go."""
    runtime = artifact.contract["runtime"]
    with draft_of(root / runtime, instead=f"by {HUB_FOLDER}") as draft:
        _copy(artifact, draft)
        _write_card(root, repo, run, fresh=Artifact(draft))
    return root


def _copy(artifact: Artifact, target: Path) -> None:
    """What an export writes and nothing else that lies with it: what it said of which clips stays
    here. Names of files are kept, without the paths of the machine that made them."""
    target.mkdir(exist_ok=True)
    models = [entry["file"] for entry in artifact.contract["graphs"].values()]
    for name in (*_DOCUMENTS, *models):
        source = artifact.path / name
        check_own(source)
        if source.is_dir():
            shutil.copytree(source, target / name)
        elif source.is_file():
            shutil.copyfile(source, target / name)
    if (target / "parity.json").exists():
        parity = artifact.parity
        if parity.get("manifest"):
            parity["manifest"] = Path(parity["manifest"]).name
        for clip in parity.get("skipped", []):
            clip["path"] = Path(clip["path"]).name
        write_json(target / "parity.json", parity)


def _write_card(root: Path, repo: str, run: Run | None, *, fresh: Artifact | None = None) -> None:
    """fresh: what takes its place a moment later."""
    published = {name: Artifact(root / name) for name in _formats(root)}
    if fresh is not None:
        published[fresh.contract["runtime"]] = fresh
    artifacts = [published[name] for name in FORMATS if name in published]
    write_text(root / "README.md", render_card(artifacts, name=repo, run=run))


def _formats(root: Path) -> list[str]:
    """The formats that lie in a model's folder, in the order of `FORMATS`."""
    for name in FORMATS:
        mend(root / name)
    return [name for name in FORMATS if (root / name / "contract.json").is_file()]


def _choose(root: Path, repo: str, wanted: str | None) -> str:
    there = _formats(root)
    if not there:
        raise UserError(f"{repo} holds no artifact of this package.")
    if wanted is not None:
        if wanted not in there:
            raise UserError(f"{repo} has no {wanted}; it has {', '.join(there)}.")
        return wanted
    runs = [name for name in there if FORMATS[name].RUNS_HERE and is_installed(FORMATS[name])]
    return (runs or there)[0]


def _split(name: str) -> tuple[str, str | None]:
    """OWNER/NAME/FORMAT into OWNER/NAME and FORMAT, or None."""
    parts = name.split("/")
    repo = "/".join(parts[:2])
    check_name(repo)
    if len(parts) > 3 or (len(parts) == 3 and parts[2] not in FORMATS):
        raise UserError(
            f"{name} is no model: give OWNER/NAME, or OWNER/NAME/FORMAT with one of "
            f"{', '.join(FORMATS)}."
        )
    return repo, parts[2] if len(parts) == 3 else None


def check_name(repo: str) -> None:
    """Raises UserError for what is no OWNER/NAME."""
    if not _NAME.fullmatch(repo):
        raise UserError(f"{repo} is no name of a model: give OWNER/NAME.")


def _hub_folder() -> Path | None:
    named = os.environ.get(HUB_FOLDER)
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise UserError(f"{HUB_FOLDER} names {folder}, which is no folder. Make it, or unset it.")
    return folder


def _require_hub(repo: str, what: str) -> None:
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise UserError(f"HF_HUB_OFFLINE is set. Unset it to {what} {repo}.")
    if not is_reachable():
        raise UserError(
            f"The hub ({constants.ENDPOINT}) cannot be reached from here. The artifact itself is "
            f"done; publish it from a machine with a network, or set {HUB_FOLDER} to a folder that "
            "you share."
        )
    if get_token() is None:
        raise UserError(
            f"To {what} {repo} the hub wants to know who you are. Run: hf auth login, or set "
            "HF_TOKEN."
        )


class _Patience(logging.Filter):
    """Ends a download that broke off too often. The client says each time that it tries again, and
    does so for as long as something comes, be it the same beginning again and again."""

    def __init__(self, repo: str) -> None:
        super().__init__()
        self.repo, self.broken = repo, 0

    def filter(self, record: logging.LogRecord) -> bool:
        if "Trying to resume" not in record.getMessage():
            return True
        self.broken += 1
        if self.broken > MOST_BROKEN:
            raise UserError(
                f"{self.repo} could not be fetched: the connection broke off {self.broken} times. "
                "Try again later; what has come is kept."
            )
        return False


@contextmanager
def _plain_errors(repo: str, done: str) -> Iterator[None]:
    """The client's errors as ours; those of a file that is damaged are ours already."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    had_bars = not are_progress_bars_disabled()
    disable_progress_bars()
    logger, patience = logging.getLogger("huggingface_hub.file_download"), _Patience(repo)
    level = logger.level
    logger.setLevel(logging.WARNING)
    logger.addFilter(patience)
    try:
        yield
    except UserError:
        raise
    except RepositoryNotFoundError as error:
        raise UserError(
            f"The hub knows no {repo}, or it is private and you are not logged in. Check the name, "
            "or run: hf auth login."
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(f"{repo} has no such revision.") from error
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"{repo} was not fetched before, and the hub cannot be reached from here. Fetch it "
            f"on a machine with a network, or set {HUB_FOLDER} to a folder that holds it."
        ) from error
    except HfHubHTTPError as error:
        code = error.response.status_code
        if code in (401, 403):
            raise UserError(
                f"{repo} could not be {done}: the hub does not allow it ({code}). Your token needs "
                "the right to write there: hf auth login."
            ) from error
        raise UserError(f"{repo} could not be {done}: the hub says {code}.") from error
    except Exception as error:  # the client and what it is made of raise a dozen kinds
        said = (str(error).splitlines() or [""])[0]
        raise UserError(f"{repo} could not be {done} ({type(error).__name__}: {said}).") from error
    finally:
        logger.removeFilter(patience)
        logger.setLevel(level)
        if had_bars:
            enable_progress_bars()
