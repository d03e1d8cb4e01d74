"""A demo may be made again where one was made before, and touches nothing that is not of a demo."""

import pytest

from understudy.errors import UserError
from understudy.study import demo


@pytest.fixture
def out(tmp_path, monkeypatch):
    """A folder with all that a demo made there, in the place of what takes minutes."""

    def make(out, *_):
        (out / "runs" / "student" / "resume").mkdir(parents=True)
        (out / "runs" / "student" / "recipe.yaml").write_text("name: student\n")
        return out / "page.html"

    monkeypatch.setattr(demo, "_demo", make)
    demo.run_demo(tmp_path / "demo")
    return tmp_path / "demo"


def test_a_demo_is_made_again_in_the_place_of_the_one_before(out):
    demo.run_demo(out)
    assert (out / "runs" / "student" / "recipe.yaml").is_file()


@pytest.mark.parametrize("ends_with", [KeyboardInterrupt, UserError("too few clips")])
def test_so_it_is_after_one_that_was_interrupted(out, monkeypatch, ends_with):
    def fails(out, *_):
        (out / "half").mkdir(parents=True)
        raise ends_with

    with monkeypatch.context() as patch:
        patch.setattr(demo, "_demo", fails)
        with pytest.raises(type(ends_with) if isinstance(ends_with, Exception) else ends_with):
            demo.run_demo(out)
    demo.run_demo(out)
    assert not (out / "half").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda out: (out / "notes.txt").write_text("mine"), r"notes\.txt"),
        (lambda out: (out / "runs" / "student" / "exports").mkdir(), "runs/student/exports"),
        (lambda out: (out / "runs" / "own").symlink_to(out / "runs" / "student"), "runs/own"),
        (lambda out: (out / "runs/student/recipe.yaml").write_text("edited"), r"recipe\.yaml"),
        (lambda out: (out / "made-by-demo.json").write_text("{}"), "is not empty"),
        (lambda out: (out / "made-by-demo.json").write_text("{"), "is damaged"),
    ],
)
def test_whatever_no_demo_made_keeps_all_of_it(out, change, named):
    change(out)
    before = sorted(out.rglob("*"))
    with pytest.raises(UserError, match=named):
        demo.run_demo(out)
    assert sorted(out.rglob("*")) == before
