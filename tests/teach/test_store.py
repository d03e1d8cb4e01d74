"""The store of teachers' outputs: right for other media, damage and neighbours, or not used."""

import hashlib
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from understudy.errors import UserError
from understudy.recipe import dump_recipe
from understudy.run import Run, open_run
from understudy.teach import store as store_module
from understudy.teach import train as loop
from understudy.teach.store import Store, output_id, store_key
from understudy.teach.targets import Targets
from understudy.teach.train import train
from understudy.types import Output

from .conftest import make_recipe

VIEWS = {"augment": {"crop_scale": 0.5, "brightness": 0.4, "views": 2}}


def outputs(seed: int, count: int = 3) -> Output:
    generator = torch.Generator().manual_seed(seed)
    return Output(
        torch.randn(count, 4, generator=generator), torch.randn(count, 8, generator=generator)
    )


def filled(folder: Path, names: str = "abc", view: int | None = 1, seed: int = 0) -> Store:
    store = Store(folder)
    store.add(list(names), view, outputs(seed, len(names)))
    store.flush()
    return store


def same(given: Output | None, expected: Output, row: int) -> bool:
    return given is not None and all(
        torch.equal(a, b[row]) for a, b in zip(given, expected, strict=True)
    )


def test_what_was_kept_is_found_by_clip_and_view_alone(tmp_path):
    filled(tmp_path)
    other = Store(tmp_path)
    for row, name in enumerate("abc"):
        assert same(other.find(name, 1), outputs(0), row)
    for clip, view in (("a", 0), ("a", None), ("d", 1), ("a#t=0,1", 1)):
        assert other.find(clip, view) is None


def test_a_thousand_clips_are_each_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "SHARD_CLIPS", 100)
    store, expected = Store(tmp_path), outputs(1, 1000)
    for start in range(0, 1000, 50):
        names = [f"clip {n}" for n in range(start, start + 50)]
        part = Output(*(tensor[start : start + 50] for tensor in expected))
        store.add(names, start % 3, part)
    assert len(list(tmp_path.glob("*.safetensors"))) == 10, "written while it is filled"
    other = Store(tmp_path)
    for n in range(1000):
        assert same(other.find(f"clip {n}", n // 50 * 50 % 3), expected, n)


def test_what_others_write_is_found_without_opening_anew(tmp_path):
    early = Store(tmp_path)
    assert early.find("a", 1) is None
    filled(tmp_path)
    assert same(early.find("a", 1), outputs(0), 0)
    filled(tmp_path, "xyz", seed=5)
    assert same(early.find("z", 1), outputs(5), 2)


@pytest.mark.parametrize("harm", ["flipped", "truncated", "empty", "foreign"])
def test_a_damaged_shard_is_named_and_not_used(tmp_path, harm):
    filled(tmp_path)
    filled(tmp_path, "xyz", seed=5)
    shard = next(f for f in tmp_path.glob("*.safetensors") if len(load_file(f)["ids"]) == 3)
    content = bytearray(shard.read_bytes())
    if harm == "flipped":
        content[-3] ^= 4
    shard.write_bytes({"truncated": content[:-9], "empty": b"", "foreign": b"rubbish"}.get(
        harm, bytes(content)
    ))  # fmt: skip
    notes: list[str] = []
    store = Store(tmp_path, note=notes.append)
    known = [name for name in "abcxyz" if store.find(name, 1) is not None]
    assert known in (["a", "b", "c"], ["x", "y", "z"]), "the other shard is as good as ever"
    assert len(notes) == 1
    assert str(shard) in notes[0]
    assert "computed again" in notes[0]
    assert shard.exists(), "what another process made is not ours to delete"


def test_a_store_that_is_emptied_meanwhile_knows_nothing(tmp_path):
    store = filled(tmp_path)
    assert store.find("a", 1) is not None
    fresh = Store(tmp_path)
    assert fresh.find("nothing", 1) is None  # it has read what there is
    shutil.rmtree(tmp_path)
    assert fresh.find("a", 1) is None


def test_a_worker_of_a_loader_reads_and_writes_nothing(tmp_path):
    store = filled(tmp_path)
    store.add(["waiting"], 1, outputs(2, 1))
    worker = pickle.loads(pickle.dumps(store))
    assert same(worker.find("b", 1), outputs(0), 1)
    before = sorted(tmp_path.iterdir())
    worker.flush()
    assert sorted(tmp_path.iterdir()) == before


def fill_in_a_process(folder: str, first: int) -> None:
    store = Store(Path(folder))
    for number in range(first, 300, 2):
        store.add([str(number)], None, outputs(number, 1))
        if number % 20 < 2:
            store.flush()
    store.flush()


@pytest.mark.slow
def test_two_processes_fill_one_store(tmp_path):
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=fill_in_a_process, args=(str(tmp_path), n)) for n in (0, 1)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
        assert process.exitcode == 0
    store = Store(tmp_path)
    assert all(same(store.find(str(n), None), outputs(n, 1), 0) for n in range(300))
    assert not list(tmp_path.glob(".*")), "nothing half written is left"


def test_ids_are_the_same_on_every_machine():
    """Pinned: with another hash every store would be filled again."""
    assert output_id("clip", 3).hex() == hashlib.blake2b(b"clip|3", digest_size=16).hexdigest()
    assert output_id("a", None) != output_id("a", 0)
    assert store_key({"a": 1, "b": 2}) == store_key({"b": 2, "a": 1}) != store_key({"a": 1})


# In training


@pytest.fixture(scope="module")
def teacher_run(clips, tmp_path_factory) -> Run:
    recipe = make_recipe(clips, train={"epochs": 2})
    return train(recipe, tmp_path_factory.mktemp("runs") / "teacher")


def taught(clips: Path, run: Run, **sections):
    one = {"kind": "run", "path": str(run.path)} | sections.pop("teacher", {})
    return make_recipe(
        clips, teacher=one, distill={"alpha": 1.0, "beta": 1.0, "temperature": 2.0}, **sections
    )


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.checkpoint_path("final"))


