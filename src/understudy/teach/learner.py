"""What is trained: the student, as it is called in training, and what only training needs."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from understudy.models.frames import FramesRecognizer
from understudy.teach.fake_quantised import FakeQuantized
from understudy.types import Batch, Output, Recognizer


class Learner(nn.Module):
    """The student; under quantisation-aware training (qat) rounded as its INT8 export will be.

    projections: by teacher, a linear map from the student's embedding to that teacher's space, for
    teachers whose space is not the student's own. They are dropped when training is done.
    """

    def __init__(
        self, student: Recognizer, *, qat: bool = False, projections: dict[str, int] | None = None
    ) -> None:
        super().__init__()
        # The student itself, or what rounds it and holds it: never both, or its weights would be
        # in the state twice.
        self.called: nn.Module = FakeQuantized(student) if qat else student
        self.projections = nn.ModuleDict(
            {name: nn.Linear(student.embedding_dim, wide)
             for name, wide in (projections or {}).items()}
        )  # fmt: skip
        self._compiled: Any = None

    @property
    def student(self) -> Recognizer:
        """The recogniser that is trained; its weights are what a run keeps."""
        called = self.called
        return cast(Recognizer, called.model if isinstance(called, FakeQuantized) else called)

    def compile_student(self) -> None:
        """Let torch.compile make the student's forward pass faster."""
        self._compiled = torch.compile(self.called)

    def forward(self, batch: Batch) -> Output:
        """The student's output (float32) from the pixels of a batch, or from its features."""
        if batch.features is not None:
            student = cast(FramesRecognizer, self.student)
            output = student.forward_head(batch.features, None if batch.full else batch.lengths)
        else:
            # A model that needs a number of frames stretches shorter clips by their lengths.
            whole = batch.full and self.student.clip_frames in (None, batch.frames.shape[1])
            output = (self._compiled or self.called)(batch.frames, None if whole else batch.lengths)
        return Output(output.logits.float(), output.embedding.float())

    def seen_by(self, teacher: str, embedding: Tensor) -> Tensor:
        """The student's embedding (B, E) in a teacher's space."""
        return self.projections[teacher](embedding) if teacher in self.projections else embedding
