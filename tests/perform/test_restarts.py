"""Endless streams: every answer is that of a clip as long as training had them."""

import pytest
import torch
from torch.testing import assert_close

from understudy.models import create_model, list_models
from understudy.perform.restarts import OverlappingRestarts
from understudy.types import StreamingRecognizer


def pixels(frames: int, batch: int = 2, size: int = 8, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, frames, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("clip_frames", [1, 2, 3, 4, 5, 8, 11])
def test_every_answer_is_that_of_a_clip_of_the_latest_frames(accumulator, clip_frames):
    model, frames = accumulator().eval(), pixels(100)
    stream = OverlappingRestarts(model, clip_frames, batch_size=2)
    lengths = []
    with torch.inference_mode():
        for read in range(1, 101):
            output = stream.step(frames[:, read - 1])
            length = stream.frames_remembered
            assert length is not None
            lengths.append(length)
            expected = model(frames[:, read - length : read])
            assert_close(output, expected, rtol=0, atol=1e-5)
    assert lengths[:clip_frames] == list(range(1, clip_frames + 1)), "a clip is as it was"
    later = lengths[clip_frames:]
    assert min(later) > clip_frames / 2
    assert max(later) == clip_frames


def test_it_costs_two_steps_a_frame_and_never_more(accumulator):
    model = accumulator().eval()
    stream = OverlappingRestarts(model, 8, batch_size=3)
    for frame in pixels(64, batch=3).unbind(1):
        stream.step(frame)
    assert model.stepped == [3] * 4 + [6] * 60


def test_a_model_that_forgets_by_itself_is_left_alone(accumulator):
    model, frames = accumulator(stream_frames=6).eval(), pixels(40)
    stream = OverlappingRestarts(model, 8, batch_size=2)
    assert not stream.restarts
    for read in range(1, 41):
        output = stream.step(frames[:, read - 1])
        assert_close(output, model(frames[:, max(0, read - 6) : read]), rtol=0, atol=1e-5)
    assert model.stepped == [2] * 40
    assert stream.frames_remembered is None


def test_beginning_anew_forgets_everything(accumulator):
    model, frames = accumulator().eval(), pixels(13)
    stream = OverlappingRestarts(model, 4, batch_size=2)
    for frame in frames.unbind(1):
        stream.step(frame)
    stream.begin()
    assert_close(stream.step(frames[:, 5]), model(frames[:, 5:6]), rtol=0, atol=1e-5)


def test_a_model_that_remembers_longer_than_a_clip_of_training_is_restarted(accumulator):
    """Its own window would mix actions that no clip of training held together."""
    model, frames = accumulator(stream_frames=30).eval(), pixels(60)
    stream = OverlappingRestarts(model, 6, batch_size=2)
    for read in range(1, 61):
        output = stream.step(frames[:, read - 1])
        length = stream.frames_remembered
        assert length is not None
        assert length == read if read <= 6 else 4 <= length <= 6
        assert_close(output, model(frames[:, read - length : read]), rtol=0, atol=1e-5)


SMALL = {
    "frames": {"backbone": "small-cnn", "embedding_dim": 16, "hidden_dim": 8, "heads": 2},
    "rvit": {"patch_size": 16, "dim": 16, "heads": 2, "mlp_dim": 32},
}
FAMILIES = [name for name in list_models() if name.startswith(tuple(SMALL))]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_models_that_remember_over_a_long_stream(name: str):
    assert len(FAMILIES) >= 6
    torch.manual_seed(0)
    model = create_model(name, 3, input_size=32, **SMALL[name.partition("-")[0]]).eval()
    assert isinstance(model, StreamingRecognizer)
    frames = pixels(40, batch=1, size=32)
    stream = OverlappingRestarts(model, 6)
    with torch.inference_mode():
        for read in range(1, 41):
            output = stream.step(frames[:, read - 1])
            length = stream.frames_remembered or model.stream_frames
            assert length is not None
            expected = model(frames[:, max(0, read - length) : read])
            assert_close(output, expected, rtol=0, atol=1e-5)