def assert_same(a: Run, b: Run) -> None:
    """Bit for bit: training would amplify any difference of what teachers said."""
    ours, theirs = weights(a), weights(b)
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.fixture
def asked(monkeypatch) -> list[int]:
    """How many clips teachers were asked about, batch by batch."""
    counted: list[int] = []
    answer = Targets.answer

    def watched(self, batch):
        if self.name in batch.unanswered:
            counted.append(len(batch.unanswered[self.name].rows))
        return answer(self, batch)

    monkeypatch.setattr(Targets, "answer", watched)
    return counted


def test_fresh_store_shared_store_and_live_teacher_give_the_same_weights(
    clips, teacher_run, tmp_path, asked
):
    recipe = taught(clips, teacher_run, data=VIEWS, train={"epochs": 4})
    fresh = train(recipe, tmp_path / "runs" / "fresh")
    assert sum(asked) == 9 + 2 * 30, "validation once, and each of two views once"
    asked.clear()
    shared = train(recipe, tmp_path / "runs" / "shared")
    assert not asked
    live = train(
        taught(clips, teacher_run, teacher={"store": False}, data=VIEWS, train={"epochs": 4}),
        tmp_path / "elsewhere" / "live",
    )
    assert sum(asked) == 9 + 4 * 30
    assert not (tmp_path / "elsewhere" / "teacher-store").exists()
    assert_same(fresh, shared)
    assert_same(fresh, live)


@pytest.mark.slow
def test_a_store_filled_by_two_runs_at_once_gives_the_same_weights(clips, teacher_run, tmp_path):
    """Two students of one teacher, started together in processes of their own."""
    recipe = taught(clips, teacher_run, data=VIEWS, train={"epochs": 3})
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    command = [sys.executable, "-m", "understudy.cli", "train", str(tmp_path / "recipe.yaml")]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    places = [tmp_path / "runs" / name for name in ("one", "two")]
    both = [
        subprocess.Popen([*command, "--out", str(place)], env=os.environ | threads)
        for place in places
    ]
    assert [process.wait(240) for process in both] == [0, 0]
    live = train(recipe, tmp_path / "elsewhere" / "live")
    for place in places:
        assert_same(open_run(place), live)


def test_equal_tables_over_other_media_share_nothing(clips, teacher_run, tmp_path, asked):
    """Two folders with the same table and other clips: paths tell nothing, bytes do."""
    other = tmp_path / "other"
    shutil.copytree(clips.parent, other)
    for number in range(0, 48, 3):  # left becomes right: other clips under the same names
        folder = other / "clips" / f"{number:02d}"
        frames = sorted(folder.iterdir())
        for frame, place in zip(list(frames), reversed(frames), strict=True):
            frame.rename(place.with_suffix(".new"))
        for frame in folder.iterdir():
            frame.rename(frame.with_suffix(".png"))
    assert (other / "clips.csv").read_bytes() == clips.read_bytes()
    train(taught(clips, teacher_run, train={"epochs": 1}), tmp_path / "runs" / "one")
    asked.clear()
    theirs = train(
        taught(other / "clips.csv", teacher_run, train={"epochs": 1}), tmp_path / "runs" / "two"
    )
    assert sum(asked) == 13, "the 10 clips of training and the 3 of validation that are others"
    live = train(
        taught(other / "clips.csv", teacher_run, teacher={"store": False}, train={"epochs": 1}),
        tmp_path / "live",
    )
    assert_same(theirs, live)


