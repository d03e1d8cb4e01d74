"""Where and when something was timed, which belongs to every figure that is a time."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from understudy.run import describe_environment


def where_and_when() -> dict[str, Any]:
    """Date, hardware and versions, for everything that records a time."""
    environment = describe_environment()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": f"{environment['processor']}, {cores()} cores",
        "platform": environment["platform"],
        "understudy": environment["understudy"],
        "torch": environment["libraries"]["torch"],
        "onnxruntime": metadata.version("onnxruntime"),
    }


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
