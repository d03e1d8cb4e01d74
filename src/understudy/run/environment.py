"""The record of where and how a run was made: versions, machine, command line."""

from __future__ import annotations

import contextlib
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from understudy.core_count import cores

_LIBRARIES = ("torch", "torchvision", "timm", "open_clip_torch", "accelerate", "numpy", "av")


def describe_environment() -> dict[str, Any]:
    """Versions, machine and command line, for the record of a run."""
    import torch

    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return {
        "understudy": metadata.version("understudy"),
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
        # Whatever a file is called, its name can be written down.
        "command": [word.encode("utf-8", "replace").decode() for word in words],
    }


def _commit() -> str | None:
    """The commit of the checkout that this package runs from; None for an installed package."""
    here = Path(__file__).parent
    if "site-packages" in here.parts:  # a checkout around it would be somebody else's
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
        return answer.stdout.strip()
    return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
