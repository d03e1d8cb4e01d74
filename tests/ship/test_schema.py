"""A contract from a stranger: whatever is in it, one message with file, field and remedy, at once
and without memory."""

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from made_artifacts import CONTENT, made_contract, make_artifact, spec, step_entry
from understudy.errors import UserError
from understudy.ship import Artifact, load_artifact, open_artifact
from understudy.ship.reading import read_checked
from understudy.ship.schema import MOST_TENSOR_BYTES


def changed(place: str, value: Any) -> dict[str, Any]:
    """A contract with one value in the place of another; a value of `...` takes the field away."""
    content = made_contract()
    content["graphs"]["step"] = step_entry()
    *way, last = place.split("/")
    inner: Any = content
    for part in way:
        inner = inner[int(part) if part.isdigit() else part]
    if value is ...:
        del inner[last]
    else:
        inner[int(last) if last.isdigit() else last] = value
    return content


def refused(folder: Path, content: Any) -> str:
    """What is said of a contract with this content."""
    folder.mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "contract.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_artifact(folder)
    said = str(error.value)
    assert len(said) < 1500
    assert str(folder / "contract.json") in said
    assert "\n" not in said
    return said


def test_a_whole_contract_is_read_as_it_is(tmp_path: Path) -> None:
    content = changed("unknown_below", 0.5)
    assert Artifact(make_artifact(tmp_path / "onnx", content)).contract == content


def test_what_quantising_notes_of_a_file_is_known(tmp_path: Path) -> None:
    content = changed("graphs/clip/calibration", 64)
    content["graphs"]["clip"] |= {"quantiser": "one 1.0", "oldest_runtime": "ONNX Runtime 1.18"}
    assert Artifact(make_artifact(tmp_path / "onnx", content)).contract == content


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("graphs", ..., "graphs is missing"),
        ("graphs/clip", ..., "graphs.clip is missing"),
        ("graphs/clip/sha256", ..., "graphs.clip.sha256 is missing"),
        ("input/size", ..., "input.size is missing"),
        ("classes", ..., "classes is missing"),
        ("unknown_below", ..., "unknown_below is missing"),
        ("classes", [], "classes: List should have at least 1 item"),
        ("classes", ["blue", "blue"], "the class 'blue' stands twice"),
        ("classes", ["blue", 3], "classes.1: Input should be a valid string"),
        ("classes", ["blue", ""], "classes.1"),
        ("classes", ["blue"], "graphs.clip.outputs have the shapes"),
        ("parameters", -1, "parameters: Input should be greater than or equal to 0"),
        ("parameters", 10**30, "parameters"),
        ("parameters", "many", "parameters: Input should be a valid integer"),
        ("input/frames", 0, "input.frames"),
        ("input/frames", 10**12, "input.frames"),
        ("input/frames", 5, "graphs.clip.inputs have the shapes"),
        ("input/size", -32, "input.size"),
        ("unknown_below", float("nan"), "unknown_below"),
        ("unknown_below", 1.5, "unknown_below"),
        (
            "normalisation",
            {"inside": True, "mean": [float("nan")] * 3, "std": None},
            "ation.mean.0",
        ),
        ("normalisation", {"inside": True, "mean": None, "std": [0.0] * 3}, "normalisation.std.0"),
        ("sampling/step_s", 0, "sampling.step_s"),
        ("sampling/stride_s", float("inf"), "sampling.stride_s"),
        ("sampling/method", "somehow", "sampling.method"),
        ("batch", 7, "batch"),
        ("run", ["a"] * 10, "run: Input should be a valid string"),
        ("surprise", 1, "surprise is no field that this version knows"),
        ("graphs/third", {}, "graphs.third is no field"),
        ("graphs/clip/url", "http://x", "graphs.clip.url is no field"),
        ("graphs/step/inputs/1/shape", [10**6, 10**6], "inputs take more than"),
        ("graphs/step/inputs/1/shape", [2**31, 2**31, 2**31, 2**31], "inputs take more than"),
        ("graphs/step/inputs/1/shape", [-1, 6], "inputs.1.shape.0"),
        ("graphs/step/inputs/1/shape", [1, 7], "graphs.step.outputs have the shapes"),
        ("graphs/step/inputs/1/shape", [], "graphs.step.inputs.1.shape"),
        ("graphs/step/inputs/1/shape", [1, 1, 1, 1, 6], "graphs.step.inputs.1.shape"),
        ("graphs/step/inputs/1/dtype", "float64", "graphs.step.inputs.1.dtype"),
        ("graphs/step/inputs", [], "graphs.step.inputs"),
        ("graphs/step/outputs", [spec("logits", "float32", 1, 2)], "graphs.step.outputs have"),
        ("runtime", "abacus", "runtime: .*'abacus'"),
        ("contract_version", None, "contract version None"),
        ("contract_version", "3", "contract version '3'"),
    ],
)
def test_every_fault_is_named_with_its_field(
    tmp_path: Path, place: str, value: Any, named: str
) -> None:
    said = refused(tmp_path / "onnx", changed(place, value))
    with pytest.raises(UserError, match=named):
        raise UserError(said)
    assert "xport the run again" in said


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"contract"', "[" * 10_000 + "]" * 10_000, '{"a":' * 10_000, "\x00"],
    ids=["nothing", "half", "list", "null", "text", "deep list", "deep object", "NUL"],
)
def test_what_is_no_contract_at_all(tmp_path: Path, text: str) -> None:
    refused(tmp_path / "onnx", text)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "onnx")
    (folder / "contract.json").write_bytes(b'{"run": "\xff\xfe"}')
    with pytest.raises(UserError, match=r"contract\.json is damaged"):
        load_artifact(folder)


