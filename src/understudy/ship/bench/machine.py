"""Where and when something was timed, which belongs to every figure that is a time."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from understudy.run import cores, describe_environment


def where_and_when() -> dict[str, Any]:
    """Date, hardware and versions, for everything that records a time."""
    environment = describe_environment()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": f"{environment['processor']}, {cores()} cores, {instructions()}",
        "platform": environment["platform"],
        "understudy": environment["understudy"],
        "torch": environment["libraries"]["torch"],
        "onnxruntime": metadata.version("onnxruntime"),
    }


def instructions() -> str:
    """The widest vector instructions of the CPU, by which sums and the speed of INT8 differ."""
    widest = torch.backends.cpu.get_cpu_capability()
    with contextlib.suppress(OSError):
        if re.search(r"\bavx(512)?_vnni\b", Path("/proc/cpuinfo").read_text(encoding="utf-8")):
            return f"{widest} with VNNI"
    return widest
