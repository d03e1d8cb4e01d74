"""One input of the fuzz campaign: the call that gets it, and what must not come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from campaigns.forked import Ended


def _no_oracle(ended: Ended) -> str:
    del ended
    return ""


@dataclass(frozen=True, slots=True)
class Input:
    """words: the call. what: was done to the input. check: is given a call that ended well, and
    says in a sentence what is wrong about that. must_work: a refusal is wrong too, since one file
    of several is broken and the others are asked for."""

    words: list[str]
    what: str
    check: Callable[[Ended], str] = _no_oracle
    must_work: bool = False
