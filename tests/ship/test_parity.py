"""The check that decides whether an artifact exists must itself be able to say no."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from understudy.ship.parity import compare, compare_streams, explain
from understudy.ship.probes import STREAM_FRAMES, Probe, awkward_probes, probe_stream, real_probes
from understudy.types import Output, State

FRAMES, SIZE = 4, 8


def reference(frames: Tensor, lengths: Tensor) -> Output:
    """Five classes from the true frames only, order included."""
    real = torch.arange(frames.shape[1]) < lengths[:, None]
    brightness = frames.float().mean((3, 4)) / 255 * real[..., None]
    weights = torch.linspace(-1, 1, FRAMES)[None, :, None]
    embedding = (brightness * weights).sum(1) * 10
    mixing = torch.arange(15.0).view(3, 5).sin()
    return Output(embedding @ mixing, embedding)


def shifted(change: Callable[[Tensor], Tensor], part: str = "logits"):
    def candidate(frames: Tensor, lengths: Tensor) -> Output:
        output = reference(frames, lengths)
        return output._replace(**{part: change(getattr(output, part))})

    return candidate


def probes() -> list[Probe]:
    generator = torch.Generator().manual_seed(3)
    lengths = (4, 1, 3, 4, 2, 4, 4, 4)
    clips = [
        torch.randint(0, 256, (length, 3, SIZE, SIZE), dtype=torch.uint8, generator=generator)
        for length in lengths
    ]
    return real_probes(clips, FRAMES) + awkward_probes(FRAMES, SIZE)


def test_the_same_function_passes_with_no_difference() -> None:
    report = compare(reference, reference, probes())
    assert report["passed"]
    assert report["logits_difference"] == report["embedding_difference"] == 0
    assert report["top1_agreement"] == 1
    assert report["clips"] == 8 + 9


def test_real_clips_come_whole_and_once_in_batches_of_one_and_three() -> None:
    clips = [torch.full((1 + n % 4, 3, 2, 2), n, dtype=torch.uint8) for n in range(9)]
    batches = real_probes(clips, FRAMES)
    assert [len(batch.frames) for batch in batches] == [1, 3, 3, 2]
    found = [
        frames[:length]
        for batch in batches
        for frames, length in zip(batch.frames, batch.lengths.tolist(), strict=True)
    ]
    assert all(torch.equal(a, b) for a, b in zip(found, clips, strict=True))


@pytest.mark.parametrize("part", ["logits", "embedding"])
@pytest.mark.parametrize(
    "change",
    [
        lambda values: values + 1.0,
        lambda values: values * 1.001,
        lambda values: values * float("nan"),
        lambda values: values[:, :-1],
        lambda values: values[:1].expand_as(values),  # a batch frozen at one
    ],
    ids=["shifted", "scaled", "nan", "a column lost", "batch frozen"],
)
def test_a_changed_output_fails(change: Callable[[Tensor], Tensor], part: str) -> None:
    report = compare(reference, shifted(change, part), probes())
    assert not report["passed"]
    assert (
        report[f"{part}_difference"] > 1e-4
        or report[f"{part}_difference"] != report[f"{part}_difference"]
    )
    assert "allowed 0.0001" in explain(report)


def test_a_difference_is_relative_to_the_largest_value_but_at_least_to_one() -> None:
    frames = torch.full((1, FRAMES, 3, SIZE, SIZE), 255, dtype=torch.uint8)
    probe = Probe("one", frames, torch.tensor([FRAMES]))

    def constant(value: float):
        return lambda frames, lengths: Output(torch.tensor([[0.0, value]]), torch.zeros(1, 3))

    small = compare(constant(0.5), constant(0.501), [probe])
    large = compare(constant(50), constant(50.1), [probe])
    assert small["logits_difference"] == pytest.approx(0.001, rel=1e-3)
    assert large["logits_difference"] == pytest.approx(0.002, rel=1e-3)


def test_an_export_that_ignores_lengths_fails() -> None:
    def blind(frames: Tensor, lengths: Tensor) -> Output:
        return reference(frames, torch.full_like(lengths, FRAMES))

    report = compare(reference, blind, probes())
    assert not report["passed"]
    differing = {row["probe"] for row in report["probes"] if row["logits_difference"] > 1e-4}
    assert differing == {"real clips", "one frame", "three lengths"}


def test_another_best_class_fails_however_small_the_values() -> None:
    def tiny(order: list[int]):
        return lambda frames, lengths: Output(
            torch.tensor([[3e-4, 2.5e-4, 0.0]])[:, order].expand(len(frames), -1),
            torch.zeros(len(frames), 3),
        )

    report = compare(tiny([0, 1, 2]), tiny([1, 0, 2]), probes(), tolerance=1e-4)
    assert report["top1_agreement"] == 1  # within tolerance of each other: a tie
    report = compare(tiny([0, 1, 2]), tiny([2, 1, 0]), probes(), tolerance=2e-4)
    assert report["top1_agreement"] == 0
    assert not report["passed"]


@pytest.mark.parametrize("broken", ["the run", "the export", "both"])
def test_outputs_that_are_no_numbers_never_agree_and_are_counted(broken: str) -> None:
    def silent(frames: Tensor, lengths: Tensor) -> Output:
        # All NaN: the first class would be "the best", which it is of the reference too.
        output = shifted(lambda values: values.sort(descending=True).values)(frames, lengths)
        return output._replace(logits=output.logits * float("nan"))

    first = shifted(lambda values: values.sort(descending=True).values)
    run = first if broken == "the export" else silent
    export = first if broken == "the run" else silent
    report = compare(run, export, probes())
    assert (report["top1_agreement"], report["passed"]) == (0, False)
    expected = {"the run": (0, 17), "the export": (17, 0), "both": (17, 17)}[broken]
    assert (report["broken"], report["broken_reference"]) == expected
    named = "17 clips by the run and for 17 clips by the export" if broken == "both" else broken
    assert f"no finite number for {named if broken == 'both' else '17 clips by ' + broken}" in (
        explain(report)
    )


def test_a_stream_that_breaks_off_in_nan_says_for_how_many_frames() -> None:
    report = compare_streams(Counting(), Counting(drift=float("nan")), stream())
    assert (report["broken"], report["broken_reference"]) == (report["frames"], 0)
    assert report["top1_agreement"] == 0


def test_a_picture_needs_no_probes_of_length() -> None:
    names = [probe.name for probe in awkward_probes(1, SIZE)]
    assert names == ["noise", "noise, batch of 3", "black"]


class Counting:
    """Streams the mean brightness so far; `forgets` and `drift` are what a bad export may do."""

    def __init__(self, *, forgets: bool = False, drift: float = 0.0) -> None:
        self.forgets, self.drift = forgets, drift

    def init_state(self, batch_size: int) -> State:
        return torch.zeros(batch_size, 1), torch.zeros(batch_size, 1)

    def step(self, frame: Tensor, state: State) -> tuple[Output, State]:
        total, count = state
        count = count + 1
        total = total * (1 + self.drift) + frame.float().mean((1, 2, 3))[:, None] / 255
        mean = total / count
        output = Output(torch.cat([mean, 1 - mean], dim=1), mean)
        return output, (total * 0, count * 0) if self.forgets else (total, count)


def stream() -> Tensor:
    generator = torch.Generator().manual_seed(4)
    shape = (2, 5, 3, SIZE, SIZE)
    return probe_stream(list(torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)))


def test_a_stream_is_real_frames_then_noise_then_black() -> None:
    frames = stream()
    assert len(frames) == STREAM_FRAMES == 256
    assert torch.equal(frames[:10], frames[10:20])
    assert not torch.equal(frames[182:192], frames[192:202])
    assert frames[192:224].any()
    assert not frames[224:].any()


def test_the_same_stream_passes_with_no_difference() -> None:
    report = compare_streams(Counting(), Counting(), stream())
    assert report["passed"]
    assert report["frames"] == 256
    assert report["logits_difference"] == report["last_logits_difference"] == 0


def test_a_state_that_is_forgotten_fails() -> None:
    assert not compare_streams(Counting(), Counting(forgets=True), stream())["passed"]


def test_a_state_that_drifts_shows_at_the_end_and_not_in_one_clip() -> None:
    slow = Counting(drift=1e-6)
    assert compare_streams(Counting(), slow, stream()[:8])["passed"]
    assert compare_streams(Counting(), slow, stream())["last_logits_difference"] > 2e-5
    faster = compare_streams(Counting(), Counting(drift=1e-4), stream())
    assert not faster["passed"]


def test_the_median_is_that_of_the_clips() -> None:
    def candidate(frames: Tensor, lengths: Tensor) -> Output:
        output = reference(frames, lengths)
        return output._replace(logits=output.logits + (lengths == 1)[:, None] * 1e-3)

    report = compare(reference, candidate, probes())
    assert report["logits_median"] == 0 < report["logits_difference"]
