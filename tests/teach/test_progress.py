"""What a person reads of an epoch."""

from understudy.teach.progress import describe, duration


def test_an_epoch_in_a_line_names_every_part_of_the_loss():
    parts = {"loss": 1.5, "task": 1.0, "feature_large": 0.25, "response_large": 0.5, "top1": 0.5}
    entry = {"epoch": 7, "train": parts, "val": {"top1": 0.75}, "best": True}
    assert describe(entry | {"clips_per_second": 12.4}) == (
        "epoch   7  loss 1.500 (task 1.000, feature large 0.250, response large 0.500)  "
        "train 0.500  val 0.750 *  12 clips/s"
    )


def test_durations_are_said_in_two_units_at_most():
    assert [duration(s) for s in (0.4, 85, 3600, 7325)] == [
        "0 s", "1 min 25 s", "1 h 0 min", "2 h 2 min",
    ]  # fmt: skip