def test_a_larger_table_in_another_order_asks_for_what_is_new_only(
    clips, teacher_run, tmp_path, asked
):
    """A draw belongs to a clip, not to a row of a table."""
    head, *lines = clips.read_text(encoding="utf-8").splitlines()
    part = [line for line in lines if "person0" not in line]
    for name, rows in (("part", part), ("whole", list(reversed(lines)))):
        text = "\n".join([head, *rows]) + "\n"
        (clips.parent / f"{name}.csv").write_text(text, encoding="utf-8")
    small = clips.parent / "part.csv"
    train(taught(small, teacher_run, data=VIEWS, train={"epochs": 2}), tmp_path / "runs" / "part")
    asked.clear()
    whole = taught(clips.parent / "whole.csv", teacher_run, data=VIEWS, train={"epochs": 2})
    train(whole, tmp_path / "runs" / "whole")
    assert sum(asked) == 2 * 3, "three clips of one more person, in two views"


def test_damage_is_noticed_in_training_and_made_good(clips, teacher_run, tmp_path, asked):
    recipe = taught(clips, teacher_run, data=VIEWS, train={"epochs": 2})
    whole = train(recipe, tmp_path / "runs" / "whole")
    for shard in (tmp_path / "runs" / "teacher-store").rglob("*.safetensors"):
        content = bytearray(shard.read_bytes())
        content[-1] ^= 1
        shard.write_bytes(content)
    asked.clear()
    again = train(recipe, tmp_path / "runs" / "again")
    assert sum(asked) == 9 + 2 * 30
    assert_same(whole, again)
    asked.clear()
    train(recipe, tmp_path / "runs" / "third")
    assert not asked, "what was damaged lies beside what was made good"


def test_an_epoch_that_is_broken_off_keeps_what_its_teacher_said(
    clips, teacher_run, tmp_path, asked
):
    from understudy.teach.progress import Quiet

    class Stop(Quiet):
        clips = 0

        def advance(self, clips):
            self.clips += clips
            if self.clips > 15:
                raise KeyboardInterrupt

    recipe = taught(clips, teacher_run, data=VIEWS, train={"epochs": 1})
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "runs" / "run", reporter=Stop())
    before = sum(asked)
    asked.clear()
    train(recipe, tmp_path / "runs" / "run")
    assert before + sum(asked) == 9 + 30


def test_views_that_never_come_back_are_kept_nowhere(clips, teacher_run, tmp_path):
    data = {"augment": {"crop_scale": 0.5, "brightness": 0.4}}
    train(taught(clips, teacher_run, data=data, train={"epochs": 3}), tmp_path / "runs" / "run")
    shards = list((tmp_path / "runs" / "teacher-store").rglob("*.safetensors"))
    assert sum(len(load_file(shard)["ids"]) for shard in shards) == 9, "validation alone"


def test_workers_of_a_loader_find_what_the_process_wrote(clips, teacher_run, tmp_path, asked):
    data = VIEWS | {"workers": 2}
    recipe = taught(clips, teacher_run, data=data, train={"epochs": 4})
    busy = train(recipe, tmp_path / "busy" / "run")
    assert sum(asked) == 9 + 2 * 30
    plain = train(
        taught(clips, teacher_run, data=VIEWS, train={"epochs": 4}), tmp_path / "plain" / "run"
    )
    assert_same(busy, plain)


def test_a_store_that_cannot_be_written_says_what_to_do(clips, teacher_run, tmp_path):
    if os.geteuid() == 0:
        (tmp_path / "runs").mkdir()
        (tmp_path / "runs" / "teacher-store").write_text("a file in the way", encoding="utf-8")
    with pytest.raises(loop.UserError, match=r"store of teachers' outputs .*teacher\.store=false"):
        train(taught(clips, teacher_run, train={"epochs": 1}), tmp_path / "runs" / "run")


@pytest.mark.parametrize("part", ["logits", "embedding"])
def test_what_is_no_number_is_never_kept(tmp_path, part):
    """The next student would be taught by it, and told to lower its learning rate."""
    store = Store(tmp_path, {"teacher": "ViT-B-32"})
    said = outputs(0)
    getattr(said, part)[1, 2] = float("nan")
    store.add(list("abc"), None, said)
    with pytest.raises(
        UserError, match="What ViT-B-32 says is not a finite number for 1 of 3 clips"
    ):
        store.flush()
    assert not list(tmp_path.glob("*"))
