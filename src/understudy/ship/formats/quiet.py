"""Silence for exporters, which print and warn as they work; what they raise still comes through."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Within it nothing is printed or warned by Python code, nor logged below an error."""
    found = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in found]
    try:
        for logger in found:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(found, levels, strict=True):
            logger.setLevel(level)


_ONE_AT_A_TIME = threading.RLock()
"""Two threads at a time would give each other's silence back as what there was before."""


@contextlib.contextmanager
def quiet_native() -> Iterator[None]:
    """Within it nothing reaches stdout or stderr, not even from C++ code, which asks nobody.

    The two belong to the process: for as long, other threads are not heard either. What was
    written goes with an error as its note, since it often says more than the error does.
    """
    with _ONE_AT_A_TIME, tempfile.TemporaryFile() as said:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = [os.dup(1), os.dup(2)]
        try:
            for stream in (1, 2):
                os.dup2(said.fileno(), stream)
            spoken = io.StringIO()
            try:
                # Where these two were replaced, as test runners do, they do not end at 1 and 2.
                with contextlib.redirect_stdout(spoken), contextlib.redirect_stderr(spoken):
                    yield
            except BaseException as error:
                said.seek(0)
                text = (said.read().decode(errors="replace") + spoken.getvalue()).strip()
                if text:
                    error.add_note(text[-2000:])
                raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for stream, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, stream)
                os.close(copy)
