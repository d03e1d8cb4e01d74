"""Something-Something V2, Jester and Stanford 40: lists of names and labels."""

import pytest

from understudy.data.sources.known import read_source
from understudy.errors import UserError

LABELS = {"Holding something": "0", "Approaching something with your camera": "1"}
TEMPLATES = ("Holding [something]", "Approaching [something] with your camera")


def entries(numbers):
    return [
        {
            "id": str(n),
            "label": "holding a cup",
            "template": TEMPLATES[n % 2],
            "placeholders": ["cup"],
        }
        for n in numbers
    ]


def something(names=("something-something-v2-{}", "{}")[0]):
    return {
        names.format("train.json"): entries(range(20)),
        names.format("validation.json"): entries(range(20, 26)),
        names.format("labels.json"): LABELS,
        names.format("test.json"): [{"id": "99"}],
    }


def webm(numbers):
    return [f"20bn-something-something-v2/{number}.webm" for number in numbers]


def test_something_is_tested_on_its_validation_where_no_answers_are_there(lay, ask):
    place = lay(something(), webm(range(26)))
    manifest, said = ask("something-something", place)
    assert manifest.classes == ("Approaching something with your camera", "Holding something")
    assert manifest.clip_counts() == {"train": 16, "val": 4, "test": 6}
    assert "It does not say who films" in said
    answers = "".join(f"{n};{TEMPLATES[n % 2]}\n" for n in range(90, 94))
    lay({"labels/test-answers.csv": answers}, webm(range(90, 94)))
    manifest, said = ask("something-something", place)
    assert manifest.clip_counts() == {"train": 20, "val": 6, "test": 4}


def test_something_limits_classes_by_its_own_numbers(lay, ask):
    files = something("{}")
    files["labels.json"] = {**LABELS, "Poking something": "2"}
    files["train.json"] += [
        {"id": str(n), "label": "", "template": "Poking [something]"} for n in range(50, 56)
    ]
    place = lay(files, webm([*range(26), *range(50, 56)]))
    assert len(ask("something-something", place, "--limit-classes", "2")[0]) == 26
    with pytest.raises(UserError, match="--limit-classes 4: there are 3 classes"):
        ask("something-something", place, "--limit-classes", "4")
    with pytest.raises(UserError, match="2 at least"):
        ask("something-something", place, "--limit-classes", "1")


def jester(*numbers):
    return "".join(f"{n};{('Swiping Left', 'No gesture')[n % 2]}\n" for n in numbers)


def test_jester_reads_frame_folders_and_webm(lay, ask):
    files = {
        "jester-v1-train.csv": jester(*range(20)),
        "jester-v1-validation.csv": jester(*range(20, 26)),
        "jester-v1-test.csv": "30\n31\n",
        "jester-v1-labels.csv": "Swiping Left\nNo gesture\n",
    }
    frames = [f"20bn-jester-v1/{n}/{frame:05}.jpg" for n in range(25) for frame in (1, 2)]
    manifest, said = ask("jester", lay(files, [*frames, "20bn-jester-v1/25.webm"]))
    assert manifest.classes == ("No gesture", "Swiping Left")
    assert manifest.clip_counts() == {"train": 16, "val": 4, "test": 6}
    assert "both show the same people" in said


@pytest.mark.parametrize("line", ["7", "7;", "../7;Swiping Left", "/etc/passwd;a", ";a"])
def test_jester_refuses_a_line_without_a_name_and_a_label(lay, line):
    files = {"jester-v1-train.csv": line, "jester-v1-validation.csv": jester(1)}
    with pytest.raises(UserError, match="is no <id>;<label>"):
        read_source("jester", lay(files, ["20bn-jester-v1/1.webm"]), {})


def test_stanford40_has_its_class_in_the_name(lay, ask):
    names = [f"{label}_{n:03}.jpg" for label in ("waving_hands", "jumping") for n in range(1, 31)]
    train, test = ([n for n in names if (int(n[-7:-4]) <= 10) == first] for first in (True, False))
    files = {"ImageSplits/train.txt": "\n".join(train), "ImageSplits/test.txt": "\n".join(test)}
    files["ImageSplits/jumping_train.txt"] = "jumping_001.jpg"
    manifest, _ = ask("stanford40", lay(files, [f"JPEGImages/{name}" for name in names]))
    assert manifest.classes == ("jumping", "waving_hands")
    assert manifest.clip_counts() == {"train": 16, "val": 4, "test": 40}
    with pytest.raises(UserError, match=r"'\.\./a_001\.jpg' is no picture"):
        read_source("stanford40", lay({"ImageSplits/test.txt": "../a_001.jpg"}), {})


def test_lists_in_another_encoding_are_refused(lay):
    place = lay({"jester-v1-validation.csv": jester(1)})
    (place / "jester-v1-train.csv").write_bytes("1;Größe".encode("latin-1"))
    with pytest.raises(UserError, match="is no text in UTF-8"):
        read_source("jester", place, {})
