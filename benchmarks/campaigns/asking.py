"""A question to a forked child: the parent must not compute, or threads would be lost in a fork."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from typing import Any


def ask(function: Callable[..., Any], *arguments: Any, wall_s: float = 600.0) -> Any:
    """The result of a function in a child: the parent must not compute. Its exception is raised."""
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(read)
        try:
            answer = True, function(*arguments)
        except BaseException as error:
            answer = False, f"{type(error).__name__}: {error}"
        with open(write, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(write)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(process, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, wall_s)
    with open(read, "rb") as pipe:
        content = pipe.read()
    signal.setitimer(signal.ITIMER_REAL, 0)
    os.waitpid(process, 0)
    if not content:
        raise AskError("the check itself died or took too long")
    fine, answer = pickle.loads(content)
    if not fine:
        raise AskError(answer)
    return answer


class AskError(Exception):
    """What went wrong in a function that a child was asked for."""
