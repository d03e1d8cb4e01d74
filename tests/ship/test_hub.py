"""Publishing and fetching: a shared folder, and the hub's own client against a small server."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

import understudy
from made_artifacts import make_artifact
from understudy.errors import UserError
from understudy.run import Run
from understudy.ship import Artifact, hub
from understudy.ship.artifact import sha256
from understudy.ship.hub import fetch_from_hub, push_to_hub

NAME = "lab/small"


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shared"
    folder.mkdir()
    monkeypatch.setenv(hub.HUB_FOLDER, str(folder))
    return folder


def other_format(artifact: Artifact, folder: Path, runtime: str = "coreml") -> Artifact:
    """The artifact as if it had been exported to a format that cannot be executed here."""
    shutil.copytree(artifact.path, folder)
    contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
    contract |= {"runtime": runtime, "executed": False}
    (folder / "contract.json").write_text(json.dumps(contract), encoding="utf-8")
    return Artifact(folder)


def test_what_was_pushed_is_what_is_loaded(artifact: Artifact, run: Run, shared: Path) -> None:
    assert push_to_hub(artifact, NAME, run=run) == str(shared / NAME)
    assert sorted(entry.name for entry in (shared / NAME).iterdir()) == ["README.md", "onnx"]
    loaded = understudy.load(f"hub:{NAME}")
    frames = torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(loaded(frames).logits, understudy.load(artifact.path)(frames).logits)


def test_a_second_format_lies_beside_the_first_and_is_on_the_card(
    artifact: Artifact, run: Run, shared: Path, tmp_path: Path
) -> None:
    push_to_hub(other_format(artifact, tmp_path / "apple"), NAME, run=run)
    assert fetch_from_hub(NAME).name == "coreml"  # all that there is
    push_to_hub(artifact, NAME, run=run)
    assert fetch_from_hub(NAME).name == "onnx"  # what can be executed goes first
    assert fetch_from_hub(f"{NAME}/coreml").name == "coreml"
    card = (shared / NAME / "README.md").read_text(encoding="utf-8")
    assert "### onnx: ONNX Runtime" in card
    assert "### coreml: Core ML" in card
    with pytest.raises(UserError, match="does not execute"):
        understudy.load(f"hub:{NAME}/coreml")
    with pytest.raises(UserError, match="has no litert; it has onnx, coreml"):
        fetch_from_hub(f"{NAME}/litert")


def test_pushing_again_leaves_nothing_of_before(
    artifact: Artifact, run: Run, shared: Path, tmp_path: Path
) -> None:
    push_to_hub(artifact, NAME, run=run)
    (shared / NAME / "onnx" / "stale.bin").write_bytes(b"old")
    push_to_hub(artifact, NAME, run=None)
    names = {file.name for file in (shared / NAME / "onnx").iterdir()}
    assert names == {file.name for file in artifact.path.iterdir()}
    assert sorted(entry.name for entry in (shared / NAME).iterdir()) == ["README.md", "onnx"]


def test_no_path_of_this_machine_is_published(
    artifact: Artifact, run: Run, manifest: Path, shared: Path
) -> None:
    assert artifact.parity["manifest"] == str(manifest)
    push_to_hub(artifact, NAME, run=run)
    parity = Artifact(shared / NAME / "onnx").parity
    assert parity["manifest"] == manifest.name
    assert [clip["path"] for clip in parity["skipped"]] == ["4.mp4"]
    texts = [file for file in (shared / NAME).rglob("*") if file.suffix in (".json", ".md")]
    assert len(texts) >= 4
    for file in texts:
        text = file.read_text(encoding="utf-8")
        assert str(manifest.parent) not in text, file
        assert str(run.path.parent) not in text, file


def test_what_it_said_of_which_clips_stays_here(
    artifact: Artifact, run: Run, shared: Path, tmp_path: Path
) -> None:
    from understudy.judge.evaluate import evaluate

    own = Artifact(Path(shutil.copytree(artifact.path, tmp_path / "onnx")))
    found = evaluate(own, manifest=run.data["manifest"])
    assert found.path.parent == own.path / "evaluations"
    push_to_hub(own, NAME, run=run)
    sent = [file.name for file in (shared / NAME).rglob("*")]
    assert "clip.onnx" in sent
    assert not {"evaluations", "predictions.parquet", "metrics.json"} & set(sent)


def test_damage_on_either_side_is_found(
    artifact: Artifact, run: Run, shared: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(artifact.path, broken)
    (broken / "clip.onnx").write_bytes(b"something else")
    with pytest.raises(UserError, match="SHA-256"):
        push_to_hub(Artifact(broken), NAME, run=run)
    assert not (shared / NAME).exists()
    push_to_hub(artifact, NAME, run=run)
    (shared / NAME / "onnx" / "clip.onnx").write_bytes(b"something else")
    with pytest.raises(UserError, match="SHA-256"):
        understudy.load(f"hub:{NAME}")


@pytest.mark.parametrize("name", ["small", "lab/", "lab/../small", "../small", "lab/sm all", ""])
def test_names_that_are_none_are_refused(name: str, artifact: Artifact, shared: Path) -> None:
    with pytest.raises(UserError, match="OWNER/NAME"):
        push_to_hub(artifact, name, run=None)
    with pytest.raises(UserError, match="OWNER/NAME"):
        fetch_from_hub(name)
    assert list(shared.iterdir()) == []


def test_what_is_not_there_is_named(
    artifact: Artifact, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="no lab/small in"):
        fetch_from_hub(NAME)
    (shared / NAME).mkdir(parents=True)
    with pytest.raises(UserError, match="no artifact"):
        fetch_from_hub(NAME)
    monkeypatch.setenv(hub.HUB_FOLDER, str(shared / "nowhere"))
    with pytest.raises(UserError, match="no folder"):
        push_to_hub(artifact, NAME, run=None)


def test_without_a_network_it_says_so_at_once(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(hub.HUB_FOLDER, raising=False)
    monkeypatch.setattr(hub, "is_reachable", lambda: False)
    with pytest.raises(UserError, match="cannot be reached"):
        push_to_hub(artifact, NAME, run=None)
    with pytest.raises(UserError, match="was not fetched before"):
        fetch_from_hub("nobody/has-ever-fetched-this")


SCRIPT = """
import json, sys
from pathlib import Path
from understudy.errors import UserError
from understudy.run import open_run
from understudy.ship import Artifact
from understudy.ship.hub import fetch_from_hub, push_to_hub

