"""The README of an artifact: its code is run as it stands there."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from small_models import built, length_of, swept
from understudy.run import write_json
from understudy.ship.export import write_graphs
from understudy.ship.formats import FORMATS, is_installed
from understudy.ship.readme import render_readme

CLASSES = ["jump", "wave", "sit down", "stand up", "walk"]
PROSE_LINES = 22
STEPS = 2
"""Frames of a clip here: exporting an unrolled network takes minutes where they are many."""


def contract_of(graphs: dict[str, Any], runtime: str, frames: int, size: int) -> dict[str, Any]:
    form = FORMATS[runtime]
    return {
        "runtime": runtime,
        "precision": form.PRECISION,
        "executed": form.RUNS_HERE,
        "run": "gestures",
        "model": "a model",
        "parameters": 12345,
        "classes": CLASSES,
        "batch": "any" if form.ANY_BATCH else 1,
        "graphs": graphs,
        "input": {"frames": frames, "size": size},
        "sampling": {"method": "uniform", "stride_s": None, "step_s": 0.25, "clip_seconds": 2.0},
        "resize": "short side to 32, centre crop",
    }


def make_artifact(name: str, runtime: str, folder: Path, frames: int | None = None) -> str:
    """Files, contract and README of a small model; gives the README."""
    folder.mkdir(exist_ok=True)
    model = built(name)
    count = frames or length_of(model)
    graphs = write_graphs(FORMATS[runtime], model, count, folder)
    contract = contract_of(graphs, runtime, count, model.input_size)
    write_json(folder / "contract.json", contract)
    text = render_readme(contract)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return text


def code(readme: str, language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)
    return found


def expected(name: str, frames: int | None = None) -> list[dict[str, float]]:
    """What the README's code should print for black frames: the clip, then every step."""
    model = built(name)
    count, size = frames or length_of(model), model.input_size
    black = torch.zeros(1, count, 3, size, size, dtype=torch.uint8)
    with torch.inference_mode():
        logits = [model(black, torch.tensor([count])).logits]
        state = model.init_state(1)
        for frame in black.unbind(1):
            output, state = model.step(frame, state)
            logits.append(output.logits)
    return [dict(zip(CLASSES, one.softmax(1)[0].tolist(), strict=True)) for one in logits]


WITHOUT_TORCH = (
    "import runpy, sys; sys.modules['torch'] = sys.modules['understudy'] = None; "
    "runpy.run_path('use.py')"
)


def run_code(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def check(printed: list[dict[str, float]], wanted: list[dict[str, float]]) -> None:
    assert len(printed) == len(wanted) > 1
    for given, right in zip(printed, wanted, strict=True):
        assert list(given) == list(right)
        assert list(given.values()) == pytest.approx(list(right.values()), abs=1e-5)


def run_python(readme: str, folder: Path, *, without_torch: bool = False) -> list[dict[str, float]]:
    (folder / "use.py").write_text(code(readme, "python"), encoding="utf-8")
    command = ["-c", WITHOUT_TORCH] if without_torch else ["use.py"]
    lines = run_code([sys.executable, *command], folder).splitlines()
    return [json.loads(line.replace("'", '"')) for line in lines if line.startswith("{")]


@pytest.mark.parametrize("name", ["cnn-plain"])
def test_the_python_for_onnx_runs_as_it_stands_without_torch(name: str, tmp_path: Path) -> None:
    readme = make_artifact(name, "onnx", tmp_path)
    check(run_python(readme, tmp_path, without_torch=True), expected(name))


@pytest.mark.parametrize("runtime", ["onnx", "litert", "executorch"])
@pytest.mark.parametrize("name", swept(["frames-attention", "rvit"], ["rvit"]))
def test_the_python_runs_as_it_stands(name: str, runtime: str, tmp_path: Path) -> None:
    if not is_installed(FORMATS[runtime]):
        pytest.skip(f"{runtime} is not installed")
    readme = make_artifact(name, runtime, tmp_path, STEPS)
    check(run_python(readme, tmp_path), expected(name, STEPS))


@pytest.mark.parametrize("name", swept(["frames-attention", "rvit", "c3d"], ["rvit"]))
def test_the_javascript_for_onnx_runs_as_it_stands(name: str, tmp_path: Path) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no node with npm")
    package = ["npm", "install", "--ignore-scripts", "--prefix", str(tmp_path), "onnxruntime-web"]
    if subprocess.run(package, capture_output=True, check=False, timeout=120).returncode:
        pytest.skip("npm cannot fetch onnxruntime-web here")
    readme = make_artifact(name, "onnx", tmp_path)
    (tmp_path / "use.mjs").write_text(code(readme, "javascript"), encoding="utf-8")
    # Node has no page to fetch beside; everything else is as in a browser.
    (tmp_path / "run.mjs").write_text(
        'import { readFile } from "node:fs/promises";\n'
        "globalThis.fetch = async (path) => new Response(await readFile(path));\n"
        "const told = console.log;\n"
        "console.log = (scores) => told(JSON.stringify(scores));\n"
        'await import("./use.mjs");\n',
        encoding="utf-8",
    )
    lines = run_code(["node", "run.mjs"], tmp_path).splitlines()
    check([json.loads(line) for line in lines], expected(name))


def specs(step: bool, lengths: bool) -> dict[str, Any]:
    def one(name: str, dtype: str, *shape: int) -> dict[str, Any]:
        return {"name": name, "dtype": dtype, "shape": list(shape)}

    outputs = [one("logits", "float32", 1, 5), one("embedding", "float32", 1, 16)]
    frames = 4 if lengths else 1
    clip = {
        "file": "clip.bin",
        "oldest_runtime": "Runtime 1.18",
        "signature": "serving_default",
        "inputs": [one("frames", "uint8", frames, 3, 32, 32)]
        + [one("lengths", "int32", 1)] * lengths,
        "outputs": outputs,
    }
    state = [one("state_0", "float32", 1, 16), one("state_1", "int32", 1)]
    stream = {
        "file": "step.bin",
        "oldest_runtime": "Runtime 1.18",
        "inputs": [one("frame", "uint8", 1, 3, 32, 32), *state],
        "outputs": outputs + [one(f"next_{spec['name']}", spec["dtype"], *spec["shape"])
                              for spec in state],
    }  # fmt: skip
    return {"clip": clip} | ({"step": stream} if step else {})


@pytest.mark.parametrize("runtime", FORMATS)
@pytest.mark.parametrize("step", [True, False])
@pytest.mark.parametrize("frames", [4, 1])
def test_it_says_what_a_device_needs(runtime: str, step: bool, frames: int) -> None:
    contract = contract_of(specs(step, frames > 1), runtime, frames, 32)
    text = render_readme(contract)
    assert all(name in text for name in CLASSES)
    assert f"{[frames, 3, 32, 32]}" in text
    assert ("lengths" in text) == (frames > 1)
    assert ("state_1" in text) == step
    assert ("begin with zeros again at a cut" in text) == step
    assert ("0.25 s" in text) == step
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    written = [line for line in prose.splitlines() if line.strip() and not line.startswith("#")]
    assert 8 <= len(written) <= PROSE_LINES
    assert "\n\n\n\n" not in text
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert all(
        any(language in heading for heading in headings)
        for language in ("Python", "Kotlin", "Swift", "JavaScript")
    )
    for language in ("kotlin", "swift", "javascript"):
        for block in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL):
            for opening, closing in ("()", "[]", "{}"):
                assert block.count(opening) == block.count(closing), (language, opening)
            assert ("state" in block) == step or language == "swift"
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        compile(block, runtime, "exec")


