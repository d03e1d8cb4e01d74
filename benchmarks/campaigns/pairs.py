"""Two processes on one run, one artifact, one page, one folder of films, and on one store."""

from __future__ import annotations

import random
import shutil
import time

from campaigns.forked import Child, Ended
from campaigns.jobs import EVALUATE, REPLACE, REPORT, STAGE, TRAIN, Job, foreign, look, prepare
from campaigns.kills import Kills
from campaigns.outcome import Row, message_of, of_call

JOBS = (TRAIN, EVALUATE, REPLACE, STAGE, REPORT)


def pair(case: int, job: Job, kills: Kills) -> Row:
    """The second process begins when the first has made some of its changes. One of them does its
    work and the other does the same or is refused; what is there in the end is right."""
    rng = random.Random(f"{kills.seed} pair {case}")
    expected = kills.expected(job)
    place = kills.folder / f"pair-{case}"
    prepare(job, kills.workshop, place)
    first = Child(job.words(place), place)
    after = rng.randint(0, max(1, expected.changes - 2))
    while len(first.notes()) < after and first.running():
        time.sleep(0.001)
    second = Child(job.words(place), place)
    both = first.wait(), second.wait()
    outcome, where = _of_both(both)
    if outcome in ("right", "refused"):
        found, amiss = look(job, place, expected)
        if found != "right":
            outcome, where = found, amiss
    row = _row(case, f"{job.name}, twice at once", f"the second after {after} changes", outcome,
               where, both)  # fmt: skip
    if outcome in ("right", "refused"):
        shutil.rmtree(place)
    return row


def one_store(case: int, job: Job, kills: Kills) -> Row:
    """Two runs with one store, at once: both as if they were alone."""
    expected = kills.expected(job)
    place = kills.folder / f"pair-{case}"
    prepare(job, kills.workshop, place)
    words = job.words(place)
    first = Child(words, place)
    second = Child([*words[:-1], "runs/other"], place)
    both = first.wait(), second.wait()
    outcome, where = _of_both(both)
    if outcome == "refused":
        outcome, where = "lost", "one of two runs on one store is refused"
    if outcome == "right":
        if foreign(place) != expected.foreign:
            outcome, where = "lost", "a file of the user's is gone"
        one = job.answer(place)
        (place / "runs" / "new").rename(place / "runs" / "first")
        (place / "runs" / "other").rename(place / "runs" / "new")
        if not one == job.answer(place) == expected.answer:
            outcome, where = "wrong", "another result than alone"
        if left := [file.name for file in place.rglob("*.partial")]:
            outcome, where = "left", f"left behind: {', '.join(left)}"
    return _row(case, "two runs, one store", "both at once", outcome, where, both)


def _of_both(both: tuple[Ended, Ended]) -> tuple[str, str]:
    outcomes = [of_call(ended) for ended in both]
    for bad in ("crashed", "hung", "wrong"):
        for outcome, where in outcomes:
            if outcome == bad:
                return outcome, where
    names = [outcome for outcome, _ in outcomes]
    if names == ["refused", "refused"]:
        return "lost", "both are refused"
    return ("refused", "") if "refused" in names else ("right", "")


def _row(
    case: int, subject: str, what: str, outcome: str, where: str, both: tuple[Ended, Ended]
) -> Row:
    worst = next((ended for ended in both if ended.code != 0), both[0])
    message = message_of(worst) if outcome != "right" else ""
    return Row(case, "pairs", subject, what, outcome, where, message, round(worst.seconds, 2))
