"""The scripts behind docs/rvit.md: their sums are sums, their stream is the one they describe."""

import importlib
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from small_models import swept

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def scripts(monkeypatch) -> tuple[ModuleType, ModuleType]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("rvit_stream"), importlib.import_module("rvit_drift")


def test_the_exponent_is_that_of_a_power_of_tokens(scripts):
    stream, _ = scripts
    for exponent in (1.0, 1.7):
        times = 3e-6 * np.array(stream.TOKENS, float) ** exponent
        assert stream._exponent(np.stack([times, 2 * times, times])) == pytest.approx(exponent)


def test_the_stream_holds_whole_clips_and_stands_still_between_them(scripts):
    _, drift = scripts
    stream = drift.make_stream(5, 2)
    assert stream.clip.shape == stream.place.shape == (drift.LENGTH, 2)
    assert torch.equal(stream.clip, drift.make_stream(5, 2).clip)
    assert not torch.equal(stream.clip[:, 0], stream.clip[:, 1])
    clip, place = stream.clip[:, 0].tolist(), stream.place[:, 0].tolist()
    starts = [t for t, where in enumerate(place) if where == 0]
    phases = set()
    for begin, following in pairwise(starts):
        assert len(set(clip[begin:following])) == 1
        assert place[begin : begin + 8] == list(range(8))
        assert set(place[begin + 8 : following]) <= {8}
        assert following - begin <= 11
        phases.add((begin + 7) % 4)
    assert phases == {0, 1, 2, 3}, "clips end in every phase of the restarts"
    assert {clip[begin] for begin in starts[:5]} == set(range(5)), "each clip once a round"


def test_restarts_are_watched_without_being_changed(scripts):
    """What is seen of the hidden tokens belongs to the answer that is given."""
    _, drift = scripts
    torch.manual_seed(0)
    model = drift.create_model("rvit", 3, dim=16, heads=2, mlp_dim=24, input_size=16).eval()
    frames = torch.randint(0, 256, (12, 1, 3, 16, 16), dtype=torch.uint8)
    watched = drift._Restarts(model, 1)
    with torch.inference_mode():
        for t, frame in enumerate(frames):
            output = watched(frame)
            age = watched.restarts.frames_remembered
            state = model.init_state(1)
            for earlier in frames[t + 1 - age : t + 1]:
                expected, state = model.step(earlier, state)
            torch.testing.assert_close(output.logits, expected.logits)
            torch.testing.assert_close(watched.hidden(), torch.stack(state))


@pytest.mark.parametrize(
    ("name", "way"),
    swept(
        [(name, way) for name in ("rvit", "rvit-image") for way in ("step", "forward")],
        [("rvit-image", "forward")],
    ),
)
def test_memory_of_inference_does_not_grow_with_the_clip(scripts, name, way):
    stream, _ = scripts
    assert name in stream.MODELS
    assert way in stream.WAYS
    (short, _), (long, _) = (stream._fresh(name, way, frames) for frames in (16, 256))
    assert long <= 1.05 * short
