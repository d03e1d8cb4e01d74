"""Whether training came to its end is said in the same words wherever a run is used."""

from understudy.recipe import parse_recipe
from understudy.run import Run, create_run, write_json, writing
from understudy.run.unfinished import unfinished, unfinished_note

EPOCH = {"lr": 3e-4, "seconds": 1.0, "clips_per_second": 9.0, "best": True}
EPOCH |= {"train": {"loss": 1.0}, "val": {"loss": 1.0, "top1": 0.5, "n": 8}}


def run_of(path, *, finished: bool = False, record: bool = True) -> Run:
    run = create_run(path, parse_recipe({"name": "x", "data": {"manifest": "clips.csv"}}))
    if record:
        end = {"finished": "today"} if finished else {}
        write_json(run.path / "environment.json", {"started": "today"} | end)
    write_json(run.path / "history.json", [EPOCH | {"epoch": number} for number in (1, 2, 3)])
    return run


def test_an_interrupted_run_is_named_with_the_way_to_go_on(tmp_path):
    for name in ("cut short", "12:30 #1"):
        run = run_of(tmp_path / name)
        assert unfinished(run) == (
            f"Training of {name} stopped after 3 of 15 epochs, and all of this is about what it "
            "had learned by then."
        )
        note = str(unfinished_note(run))
        assert note.endswith(f"Go on with: understudy train --resume '{run.path}'")
    with writing(run.path):
        said = str(unfinished_note(run))
        assert said.startswith("12:30 #1 is being trained right now: 3 of 15 epochs are done")
        assert "--resume" not in said, "it would be refused"
    assert "stopped after" in str(unfinished_note(run))


def test_patience_ends_training_too_and_a_lost_record_does_not(tmp_path):
    assert unfinished_note(run_of(tmp_path / "early", finished=True)) is None
    assert "stopped after 3 of 15" in str(unfinished(run_of(tmp_path / "lost", record=False)))