def test_it_names_the_oldest_runtime_of_each_file() -> None:
    graphs = specs(step=True, lengths=True)
    assert "\n- Oldest runtime: Runtime 1.18.\n" in render_readme(
        contract_of(graphs, "onnx", 4, 32)
    )
    graphs["step"]["oldest_runtime"] = "Runtime 1.20"
    text = render_readme(contract_of(graphs, "onnx", 4, 32))
    assert "Runtime 1.18 for `clip.bin`; Runtime 1.20 for `step.bin`." in text


@pytest.mark.parametrize("runtime", FORMATS)
def test_it_says_whether_threads_may_share_a_model(runtime: str) -> None:
    text = render_readme(contract_of(specs(step=True, lengths=True), runtime, 4, 32))
    (line,) = re.findall(r"^- Threads: (.*)$", text, re.MULTILINE)
    assert line.startswith("several may" if runtime == "onnx" else "one at a time")
    assert line.endswith("Each stream keeps its own state.")


def test_for_executorch_the_state_is_kept_by_copy_and_torch_is_installed() -> None:
    """An output is memory of the runtime, which the next call overwrites."""
    text = render_readme(contract_of(specs(step=True, lengths=True), "executorch", 4, 32))
    assert "`pip install executorch torch`" in text
    kept = re.compile(r"state = (?:listOf\(|\[) // copies.*?\n +[\])]\n", re.DOTALL)
    kotlin, swift = (kept.findall(code(text, language)) for language in ("kotlin", "swift"))
    assert [one.count("fromBlob(output[") for one in kotlin] == [2]
    assert "fromBlob(output[3].toTensor().dataAsIntArray, longArrayOf(1))" in kotlin[0]
    assert [one.count(".scalars(), shape:") for one in swift] == [2]
    assert "(output[2].tensor()! as Tensor<Float>).scalars(), shape: [1, 16])" in swift[0]
    assert not re.search(r"state = .*output\.drop", text)


def test_a_pace_that_training_did_not_set_is_every_frame() -> None:
    contract = contract_of(specs(step=True, lengths=True), "onnx", 4, 32)
    contract["sampling"] |= {"step_s": None, "method": "centre", "clip_seconds": 0.0}
    text = render_readme(contract)
    assert "every frame of the source" in text
    assert "None" not in re.sub(r"```.*?```|None of the code|run\(None", "", text, flags=re.DOTALL)


def test_what_was_not_executed_is_said() -> None:
    contract = contract_of(specs(step=True, lengths=True), "coreml", 4, 32)
    assert "Converted, not executed" in render_readme(contract)
    contract = contract_of(specs(step=True, lengths=True), "onnx", 4, 32)
    assert "Converted, not executed" not in render_readme(contract)