for line in sys.stdin:
    verb, *given = json.loads(line)
    try:
        if verb == "push":
            path, name, run = given
            answer = push_to_hub(Artifact(Path(path)), name, run=open_run(run))
        else:
            answer = str(fetch_from_hub(given[0]))
    except UserError as error:
        answer = "UserError: " + str(error)
    print(json.dumps(answer))
"""


def through_the_client(
    address: str, home: Path, requests: list[list[str]], **more: str
) -> list[str]:
    """Answers of push and fetch in a fresh process whose hub is at `address`."""
    environment = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    environment.pop(hub.HUB_FOLDER, None)
    environment |= {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **more}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input="\n".join(map(json.dumps, requests)),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_the_hubs_client_pushes_and_fetches(artifact: Artifact, run: Run, tmp_path: Path) -> None:
    from fake_hub import TOKEN
    from fake_hub import hub as serve

    apple = other_format(artifact, tmp_path / "apple")
    push: Any = [["push", str(one.path), NAME, str(run.path)] for one in (artifact, apple)]
    with serve() as server:
        answers = through_the_client(
            server.address, tmp_path / "home",
            [*push, push[0], ["fetch", NAME], ["fetch", f"{NAME}/coreml"], ["fetch", "lab/none"]],
            HF_TOKEN=TOKEN,
        )  # fmt: skip
        refused = through_the_client(
            server.address, tmp_path / "other", [push[0]], HF_TOKEN="hf_wrong"
        )
        unknown = through_the_client(server.address, tmp_path / "third", [push[0]])
        model, private = server.models[NAME], server.private[NAME]
    assert answers[:3] == [f"{server.address}/{NAME}"] * 3
    assert private
    for folder, one in (("onnx", artifact), ("coreml", apple)):
        sent = {path.removeprefix(f"{folder}/") for path in model if path.startswith(folder)}
        assert sent == {file.name for file in one.path.iterdir()}
    assert "### coreml: Core ML" in model["README.md"].decode()
    assert "### onnx: ONNX Runtime" in model["README.md"].decode()
    for path, one in zip(answers[3:5], (artifact, apple), strict=True):
        assert sha256(Path(path) / "clip.onnx") == sha256(one.path / "clip.onnx")
        assert Artifact(Path(path)).contract == one.contract
    assert "knows no lab/none" in answers[5]
    assert "token" in refused[0]
    assert "hf auth login" in unknown[0]

    # The server is gone; what was fetched is still there.
    again = through_the_client(
        server.address, tmp_path / "home", [["fetch", NAME], ["fetch", "lab/none"], push[0]]
    )
    assert again[0] == answers[3]
    assert "was not fetched before" in again[1]
    assert "cannot be reached" in again[2]


def test_a_server_that_always_breaks_off_is_not_asked_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends the same beginning each time, which the client takes for progress."""
    from huggingface_hub import file_download

    asked: list[str] = []

    class Breaks(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(30 << 20))
            self.end_headers()
            self.wfile.write(bytes(11 << 20))

        def log_message(self, format: str, *args: Any) -> None: ...

    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Breaks)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with (
            pytest.raises(UserError, match=r"lab/small could not be fetched: .* broke off 11 time"),
            hub._plain_errors(NAME, "fetched"),
            (tmp_path / "file").open("wb") as file,
        ):
            file_download.http_get(f"http://127.0.0.1:{server.server_port}/x", file)
    finally:
        server.shutdown()
        server.server_close()
    assert len(asked) == 11


