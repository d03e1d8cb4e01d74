"""A verb is killed, once or twice, at a moment drawn from the seed; then it is called again."""

from __future__ import annotations

import random
import shutil
import signal
import time
from pathlib import Path

from campaigns.forked import Ended, Kill, run
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
    ended, what = _killed(case, job, kills, place, rng, share=1.0)
    for share in (0.5, 0.2, 0.05):  # where it had ended before
        if ended.signal is None and ended.code == 0:
            shutil.rmtree(place)
            ended, what = _killed(case, job, kills, place, rng, share)
    if ended.signal == signal.SIGKILL:
        time.sleep(0.3)  # a user's next call takes longer to start than this fork
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


def _killed(
    case: int, job: Job, kills: Kills, place: Path, rng: random.Random, share: float
) -> tuple[Ended, str]:
    """The first kill, and for every fourth case the second; how the last call ended."""
    prepare(job, kills.workshop, place)
    moment, what = _moment(rng, case, kills.expected(job), share)
    ended = run(job.words(place), place, kill=moment)
    if case % 4 == 3:
        moment, second = _moment(rng, case, kills.expected(job), share)
        ended, what = run(job.again(place), place, kill=moment), f"{what}, again {second}"
    return ended, what


def _moment(rng: random.Random, case: int, expected: Undisturbed, share: float) -> tuple[Kill, str]:
    """Half of the kills fall between two changes of files, half at any time. share: of what an
    undisturbed call takes, the part in which they fall."""
    if case % 2:
        after = rng.uniform(0.05, 0.95) * share
        return Kill(after_s=after * expected.seconds), f"killed after {after:.2f} of its time"
    change = rng.randint(1, max(1, round(expected.changes * share)))
    return Kill(before_change=change), f"killed before change {change} of {expected.changes}"
