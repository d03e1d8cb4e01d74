"""A verb is killed, once or twice, at a moment drawn from the seed; then it is called again."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

from campaigns.forked import Kill, run
from campaigns.jobs import (
    EVALUATE,
    EXPORT,
    REPLACE,
    REPORT,
    STAGE,
    STORE,
    TRAIN,
    Job,
    Undisturbed,
    look,
    prepare,
    undisturbed,
)
from campaigns.outcome import Row, message_of, of_call
from campaigns.workshop import Workshop

_SHARES = ((TRAIN, 24), (STORE, 20), (EVALUATE, 14), (EXPORT, 7), (REPLACE, 9), (STAGE, 14),
           (REPORT, 12))  # fmt: skip


def cases(kills: int) -> list[Job]:
    """The job of each case, in turns."""
    weighted = [job for job, share in _SHARES for _ in range(share)]
    random.Random(0).shuffle(weighted)
    return [weighted[number % len(weighted)] for number in range(kills)]


class Kills:
    """What all cases share. `expected` is what a job comes to undisturbed, found out once."""

    def __init__(self, workshop: Workshop, folder: Path, seed: int) -> None:
        self.workshop, self.folder, self.seed = workshop, folder, seed
        self._expected: dict[str, Undisturbed] = {}

    def expected(self, job: Job) -> Undisturbed:
        if job.name not in self._expected:
            place = self.folder / f"undisturbed-{job.name.replace(' ', '')}"
            self._expected[job.name] = undisturbed(job, self.workshop, place)
            shutil.rmtree(place)
        return self._expected[job.name]


def kill(case: int, job: Job, kills: Kills) -> Row:
    """The verb is killed, a quarter of them twice, and called again."""
    rng = random.Random(f"{kills.seed} kill {case}")
    expected = kills.expected(job)
    place = kills.folder / f"kill-{case}"
    for share in (1.0, 0.5, 0.2, 0.05):  # until it was killed before it had ended
        if place.exists():
            shutil.rmtree(place)
        prepare(job, kills.workshop, place)
        told, ended = [], None
        for number in range(1 + (case % 4 == 3)):
            moment, what = _moment(rng, case, expected, share)
            ended = run(job.again(place) if number else job.words(place), place, kill=moment)
            told.append(what)
        assert ended is not None
        if ended.signal == signal.SIGKILL or ended.code != 0:
            break
    assert ended is not None
    what = ", again ".join(told)
    if ended.signal == signal.SIGKILL:
        ended = run(job.again(place), place)
    outcome, where = of_call(ended)
    if outcome == "refused":
        outcome, where = "lost", "the next call refuses what the kill left"
    if outcome == "right":
        outcome, where = look(job, place, expected)
    if outcome == "right":
        shutil.rmtree(place)
    message = message_of(ended) if outcome not in ("right", "left") else ""
    return Row(case, "kills", job.name, what, outcome, where, message, round(ended.seconds, 2))


def _moment(rng: random.Random, case: int, expected: Undisturbed, share: float) -> tuple[Kill, str]:
    """Half of the kills fall between two changes of files, half at any time. share: of what an
    undisturbed call takes, the part in which they fall."""
    if case % 2:
        after = rng.uniform(0.05, 0.95) * share
        return Kill(after_s=after * expected.seconds), f"killed after {after:.2f} of its time"
    change = rng.randint(1, max(1, round(expected.changes * share)))
    return Kill(before_change=change), f"killed before change {change} of {expected.changes}"
