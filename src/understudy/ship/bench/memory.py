"""How much memory this process has taken at its peak, as the operating system tells."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def own_peak_bytes() -> int | None:
    """Peak resident memory of this process in bytes; None where the system does not tell."""
    try:
        # Not getrusage: on Linux a new process inherits the peak of the one that started it.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        if found:
            return int(found[1]) * 1024
    except OSError:
        pass
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None