def listing(monkeypatch: pytest.MonkeyPatch, files: dict[str, int]) -> None:
    """A hub that holds files of these sizes, of which none may be fetched."""
    import huggingface_hub

    monkeypatch.setattr(hub, "is_reachable", lambda: True)
    monkeypatch.setattr(hub, "_sizes", lambda repo, revision: files)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked"))


def test_a_file_that_is_too_long_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    listing(monkeypatch, {"onnx/contract.json": 10**12})
    with pytest.raises(UserError, match=r"onnx/contract\.json has 1,000,000,000,000 bytes"):
        fetch_from_hub(NAME)


def test_only_what_belongs_to_an_artifact_and_is_as_large_as_it_says_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    make_artifact(tmp_path / "onnx")
    listing(monkeypatch, {"onnx/clip.onnx": 7, "onnx/film.mp4": 10**12})
    patterns: list[list[str]] = []

    def fetch(repo: str, allow_patterns: list[str], **_: Any) -> str:
        patterns.append(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert fetch_from_hub(NAME) == tmp_path / "onnx"
    assert "onnx/clip.onnx" in patterns[1]
    assert not any(fnmatch("onnx/film.mp4", pattern) for asked in patterns for pattern in asked)
    monkeypatch.setattr(hub, "_sizes", lambda repo, revision: {"onnx/clip.onnx": 10**12})
    with pytest.raises(UserError, match=r"clip\.onnx has 1,000,000,000,000 bytes, its contract"):
        fetch_from_hub(NAME)
    assert len(patterns) == 3, "of the second, the contract alone"


def test_nothing_but_an_export_is_published(
    artifact: Artifact, shared: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(artifact.path, tmp_path / "onnx"))
    (own / "diary.txt").write_text("private")
    (own / "secret").symlink_to("/etc/passwd")
    push_to_hub(Artifact(own), NAME, run=None)
    sent = {file.name for file in (shared / NAME / "onnx").iterdir()}
    assert sent == {file.name for file in artifact.path.iterdir()}
    (own / "latency.json").unlink()
    (own / "latency.json").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match="is a link to elsewhere"):
        push_to_hub(Artifact(own), NAME, run=None)


def test_a_folder_that_cannot_be_written_keeps_what_it_had(
    artifact: Artifact, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(hub, "write_text", full)
    with pytest.raises(UserError, match=r"No space left on device\. Nothing of it was kept"):
        push_to_hub(artifact, NAME, run=None)
    assert list(shared.iterdir()) == []
