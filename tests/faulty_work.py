"""Work for processes that die or hang, by name of the item."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path


def work(item: str, alive: Callable[[], None]) -> str:
    kind, _, rest = item.partition(" ")
    if kind == "dies":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "exits":
        os._exit(3)
    if kind == "hangs":
        time.sleep(1000)
    if kind == "lives":  # longer than patience lasts, and tells so
        for _ in range(8):
            time.sleep(0.5)
            alive()
    if kind == "memory":
        raise MemoryError
    if kind == "raises":
        raise RuntimeError("no reader is perfect")
    if kind == "once" and not Path(rest).exists():
        Path(rest).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item.upper()
