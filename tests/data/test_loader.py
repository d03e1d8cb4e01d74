"""Batches are a pure function of seed and epoch, whatever the order, the cache or the workers."""

import errno
import multiprocessing
from collections import Counter
from collections.abc import Sequence

import pytest
import torch

from understudy.data import loader as loader_module
from understudy.data import reader as reader_module
from understudy.data.kept import Kept, KeptFrames
from understudy.data.loader import EpochBatches, clip_fps, clip_seconds, collate, make_loader
from understudy.data.manifest import Manifest
from understudy.recipe import Augment, Data
from understudy.types import Batch, Record

LENGTHS = [12, 3, 20, 5, 9, 30]
DRAWN = Augment(crop_scale=0.5, flip=0.5, brightness=0.3)


@pytest.fixture
def manifest(film) -> Manifest:
    """Six clips, among them ones shorter than eight frames; two of class 0, four of class 1."""
    paths = [film(f"{n}.mp4", count, size=(48, 40)) for n, count in enumerate(LENGTHS)]
    records = [
        Record(path.name, "sit" if n > 1 else "jump", "train", path.name)
        for n, path in enumerate(paths)
    ]
    return Manifest.from_records(records, paths[0].parent)


def config(**changes) -> Data:
    return Data.model_validate({"manifest": "-", "size": 24, "frames": 8, **changes})


def batches(
    manifest, data, *, epoch=0, rows: Sequence[int] = range(6), batch_size=3, **options
) -> list[Batch]:
    loader = make_loader(manifest, data, list(rows), batch_size=batch_size, **options)
    assert isinstance(loader.batch_sampler, EpochBatches)
    loader.batch_sampler.set_epoch(epoch)
    return list(loader)


def by_row(epoch: list[Batch]) -> dict[int, bytes]:
    return {
        int(row): frames[:length].numpy().tobytes()
        for batch in epoch
        for row, frames, length in zip(batch.index, batch.frames, batch.lengths, strict=True)
    }


def test_a_batch_holds_every_clip_at_its_true_length(manifest, numbers):
    first, second = batches(manifest, config())
    assert first.frames.shape == (3, 8, 3, 24, 24)
    assert first.lengths.tolist() == [8, 3, 8]
    assert second.lengths.tolist() == [5, 8, 8]
    assert first.target.tolist() == [0, 0, 1]
    assert [*first.index.tolist(), *second.index.tolist()] == list(range(6))
    assert first.view is None
    assert numbers(first.frames[1, :3]) == [0, 1, 2]
    assert not first.frames[1, 3:].any()
    assert numbers(first.frames[2]) == [1, 3, 6, 8, 11, 13, 16, 18]


def test_the_padding_is_only_as_long_as_the_batch_needs(manifest):
    (batch,) = batches(manifest, config(), rows=[1, 3])
    assert batch.frames.shape[1] == 5


def test_several_labels_are_ones_and_zeros(manifest):
    records = tuple(
        Record(r.path, ("a", "c") if n else ("b",), "train", r.group)
        for n, r in enumerate(manifest.records)
    )
    (batch, _) = batches(Manifest.from_records(records, manifest.root), config())
    assert batch.target.tolist() == [[0, 1, 0], [1, 0, 1], [1, 0, 1]]
    assert batch.target.dtype == torch.float32


def test_kept_frames_give_the_pixels_of_decoded_ones(manifest, monkeypatch):
    reads = []
    read = reader_module.read_views
    monkeypatch.setattr(reader_module, "read_views", lambda *a: reads.append(a) or read(*a))
    passes = {}
    for memory_mb, expected in ((64, 6), (0, 12)):
        reads.clear()
        loader = make_loader(
            manifest, config(memory_mb=memory_mb, augment=DRAWN), list(range(6)), batch_size=4,
            augment=True,
        )  # fmt: skip
        epochs = []
        for epoch in range(2):
            loader.batch_sampler.set_epoch(epoch)  # pyright: ignore[reportAttributeAccessIssue]
            epochs.append(by_row(list(loader)))
        assert len(reads) == expected
        passes[memory_mb] = epochs
    assert passes[64] == passes[0]
    assert passes[0][0] != passes[0][1]


def test_workers_find_what_any_of_them_has_decoded(manifest, monkeypatch):
    """An epoch in another order gives clips to other workers, and still none is decoded again."""
    reads = multiprocessing.Value("i", 0)
    read = reader_module.read_views

    def counted(*a):
        with reads:
            reads.value += 1
        return read(*a)

    monkeypatch.setattr(reader_module, "read_views", counted)
    data = config(memory_mb=64, augment=DRAWN, workers=2)
    loader = make_loader(manifest, data, list(range(6)), batch_size=1, shuffle_seed=3, augment=True)
    epochs, counts = [], []
    for epoch in range(2):
        loader.batch_sampler.set_epoch(epoch)  # pyright: ignore[reportAttributeAccessIssue]
        epochs.append(by_row(list(loader)))
        counts.append(reads.value)
    assert counts == [6, 6]
    alone = config(memory_mb=0, augment=DRAWN)
    assert epochs == [by_row(batches(manifest, alone, augment=True, epoch=e)) for e in range(2)]


