"""The verb `predict`: files in windows, as lines of text or as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from understudy.errors import UserError
from understudy.perform.holding import thresholds_for
from understudy.perform.predict import lines, predict
from understudy.types import Classifier

_READABLE = "Give videos, pictures or folders of them."
_DAMAGED = "What is damaged or breaks off must be copied or made anew."


def predict_files(
    classifier: Classifier,
    files: Sequence[Path],
    *,
    as_json: bool,
    show: Callable[[str], None],
    note: Callable[[str], None],
) -> None:
    """Recognise files, and show a line for each segment, or a line of JSON for each file.

    note: takes a sentence that is no result, as a warning is.
    Raises UserError naming all that could not be read, once the others are shown.
    """
    thresholds_for(classifier, note)
    failed: list[str] = []
    remedy = _READABLE
    for prediction in predict(classifier, files):
        if prediction.error is not None:
            failed.append(f"  {prediction.path}: {prediction.error}")
            remedy = f"{_READABLE} {_DAMAGED}" if prediction.damaged else remedy
        for warning in prediction.warnings:
            note(f"WARNING: {prediction.path}: {warning}.")
        if as_json:
            show(json.dumps(dataclasses.asdict(prediction), ensure_ascii=False))
        elif prediction.error is None:
            for line in lines(prediction):
                show(f"{prediction.path}  {line}")
    if failed:
        named = "\n".join(failed)
        raise UserError(f"{len(failed)} could not be read:\n{named}\n{remedy}")
