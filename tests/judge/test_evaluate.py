"""From a run on disk to its predictions: the same numbers as by hand, and nothing mixed up."""

from pathlib import Path

import pytest
import torch
from torch import nn

from understudy.data.decode import read_frames
from understudy.data.sources import read_manifest
from understudy.data.transforms import prepare
from understudy.errors import UserError
from understudy.judge.evaluate import evaluate_run, evaluation_path, predict_loader
from understudy.judge.metrics import compute_metrics
from understudy.judge.predictions import Predictions, read_predictions
from understudy.run import Run, save_weights
from understudy.types import Batch, Output, Recognizer, Skipped


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
        for name in ("record", "path", "group", "classes", "split", "skipped"):
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
    with pytest.raises(UserError, match="path, group, target, logits, classes, split, skipped"):
        read_predictions(tmp_path / "other.parquet")


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
    assert any("1 of 3 classes have no clip" in warning for warning in metrics["warnings"])
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


def test_labels_that_the_run_does_not_know_are_named(run: Run, tmp_path: Path):
    other = write_table(tmp_path / "o.csv", ["path,label,split", "7.png,rigth,test"])
    with pytest.raises(UserError, match=r"does not know: rigth. Did you mean right\?"):
        evaluate_run(run, manifest=other)
    several = write_table(tmp_path / "m.csv", ["path,label,split", "7.png,left|right,test"])
    with pytest.raises(UserError, match="several labels to one clip"):
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
    assert "person 0, x" in warning


def test_a_manifest_that_changed_since_training_is_pointed_out(run: Run):
    table = Path(run.data["manifest"])
    table.write_text(table.read_text().replace("8.png,still", "8.png,left"))
    assert any("has changed since" in text for text in evaluate_run(run)["warnings"])


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
