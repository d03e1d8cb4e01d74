"""The README of an artifact: what goes in and comes out, and code for it in four languages."""

from __future__ import annotations

from typing import Any

from understudy.ship.formats import FORMATS
from understudy.ship.templating import page_template
from understudy.task import SINGLE_LABEL, task_named


def render_readme(contract: dict[str, Any]) -> str:
    """The content of README.md for an artifact with this contract. It repeats no figure of parity
    or latency, which lie beside it."""
    format_, clip = FORMATS[contract["runtime"]], contract["graphs"]["clip"]
    return page_template("README.md").render(
        contract,
        title=format_.TITLE,
        threads=format_.THREADS,
        clip=clip,
        step=contract["graphs"].get("step"),
        frames=contract["input"]["frames"],
        lengths=len(clip["inputs"]) > 1,
        several=task_named(contract.get("task") or SINGLE_LABEL.name).several,
    )
