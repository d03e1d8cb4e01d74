"""From a run on disk to its predictions: the same numbers as by hand, and nothing mixed up."""

import json
import re
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from made_runs import make_run
from understudy.data.decode import read_frames
from understudy.data.sources import read_manifest
from understudy.data.transforms import prepare
from understudy.errors import UserError
from understudy.judge.evaluate import evaluate, evaluate_run, evaluation_path, predict_loader
from understudy.judge.metrics import compute_metrics
from understudy.judge.predictions import Predictions, read_predictions
from understudy.judge.subject import find_subject
from understudy.run import Run, save_weights, write_json
from understudy.run.classifier import file_sha256
from understudy.types import Batch, Output, Recognizer, Skipped


def paint(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_table(path: Path, rows: list[str]) -> str:
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(path)


def test_predictions_are_what_the_model_says_of_each_picture(run: Run):
    metrics = evaluate_run(run)
    predictions = read_predictions(run.predictions_path)
    manifest = read_manifest(run.data["manifest"])
    model = run.load_model()
    assert predictions.record == [row for row in manifest.rows("test") if row != 6]
    for i, row in enumerate(predictions.record):
        frames = prepare(read_frames(manifest.path_of(row), [0.0], short_side=32), 32)
        with torch.inference_mode():
            expected = model(frames[None]).logits[0]
        torch.testing.assert_close(predictions.logits[i], expected, atol=1e-5, rtol=1e-5)
        assert predictions.path[i] == f"{row}.png"
        assert predictions.group[i] == f"person {row // 3}"
        assert run.classes[int(predictions.target[i])] == manifest.records[row].label
    assert [(skipped.row, skipped.path) for skipped in predictions.skipped] == [(6, "6.png")]
    assert (metrics["n"], metrics["skipped"]) == (8, 1)
    assert run.metrics == metrics
    again = compute_metrics(predictions, resamples=100)
    assert again["top1"] == metrics["top1"]
    assert again["macro_f1"] == metrics["macro_f1"]


def test_predictions_survive_the_disk_exactly(tmp_path: Path):
    for n in (0, 5):
        predictions = Predictions(
            record=list(range(n)),
            id=[f"ä {clip}.mp4#t=1.5" for clip in range(n)],
            path=[f"ä {clip}.mp4" for clip in range(n)],
            group=[""] * n,
            target=torch.arange(n) % 3,
            logits=torch.randn(n, 3, generator=torch.Generator().manual_seed(0)),
            classes=("a", "b", "c,d"),
            split="val",
            skipped=(Skipped(9, "x.mp4", "it holds no frame"),),
        )
        predictions.write(tmp_path / "p.parquet")
        found = read_predictions(tmp_path / "p.parquet")
        assert torch.equal(found.logits, predictions.logits)
        assert torch.equal(found.target, predictions.target)
        for name in ("record", "id", "path", "group", "classes", "split", "skipped"):
            assert getattr(found, name) == getattr(predictions, name)


def test_what_is_no_predictions_file_is_refused(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pytest.raises(UserError, match="no predictions at"):
        read_predictions(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_predictions(tmp_path / "text.parquet")
    pq.write_table(pa.table({"record": [1]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match="id, path, group, target, logits, classes, split, skipped"):
        read_predictions(tmp_path / "other.parquet")


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("id", [float("nan")] * 2, "id holds double"),
        ("id", ["a", None], "id has gaps"),
        ("logits", [[0.0, 1.0]] * 2, "logits holds"),
        ("target", [0, 3], "target holds 0 to 3, of 3 classes"),
    ],
)
def test_a_damaged_column_of_predictions_is_named(tmp_path: Path, column, values, said):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "predictions.parquet"
    logits = torch.zeros(2, 3)
    text = ["a", "b"]
    Predictions(
        [0, 1], text, text, text, torch.tensor([0, 2]), logits, ("x", "y", "z"), "test"
    ).write(path)
    table = pq.read_table(path)
    place = table.column_names.index(column)
    pq.write_table(table.set_column(place, column, pa.array(values)), path)
    with pytest.raises(UserError, match=f"predictions.parquet is damaged: {said}.*evaluate"):
        read_predictions(path)


@pytest.mark.parametrize("note", ["classes", "skipped"])
@pytest.mark.parametrize("text", ["[", '"x"', "[1]", "[" * 9999])
def test_damaged_notes_of_predictions_are_named(tmp_path: Path, note, text):
    import pyarrow.parquet as pq

    path = tmp_path / "predictions.parquet"
    names = ["a"]
    Predictions(
        [0], names, names, names, torch.tensor([0]), torch.zeros(1, 2), ("x", "y"), "test"
    ).write(path)
    table = pq.read_table(path)
    notes = dict(table.schema.metadata) | {note.encode(): text.encode()}
    pq.write_table(table.replace_schema_metadata(notes), path)
    with pytest.raises(UserError, match=r"predictions\.parquet is damaged: .*evaluate"):
        read_predictions(path)


def test_other_data_keeps_the_order_of_the_runs_classes(run: Run, tmp_path: Path):
    """A manifest without the class `left`: its own class 0 is the run's class 1."""
    rows = ["7.png,right,test,new 1", "8.png,still,test,new 2", "16.png,right,test,new 3"]
    other = write_table(tmp_path / "other.csv", ["path,label,split,group", *rows])
    metrics = evaluate_run(run, manifest=other)
    place = run.path / "evaluations" / "other-test"
    assert place == evaluation_path(run, manifest=other)
    predictions = read_predictions(place / "predictions.parquet")
    assert predictions.target.tolist() == [1, 2, 1]
    assert predictions.classes == run.classes
    assert metrics["classes"] == list(run.classes)
    assert any("1 of 3 classes has no clip" in warning for warning in metrics["warnings"])
    assert not run.predictions_path.exists()
    assert run.metrics is None


def test_data_without_splits_or_with_one_class_is_evaluated_whole(run: Run, tmp_path: Path):
    rows = [f"{number}.png,still" for number in (7, 8, 15)]
    metrics = evaluate_run(run, manifest=write_table(tmp_path / "new.csv", ["path,label", *rows]))
    assert metrics["n"] == 3
    assert "names no splits, so all of its 3 clips count" in metrics["warnings"][0]


def test_the_folder_of_an_evaluation_says_what_was_evaluated(run: Run):
    own = run.data["manifest"]
    assert evaluation_path(run) == evaluation_path(run, manifest=own, split="test") == run.path
    evaluations = run.path / "evaluations"
    assert evaluation_path(run, split="val") == evaluations / "pictures-val"
    assert evaluation_path(run, checkpoint="final") == evaluations / "pictures-test-final"


def test_tables_of_one_name_have_folders_of_their_own(run: Run, tmp_path: Path):
    rows = [f"{number}.png,still" for number in (7, 8, 15)]
    here, there = tmp_path / "new.csv", tmp_path / "other" / "new.csv"
    there.parent.mkdir()
    write_table(here, ["path,label", *rows])
    write_table(there, ["path,label", *(f"../{row}" for row in rows[:2])])
    first = evaluate(run, manifest=here, split="test")
    second = evaluate(run, manifest=there, split="test")
    assert first.path.name == "new-test"
    assert second.path.name.startswith("new-")
    assert second.path != first.path
    counts = [json.loads((one.path / "metrics.json").read_text())["n"] for one in (first, second)]
    assert counts == [3, 2], "neither has replaced the other"
    again = [evaluation_path(run, manifest=one) for one in (here, there)]
    assert again == [first.path, second.path]


def test_labels_that_the_run_does_not_know_are_named(run: Run, tmp_path: Path):
    other = write_table(tmp_path / "o.csv", ["path,label,split", "7.png,rigth,test"])
    with pytest.raises(UserError, match=r"does not know: rigth. Did you mean right\?"):
        evaluate_run(run, manifest=other)
    several = write_table(tmp_path / "m.csv", ["path,label,split", "7.png,left|right,test"])
    with pytest.raises(UserError, match=r"1 of 1 clips have several labels, .*7.png; the model"):
        evaluate_run(run, manifest=several)
    with pytest.raises(UserError, match="no manifest"):
        evaluate_run(run, manifest=str(tmp_path / "gone.csv"))
    with pytest.raises(UserError, match="no clips in split 'tset'"):
        evaluate_run(run, split="tset")


def test_groups_and_files_that_were_trained_on_are_pointed_out(run: Run, tmp_path: Path):
    def leaks(manifest: str | None, split: str | None = None) -> list[str]:
        warnings = evaluate_run(run, manifest=manifest, split=split)["warnings"]
        return [warning for warning in warnings if "too good" in warning]

    assert leaks(None) == []
    assert len(leaks(None, "train")) == 1
    rows = ["7.png,left,test,person 0", "0.png,right,test,x", "8.png,left,test,y"]
    other = write_table(tmp_path / "other.csv", ["path,label,split,group", *rows])
    (warning,) = leaks(other)
    assert warning.startswith("2 of 3 clips")
    assert "(0.png, person 0)" in warning


def test_a_training_clip_is_found_under_another_name(run: Run, tmp_path: Path):
    """Its name and its group are new; its bytes are not."""
    shutil.copy(tmp_path / "0.png", tmp_path / "fresh.png")
    paint(tmp_path / "new.png", 99)
    rows = ["fresh.png,left,test,x", "new.png,left,test,y", "8.png,left,test,z"]
    other = write_table(tmp_path / "other.csv", ["path,label,split,group", *rows])
    warnings = evaluate_run(run, manifest=other)["warnings"]
    (warning,) = [text for text in warnings if "too good" in text]
    assert warning.startswith("1 of 3 clips")
    assert "(fresh.png)" in warning


def test_what_happens_to_the_table_after_training_moves_no_clip(run: Run, tmp_path: Path):
    """The run has kept its clips; a table that is named on purpose is told to have changed."""
    before = evaluate_run(run)
    said = read_predictions(run.predictions_path)
    table = Path(run.data["manifest"])
    lines = table.read_text().replace(",test,", ",tset,").replace(",train,", ",test,")
    paint(tmp_path / "more.png", 99)
    table.write_text(lines.replace("tset", "train") + "more.png,left,test,new\n")
    after = evaluate_run(run)
    assert after == before
    assert read_predictions(run.predictions_path).id == said.id
    (first, *_) = evaluate_run(run, manifest=str(table))["warnings"]
    assert "has changed since the run was trained" in first
    assert "name a copy" in first
    assert read_predictions(run.predictions_path).id == said.id
    table.unlink()
    assert evaluate_run(run) == before


def test_a_table_that_is_as_it_was_is_not_called_changed(run: Run, tmp_path: Path):
    """It is read as the run read it: dealt by its seed, with shared groups where it took them."""
    header, *rows = Path(run.data["manifest"]).read_text().splitlines()
    unsplit = [re.sub(",(train|val|test),", ",,", row) for row in rows]
    shared = [re.sub("person .*", "somebody", row) for row in rows]
    for lines, data in ((unsplit, {"split_seed": 3}), (shared, {"allow_shared_groups": True})):
        [name] = data
        table = write_table(tmp_path / f"{name}.csv", [header, *lines])
        other = make_run(
            tmp_path / "runs" / name,
            Path(table),
            run.classes,
            model="frames-average",
            options=run.data["model_options"],
            data={"size": 32, "frames": 2} | data,
        )
        warnings = find_subject(other, table, None, "best").warnings
        assert not [text for text in warnings if "name a copy" in text]


def test_clips_that_are_gone_or_have_changed_are_named(run: Run, tmp_path: Path):
    (tmp_path / "7.png").unlink()
    paint(tmp_path / "8.png", 99)
    metrics = evaluate_run(run)
    assert (metrics["n"], metrics["skipped"]) == (6, 3)
    (warning,) = [text for text in metrics["warnings"] if "could not be read" in text]
    assert "7.png (it is gone" in warning
    assert "8.png (its bytes have changed since the run began)" in warning
    for row in run.manifest.rows("test"):
        run.manifest.path_of(row).unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"None of the 9 clips of split test.*gone.*--data"):
        evaluate_run(run)


def test_a_run_without_its_clips_says_so(run: Run, tmp_path: Path):
    (run.path / "manifest.parquet").unlink()
    with pytest.raises(UserError, match=r"manifest\.parquet is missing.*--data"):
        evaluate_run(run)
    other = write_table(tmp_path / "o.csv", ["path,label,split", "7.png,right,test"])
    assert "Nobody checked" in evaluate_run(run, manifest=other)["warnings"][0]


def test_data_without_labels_is_refused(run: Run, tmp_path: Path):
    other = write_table(tmp_path / "o.csv", ["path,label,split", "7.png,,test", "8.png,left,test"])
    with pytest.raises(UserError, match=r"1 of 2 clips have no label, .* 7\.png"):
        evaluate_run(run, manifest=other)


def test_only_labels_of_the_split_must_be_known(run: Run, tmp_path: Path):
    rows = ["7.png,right,test", "0.png,wave,train"]
    other = write_table(tmp_path / "o.csv", ["path,label,split", *rows])
    assert evaluate_run(run, manifest=other)["n"] == 1


def test_an_evaluation_says_what_it_is_of(run: Run):
    found = evaluate(run, threads=1)
    assert found.path == run.path
    assert found.metrics == run.metrics == evaluate_run(run)
    assert torch.equal(found.predictions.logits, read_predictions(run.predictions_path).logits)
    assert found.predictions.id == found.predictions.path  # pictures have no times
    assert found.metrics["weights_sha256"] == file_sha256(run.checkpoint_path())
    assert found.metrics["clips_fingerprint"] == run.manifest.fingerprint()


def test_a_checkpoint_that_is_not_there_is_named(run: Run):
    with pytest.raises(UserError, match=r"no checkpoint final. There: best"):
        evaluate_run(run, checkpoint="final")


class Noisy(Recognizer):
    """Says 0 for everything, unless it was left in training mode or gradients are recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Identity(), nn.Identity()

    def forward(self, frames, lengths=None) -> Output:
        wrong = self.training or torch.is_grad_enabled()
        logits = torch.full((len(frames), 3), float(wrong))
        return Output(logits, logits)


def test_batches_of_nothing_but_bad_clips_are_collected(run: Run):
    """Rows 24 and 26 in one batch, none in the next, and the model in evaluation mode."""
    manifest = read_manifest(run.data["manifest"])
    none = torch.zeros(0, dtype=torch.int64)
    pixels = torch.zeros(2, 1, 3, 4, 4, dtype=torch.uint8)
    ones, rows = torch.ones(2, dtype=torch.int64), torch.tensor([24, 26])
    first, second = Skipped(6, "6.png", "bad"), Skipped(7, "7.png", "bad too")
    batches = [
        Batch(pixels, ones, ones, rows, skipped=(first,)),
        Batch(pixels[:0], none, none, none, skipped=(second,)),
    ]
    predictions = predict_loader(Noisy().train(), batches, manifest, "test")
    assert predictions.record == [24, 26]
    assert predictions.skipped == (first, second)
    assert predictions.target.tolist() == [0, 2]
    assert predictions.logits.tolist() == [[0, 0, 0]] * 2
    nothing = predict_loader(Noisy(), batches[1:], manifest, "test")
    assert nothing.logits.shape == (0, 3)
    with pytest.raises(UserError, match=r"None of 1 could be read, .*: bad too"):
        compute_metrics(nothing)


def test_weights_of_another_model_are_refused(run: Run):
    from understudy.models import create_model

    other = create_model("frames-average", 4, **run.data["model_options"])
    save_weights(other, run.checkpoint_path("final"))
    with pytest.raises(UserError, match="checkpoint of another model"):
        evaluate_run(run, checkpoint="final")


@pytest.mark.parametrize(("fps", "said"), [(1, True), (4, False)])
def test_other_data_of_fewer_frames_a_second_is_said_to_be(
    run: Run, tmp_path: Path, fps: int, said: bool
):
    write_json(run.path / "data.json", run.data | {"clip_seconds": 1.0})  # 2 frames of a second
    with av.open(str(tmp_path / "slow.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for shade in range(4):
            pixels = np.full((32, 32, 3), 60 * shade, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    other = write_table(tmp_path / "o.csv", ["path,label,split", "slow.mp4,right,test"])
    warnings = " ".join(evaluate_run(run, manifest=other)["warnings"])
    sentence = "1 of 1 clips that were looked at have fewer frames a second than the model was"
    assert (f"{sentence} taught at (from 1, taught at 2)" in warnings) is said
