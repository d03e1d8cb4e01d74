"""Peak memory of using a model: a fresh process loads it, runs three clips and says what it took.

python -m understudy.ship.memory run|artifact PATH CHECKPOINT FRAMES SIZE BATCH THREADS
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CLIPS = 3


def peak_rss_mb(
    kind: str, path: Path, checkpoint: str, *, frames: int, size: int, batch: int, threads: int
) -> float | None:
    """Peak resident memory in MB (10^6 bytes) of a process that uses the run or artifact at `path`.

    The interpreter and its libraries are included: that is what using the model takes. None where
    the operating system does not tell.
    """
    arguments = [kind, str(path), checkpoint, *map(str, (frames, size, batch, threads))]
    done = subprocess.run(
        [sys.executable, "-m", "understudy.ship.memory", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"Measuring the memory of {path} failed:\n{done.stderr}")
    answer = done.stdout.splitlines()[-1]
    return None if answer == "unknown" else int(answer) / 1e6


def _use(
    kind: str, path: Path, checkpoint: str, frames: int, size: int, batch: int, threads: int
) -> None:
    import torch

    from understudy.run import open_run
    from understudy.ship.artifact import load_artifact

    torch.set_num_threads(threads)
    if kind == "artifact":
        recognise = load_artifact(path, threads=threads)
    else:
        recognise = open_run(path).load_model(checkpoint)
    pixels = torch.zeros(batch, frames, 3, size, size, dtype=torch.uint8)
    with torch.inference_mode():
        for _ in range(CLIPS):
            recognise(pixels)


def _own_peak_bytes() -> int | None:
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


def main() -> None:
    kind, path, checkpoint, *numbers = sys.argv[1:]
    _use(kind, Path(path), checkpoint, *map(int, numbers))
    peak = _own_peak_bytes()
    sys.stdout.write(f"{'unknown' if peak is None else peak}\n")


if __name__ == "__main__":
    main()