def test_many_classes_take_neither_time_nor_memory(tmp_path: Path) -> None:
    for classes in ([f"c{number}" for number in range(200_000)], ["same"] * 90_000):
        content = changed("classes", classes)
        assert "classes" in refused(tmp_path / "onnx", content)
    folder = tmp_path / "longer"
    folder.mkdir()
    with (folder / "contract.json").open("w") as file:
        file.write('{"classes": [')
        file.seek(10**12)  # of which the disk keeps nothing
        file.write("]}")
    tracemalloc.start()
    with pytest.raises(UserError, match=r"has 1,000,000,000,002 bytes, of which at most"):
        load_artifact(folder)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_state_stays_within_a_bound(tmp_path: Path) -> None:
    content = changed("graphs/step", step_entry(state=(1, MOST_TENSOR_BYTES // 4 + 1)))
    assert "graphs.step: inputs take more than 1,073,741,824" in refused(tmp_path / "onnx", content)


OUTSIDE = [
    "/etc/passwd",
    "../secret.onnx",
    "..",
    ".",
    "sub/clip.onnx",
    "sub\\clip.onnx",
    "C:clip.onnx",
    ".hidden",
    "clip.onnx\n",
    "clip\x00.onnx",
    "",
    "a" * 5000,
    "file://clip.onnx",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_file_is_named_plainly(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.onnx").write_bytes(CONTENT)
    assert "graphs.clip.file" in refused(tmp_path / "onnx", changed("graphs/clip/file", name))


def link(path: Path, to: Path) -> None:
    path.unlink()
    path.symlink_to(to)


def loop(path: Path, to: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def pipe(path: Path, to: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("replace", [link, loop, pipe])
@pytest.mark.parametrize("name", ["clip.onnx", "contract.json", "parity.json"])
def test_a_file_is_one_of_its_folder(
    tmp_path: Path, name: str, replace: Callable[[Path, Path], None]
) -> None:
    """A link could lead to any file of whoever opens it; a pipe would be waited for for ever."""
    folder = make_artifact(tmp_path / "onnx")
    (folder / "parity.json").write_text("{}")
    outside = tmp_path / "outside"
    outside.write_bytes((folder / name).read_bytes())
    replace(folder / name, outside)
    refused = r"is a link to elsewhere|no regular file|no contract\.jso|cannot be read"
    with pytest.raises(UserError, match=refused):
        _ = open_artifact(folder).parity


def test_a_link_inside_a_package_is_seen_too(tmp_path: Path) -> None:
    """Core ML's file is a folder, whose checksum is over all that lies in it."""
    content = changed("graphs/clip/file", "clip.mlpackage")
    content["graphs"]["step"]["file"] = "step.mlpackage"
    folder = make_artifact(tmp_path / "coreml", content | {"runtime": "coreml"})
    for kind in ("clip", "step"):
        (folder / f"{kind}.mlpackage").unlink()
        (folder / f"{kind}.mlpackage" / "Data").mkdir(parents=True)
    (folder / "step.mlpackage" / "Data" / "weight.bin").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match=r"weight\.bin is a link to elsewhere"):
        open_artifact(folder)


def test_links_as_the_hubs_client_keeps_them_are_files(tmp_path: Path) -> None:
    cache = tmp_path / "models--lab--small"
    folder = make_artifact(cache / "snapshots" / "0123" / "onnx")
    (cache / "blobs").mkdir()
    for name in ("clip.onnx", "contract.json"):
        os.rename(folder / name, cache / "blobs" / name)
        (folder / name).symlink_to(f"../../../blobs/{name}")
    assert open_artifact(folder).contract == made_contract()
    (cache / "blobs" / "clip.onnx").unlink()
    (cache / "blobs" / "clip.onnx").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match="is a link to elsewhere"):
        open_artifact(folder)


def test_a_size_that_differs_is_found_before_anything_is_read(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "onnx")
    with (folder / "clip.onnx").open("r+b") as file:
        file.truncate(10**12)  # hashing it would take an hour
    with pytest.raises(UserError, match=r"is not the file that was checked.*size"):
        open_artifact(folder)


ROW = {
    "subject": "small", "kind": "run", "runtime": "torch", "precision": "fp32", "what": "clip",
    "threads": 1, "batch": 1, "frames": 4, "size": 32, "median_ms": 1.5, "p95_ms": 2.0,
    "per_s": 666.7, "ratio": 1.0, "ratio_low": 1.0, "ratio_high": 1.0, "calls": 9, "rounds": 3,
    "parameters": 1000, "gmacs": 0.1, "file_bytes": 4000,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("parity.json", {}, "passed is missing"),
        ("parity.json", {"passed": True}, "tolerance is missing"),
        ("parity.json", {"passed": None}, "executed is missing"),
        ("parity.json", [], "parity.json is damaged"),
        ("parity.json", {"passed": "yes"}, "passed"),
        ("latency.json", {}, "rows is missing"),
        ("latency.json", {"rows": 3}, "rows: Input should be a valid array"),
        ("latency.json", {"rows": [ROW | {"median_ms": -1}]}, "rows.0.median_ms"),
        ("latency.json", {"rows": [ROW | {"threads": "all"}]}, "rows.0.threads"),
        ("latency.json", {"rows": [{}]}, "rows.0.subject is missing"),
        ("bench.json", [ROW | {"top1": float("nan")}], "0.top1"),
        ("bench.json", {"rows": []}, "valid array"),
        ("bench.json", [ROW | {"more": 1}], "0.more is no field"),
        ("int8.json", {"graphs": {"clip": {"rows": [], "chosen": "fp32"}}}, "graphs.clip.rows"),
        ("int8.json", {"graphs": {"other": {}}}, "graphs.other"),
    ],
)
def test_what_lies_beside_it_is_checked_too(
    tmp_path: Path, name: str, content: Any, named: str
) -> None:
    (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=named) as error:
        read_checked(tmp_path / name)
    assert name in str(error.value)
    assert "again" in str(error.value)


def test_what_is_whole_is_given_as_it_lies_there(tmp_path: Path) -> None:
    (tmp_path / "latency.json").write_text(json.dumps({"date": "2026-01-02", "rows": [ROW]}))
    assert read_checked(tmp_path / "latency.json") == {"date": "2026-01-02", "rows": [ROW]}
