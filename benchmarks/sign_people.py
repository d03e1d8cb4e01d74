"""Whose hands are in the clips of sign_words: the still of sign_digits behind each sign, by pixels.

    python benchmarks/sign_people.py --data FOLDER

The groups of sign_words name two numbers, test-56-58 for one. They are taken to be the first two
digits of the file numbers in sign_digits; here that is checked, clip by clip: the first and the
last frame are correlated with every still of their sign, over scales, turns and shifts, and the
best one has to lie where the group says. Prints what it found.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from table import parse_arguments
from understudy.data.decode import read_frames, read_timeline
from understudy.data.manifest import Manifest
from understudy.data.pictures import read_picture
from understudy.data.sources.folder import from_folder
from understudy.data.sources.table import from_table
from understudy.errors import UserError

SIGNS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_SIDE = 48
"""Pixels a side at which frames and stills are compared."""
_SCALES, _DEGREES = (0.75, 0.85, 0.92, 1.0, 1.08, 1.16), (-6.0, 0.0, 6.0)


class Sign(NamedTuple):
    """One of the two signs of a clip and the still that looks most like it.

    clip: row of sign_words. label: a folder of sign_digits. still: row of sign_digits.
    correlation: with that still; runner_up: with the next best.
    """

    clip: int
    label: str
    still: int
    correlation: float
    runner_up: float


def main() -> None:
    data = parse_arguments(__doc__, "").data
    clips, stills = read_both(data)
    for split in ("val", "test"):
        signs = find_stills(clips, stills, split)
        sys.stdout.write(f"{split}: {report(signs)}\n")


def read_both(data: Path) -> tuple[Manifest, Manifest]:
    """The clips of sign_words and the stills of sign_digits, neighbouring numbers one group."""
    clips = from_table(data / "sign_words" / "labels.csv")
    return clips, from_folder(data / "sign_digits" / "images", neighbours=10)


def find_stills(clips: Manifest, stills: Manifest, split: str) -> list[Sign]:
    """The still behind each sign of a split's clips, first sign and second sign in turn.

    Raises UserError unless every one of them has a number that begins as the clip's group says.
    """
    banks = {str(n): _Bank(stills, str(n)) for n in range(len(SIGNS))}
    found, wrong = [], []
    for clip in clips.rows(split):
        record, path = clips.records[clip], clips.path_of(clip)
        timeline = read_timeline(path)
        ends = [timeline.time_of(0), timeline.time_of(timeline.frames - 1)]
        words, numbers = str(record.label).split("_"), record.group.split("-")[1:]
        for frame, word, number in zip(read_frames(path, ends), words, numbers, strict=True):
            label = str(SIGNS.index(word))
            still, correlation, runner_up = banks[label].nearest(frame)
            found.append(Sign(clip, label, still, correlation, runner_up))
            if file_number(stills, still) // 100 != int(number):
                wrong.append(f"{record.path} looks like {stills.records[still].path}")
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(found)} signs look like stills of other numbers than their "
            f"groups name, so nobody could be left out of training by them: {'; '.join(wrong[:5])}"
        )
    return found


def report(signs: list[Sign]) -> str:
    """In words how sure the stills are."""
    least = min(sign.correlation for sign in signs)
    margin = min(sign.correlation - sign.runner_up for sign in signs)
    return (
        f"all {len(signs)} signs look most like a still whose number begins as their group says; "
        f"correlation {least:.3f} or more, ahead of the next best still by {margin:.3f} or more; "
        f"{len({sign.still for sign in signs})} different stills"
    )


def file_number(stills: Manifest, row: int) -> int:
    """5838 for images/2/IMG_5838.JPG."""
    return int(re.findall(r"\d+", Path(stills.records[row].path).stem)[-1])


class _Bank:
    """The stills of one sign as spectra (N, views, SIDE, SIDE // 2 + 1), turned and scaled."""

    def __init__(self, stills: Manifest, label: str) -> None:
        self.rows = [n for n, record in enumerate(stills.records) if record.label == label]
        grey = torch.cat([_grey(read_picture(stills.path_of(row))) for row in self.rows])
        views = [_turned(grey, scale, by) for scale in _SCALES for by in _DEGREES]
        self.spectra = torch.stack([torch.fft.rfft2(_standard(view)) for view in views], 1)

    def nearest(self, frame: Tensor) -> tuple[int, float, float]:
        """Row of the still most like a frame (3, H, W), its correlation and the next best's."""
        spectrum = torch.fft.rfft2(_standard(_grey(frame))[0])
        shifted = torch.fft.irfft2(spectrum * self.spectra.conj(), s=[_SIDE, _SIDE])
        (best, second), places = shifted.amax((1, 2, 3)).topk(2)
        return self.rows[int(places[0])], float(best), float(second)


def _grey(picture: Tensor) -> Tensor:
    """(3, H, W) to (1, SIDE, SIDE) float."""
    return functional.interpolate(picture[None].float().mean(1, True), [_SIDE, _SIDE], mode="area")[
        0
    ]


def _turned(grey: Tensor, scale: float, degrees: float) -> Tensor:
    angle = torch.deg2rad(torch.tensor(degrees))
    cos, sin = scale * torch.cos(angle), scale * torch.sin(angle)
    zero = torch.zeros(())
    window = torch.stack([torch.stack([cos, -sin, zero]), torch.stack([sin, cos, zero])])
    size = [len(grey), 1, _SIDE, _SIDE]
    grid = functional.affine_grid(window.expand(len(grey), 2, 3), size, align_corners=False)
    return functional.grid_sample(
        grey[:, None], grid, padding_mode="reflection", align_corners=False
    )[:, 0]


def _standard(grey: Tensor) -> Tensor:
    """Mean 0 and length 1, so that a product is a correlation."""
    centred = grey - grey.mean((-2, -1), keepdim=True)
    return centred / centred.square().sum((-2, -1), keepdim=True).sqrt()


if __name__ == "__main__":
    main()
