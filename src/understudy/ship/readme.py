"""The README of an artifact: what goes in and comes out, and code for it in four languages."""

from __future__ import annotations

from typing import Any

from understudy.ship.formats import FORMATS
from understudy.ship.templating import page_template

_RAN = {
    "onnx": "The Python and JavaScript below are executed by the tests of understudy as they "
    "stand here (JavaScript where Node.js is installed); Kotlin and Swift are not.",
    "litert": "The Python below is executed by the tests of understudy as it stands here; "
    "JavaScript, Kotlin and Swift are not.",
    "executorch": "The Python below is executed by the tests of understudy as it stands here; "
    "Kotlin and Swift are not.",
    "coreml": "None of the code below was executed by the tests of understudy: it needs an Apple "
    "device.",
}
"""Runtime -> which of its code has been run."""

_METHODS = {
    "uniform": "at equal distances",
    "random_segment": "at equal distances",
    "centre": "neighbouring ones from the middle",
    "dense": "in one stretch, as in training",
}


def render_readme(contract: dict[str, Any]) -> str:
    """The content of README.md for an artifact with this contract. It repeats no figure of parity
    or latency, which lie beside it."""
    graphs, sampling, runtime = contract["graphs"], contract["sampling"], contract["runtime"]
    clip = graphs["clip"]
    return page_template("README.md").render(
        title=FORMATS[runtime].TITLE,
        runtime=runtime,
        run=contract["run"],
        model=contract["model"],
        parameters=contract["parameters"],
        precision=contract["precision"],
        executed=contract["executed"],
        classes=contract["classes"],
        batch=contract["batch"],
        clip=clip,
        step=graphs.get("step"),
        signature=clip.get("signature"),
        frames=contract["input"]["frames"],
        lengths=len(clip["inputs"]) > 1,
        resize=contract["resize"],
        method=_METHODS.get(sampling["method"], sampling["method"]),
        clip_seconds=sampling["clip_seconds"],
        step_s=sampling["step_s"],
        ran=_RAN[runtime],
    )