def test_memory_for_frames_is_one_bound_for_all_workers(manifest):
    """Of three megabytes, one is promised; who comes when it is full is decoded again, the same."""
    kept = KeptFrames(2**20)
    for number in range(3):
        kept.add(Kept(torch.full((2, 3, 400, 400), number, dtype=torch.uint8), False), number)
    assert [kept.find(number) is not None for number in range(3)] == [True, False, False]
    kept.add(Kept(torch.full((1, 3, 8, 9), 7, dtype=torch.uint8), True), "small")
    found = kept.find("small")
    assert found is not None
    assert found.is_picture
    assert torch.equal(found.frames, torch.full((1, 3, 8, 9), 7, dtype=torch.uint8))


def test_an_epoch_does_not_depend_on_its_order_or_workers(manifest):
    data = config(augment=DRAWN, sampling="random_segment")
    options = {"augment": True, "epoch": 3}
    straight = batches(manifest, data, **options)
    shuffled = batches(manifest, data, shuffle_seed=5, batch_size=2, **options)
    elsewhere = batches(manifest, config(**{**data.model_dump(), "workers": 2}), **options)
    assert by_row(straight) == by_row(shuffled) == by_row(elsewhere)
    assert {batch.view for batch in straight} == {3}


@pytest.mark.parametrize("sampling", ["random_segment", "dense"])
def test_random_frames_differ_between_views_and_rest_in_evaluation(manifest, sampling):
    data = config(frames=3, sampling=sampling, stride_s=0.05 if sampling == "dense" else None)
    drawn = [by_row(batches(manifest, data, augment=True, epoch=e))[5] for e in range(5)]
    assert len(set(drawn)) > 1
    still = [batches(manifest, data, epoch=e) for e in range(2)]
    assert by_row(still[0]) == by_row(still[1])
    assert still[0][0].view is None


@pytest.mark.parametrize("sampling", ["random_segment", "dense"])
def test_frames_drawn_at_random_are_not_kept_and_those_of_evaluation_are(
    manifest, monkeypatch, sampling
):
    """One loader over several epochs shows what a new one shows in each: every epoch its frames."""
    reads = []
    read = reader_module.read_views
    monkeypatch.setattr(reader_module, "read_views", lambda *a: reads.append(a) or read(*a))
    data = config(frames=3, sampling=sampling, stride_s=0.05 if sampling == "dense" else None)
    for augment, expected in ((True, 18), (False, 6)):
        loader = make_loader(manifest, data, list(range(6)), batch_size=3, augment=augment)
        epochs = []
        reads.clear()
        for epoch in range(3):
            loader.batch_sampler.set_epoch(epoch)  # pyright: ignore[reportAttributeAccessIssue]
            epochs.append(by_row(list(loader)))
        assert len(reads) == expected
        assert epochs == [
            by_row(batches(manifest, data, augment=augment, epoch=e)) for e in (0, 1, 2)
        ]
        assert (epochs[0] == epochs[1] == epochs[2]) is not augment


def test_finite_views_return(manifest):
    data = config(augment=Augment(brightness=0.5, views=2))
    epochs = [by_row(batches(manifest, data, augment=True, epoch=e)) for e in range(4)]
    assert epochs[0] == epochs[2]
    assert epochs[1] == epochs[3]
    assert epochs[0] != epochs[1]


def test_without_any_draw_there_is_no_view(manifest):
    (batch, _) = batches(manifest, config(), augment=True, epoch=3)
    assert batch.view is None
    (batch, _) = batches(manifest, config(augment=DRAWN), augment=False, epoch=3)
    assert batch.view is None


def test_every_epoch_has_an_order_of_its_own_and_can_be_replayed():
    def order(epoch: int, seed: int = 1) -> list[int]:
        epochs = EpochBatches(range(50), 7, shuffle_seed=seed)
        epochs.set_epoch(epoch)
        return [row for batch in epochs for row, _ in batch]

    assert sorted(order(0)) == list(range(50))
    assert len({tuple(order(epoch)) for epoch in range(10)}) == 10
    assert order(4) == order(4)
    assert order(4) != order(4, seed=2)


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_share_each_batch_without_gap_or_repetition(processes):
    """The last batch has one clip, so some processes have none of it and still take part."""
    whole = list(EpochBatches(range(22), 7, shuffle_seed=1, views=0))
    parts = [
        list(EpochBatches(range(22), 7, shuffle_seed=1, views=0, share=(rank, processes)))
        for rank in range(processes)
    ]
    assert {len(part) for part in parts} == {len(whole)}
    for batch, *shares in zip(whole, *parts, strict=True):
        assert sorted(batch) == sorted(key for share in shares for key in share)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert parts[-1][-1] == []


