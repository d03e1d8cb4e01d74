"""What a teacher said is found again under the view it was said of, and under no other draw."""

import torch
from torch import nn

from understudy.data.manifest import Manifest
from understudy.recipe import Data
from understudy.teach.learner import Learner
from understudy.teach.store import Store
from understudy.teach.targets import Known, Targets, draw_of, what_it_depends_on
from understudy.teach.teachers import FrozenTeacher
from understudy.types import Batch, Output, Recognizer, Record, Sampling, Unanswered


class Mean(Recognizer):
    """Says the mean of a clip, and counts what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Identity(), nn.Identity()
        self.asked, self.embedding_dim, self.clip_frames = 0, 2, None

    def forward(self, frames, lengths=None) -> Output:
        self.asked += len(frames)
        mean = frames.float().mean(dim=(1, 2, 3, 4))[:, None]
        return Output(mean.expand(-1, 3), mean.expand(-1, 2))


def test_a_view_is_kept_as_that_view(tmp_path):
    look = Sampling(size=4, frames=2, method="uniform")
    records = [Record(f"{n}.mp4", "ab"[n % 2], "train", "") for n in range(4)]
    store = Store(tmp_path / "drawn", {})
    known = Known(look, Manifest.from_records(records, tmp_path), None, store)
    model = Mean()
    facts = {"name": "mean", "weights_sha256": "0"}
    targets = Targets("t", FrozenTeacher(model, look, facts, embedding_dim=2), known)
    frames = torch.arange(2, dtype=torch.uint8).reshape(2, 1, 1, 1, 1).expand(2, 2, 3, 4, 4)
    lengths, place = torch.tensor([2, 2]), torch.tensor([0, 1])
    asked = Unanswered(frames, lengths, place, (1, 3), True)
    batch = Batch(frames, lengths, place, torch.tensor([1, 3]), view=5, unanswered={"t": asked})
    assert targets.answer(batch).logits[:, 0].tolist() == [0, 1]
    targets.flush()
    found = known.find(3, 5)
    assert found is not None
    assert found.logits.tolist() == [1, 1, 1]
    assert known.find(3, None) is known.find(3, 4) is known.find(0, 5) is None
    assert model.asked == 2


def test_other_draws_are_kept_apart_and_more_views_of_one_draw_are_not():
    def of(**changes) -> dict:
        return draw_of(Data.model_validate({"manifest": "-", **changes}))

    plain = of()
    assert of(augment={"views": 2}) == of(augment={"views": 9}) == plain
    for other in ({"seed": 1}, {"augment": {"flip": 0.5}}, {"pseudo": {}}):
        assert of(**other) != plain


def test_what_a_teacher_says_depends_on_its_weights_look_and_precision():
    def of(precision="fp32", sha="0", **look) -> dict:
        sampling = Sampling(**({"size": 4, "frames": 2, "method": "uniform"} | look))
        facts = {"name": "mean", "weights_sha256": sha}
        return what_it_depends_on(
            FrozenTeacher(Mean(), sampling, facts, embedding_dim=2), precision
        )

    for other in (of("bf16"), of(sha="1"), of(size=8), of(frames=3), of(method="centre")):
        assert other != of()


def test_a_student_is_mapped_into_another_teachers_space_and_left_in_its_own():
    learner = Learner(Mean(), projections={"wide": 7})
    embedding = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    assert learner.seen_by("same", embedding) is embedding
    expected = learner.projections["wide"](embedding)
    assert expected.shape == (5, 7)
    assert torch.equal(learner.seen_by("wide", embedding), expected)