def test_balanced_drawing_makes_classes_equally_likely(manifest):
    many = make_loader(
        manifest, config(), [0, 1, 2, 3, 4, 5] * 500, batch_size=4, shuffle_seed=0, balanced=True
    )
    assert isinstance(many.batch_sampler, EpochBatches)
    keys = [key for batch in many.batch_sampler for key in batch]
    assert len(keys) == 3000
    drawn = Counter(manifest.target_of(row) for row, _ in keys)
    assert abs(drawn[0] - 1500) < 140  # five standard deviations of a fair coin


def test_a_clip_that_cannot_be_read_is_listed_and_not_replaced(manifest):
    (manifest.root / "1.mp4").write_bytes(b"")
    (manifest.root / "2.mp4").unlink()
    first, second = batches(manifest, config())
    assert first.index.tolist() == [0]
    assert [(bad.row, bad.path) for bad in first.skipped] == [(1, "1.mp4"), (2, "2.mp4")]
    assert "empty" in first.skipped[0].reason
    assert len(second) == 3
    assert second.skipped == ()


def test_a_batch_may_be_empty(manifest):
    for row in range(3):
        (manifest.root / f"{row}.mp4").write_bytes(b"")
    first, second = batches(manifest, config())
    assert len(first) == 0
    assert first.frames.shape[0] == first.target.shape[0] == first.lengths.shape[0] == 0
    assert [bad.row for bad in first.skipped] == [0, 1, 2]
    assert len(second) == 3


def test_the_last_batch_can_be_left_out(manifest):
    assert [len(b) for b in batches(manifest, config(), batch_size=4)] == [4, 2]
    assert [len(b) for b in batches(manifest, config(), batch_size=4, keep_last=False)] == [4]


def test_only_the_marked_part_of_a_file_is_shown(manifest, numbers):
    part = Record("5.mp4", "sit", "train", "x", 0.4, 0.6)
    (batch,) = batches(Manifest.from_records([part], manifest.root), config(), rows=[0])
    assert batch.lengths.tolist() == [5]
    assert numbers(batch.frames[0]) == [10, 11, 12, 13, 14]


def test_crops_are_taken_from_pixels_that_are_there(manifest, monkeypatch):
    """Kept frames are larger than the model's input when a crop will be enlarged from them."""
    sides = []
    read = reader_module.read_views

    def watched(path, wanted, *rest):
        sides.extend(side for _, side in wanted)
        return read(path, wanted, *rest)

    monkeypatch.setattr(reader_module, "read_views", watched)
    data = config(augment=Augment(crop_scale=0.25))
    batches(manifest, data, augment=True)
    batches(manifest, data)
    assert set(sides[:6]) == {48}
    assert set(sides[6:]) == {24}


def test_median_seconds_ignore_what_cannot_be_read(manifest):
    assert clip_seconds(manifest, [0, 1, 2]) == pytest.approx(12 / 25)
    (manifest.root / "1.mp4").write_bytes(b"")
    assert clip_seconds(manifest, [0, 1, 2]) == pytest.approx(16 / 25)
    assert clip_seconds(manifest, [1]) == 0.0
    assert (clip_fps(manifest, [0, 1, 2]), clip_fps(manifest, [1])) == (25, 0)


def test_nothing_collates_to_an_empty_batch():
    assert len(collate([])) == 0


def test_a_batch_knows_whether_it_is_padded(manifest):
    padded, *_ = batches(manifest, config())
    (full,) = batches(manifest, config(), rows=[0, 2, 5])
    assert (padded.full, full.full) == (False, True)


def test_a_batch_moves_as_a_whole(manifest):
    (batch,) = batches(manifest, config(), rows=[0, 2])
    moved = batch.to("meta")
    assert {tensor.device.type for tensor in (moved.frames, moved.lengths, moved.target)} == {
        "meta"
    }
    assert (moved.view, moved.full, moved.skipped) == (batch.view, batch.full, batch.skipped)


def test_many_clips_are_timed_by_some_of_them(manifest, monkeypatch):
    looked = []
    timeline = loader_module.read_timeline
    monkeypatch.setattr(loader_module, "read_timeline", lambda *a: looked.append(a) or timeline(*a))
    assert clip_seconds(manifest, [0, 1, 2, 3, 4, 5] * 1000) > 0
    assert len(looked) == loader_module.MOST_TIMED


def test_a_limit_on_the_size_of_files_does_not_end_a_loader(monkeypatch):
    def refuse(descriptor: int, size: int) -> None:
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr("os.ftruncate", refuse)
    kept, frames = KeptFrames(10_000), torch.full((2, 3, 4, 5), 7, dtype=torch.uint8)
    process = multiprocessing.get_context("fork").Process(
        target=kept.add, args=(Kept(frames, False), "a clip")
    )
    process.start()
    process.join()
    found = kept.find("a clip")
    assert found is not None
    assert torch.equal(found.frames, frames)
