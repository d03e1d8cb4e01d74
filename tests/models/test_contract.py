"""What every model of `list_models()` owes to the rest of the package, swept over all of them."""

from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from small_models import (
    CLASSES,
    OPTIONS,
    PIXELS,
    build,
    built,
    clip,
    length_of,
    recognise,
    streaming,
)
from understudy import models
from understudy.errors import UserError
from understudy.models import list_models, model_options
from understudy.models.layers import Normalize
from understudy.run import load_weights, save_weights
from understudy.types import Output, StreamingRecognizer, parameter_count


def last_output(model: StreamingRecognizer, frames: Tensor) -> Output:
    """What a stream through all frames ends at."""
    state = model.init_state(len(frames))
    with torch.inference_mode():
        for frame in frames.unbind(1)[:-1]:
            _, state = model.step(frame, state)
        return model.step(frames[:, -1], state)[0]


def assert_close(given: Output, expected: Output, row: int | slice = slice(None)) -> None:
    for a, b in zip(given, expected, strict=True):
        torch.testing.assert_close(a[row], b[row], rtol=1e-5, atol=1e-5)


def assert_same(given: Output, expected: Output) -> None:
    assert all(map(torch.equal, given, expected))


def test_the_sweep_leaves_no_model_out():
    assert len(list_models()) >= 7
    assert set(OPTIONS) == set(list_models()), "give each model its small options in OPTIONS"


every_model = pytest.mark.parametrize("name", list_models())


@every_model
def test_a_model_has_the_parts_that_others_rely_on(name):
    model, options = built(name), model_options(name)
    assert {"input_size", "dropout"} <= set(options)
    assert model.input_size == PIXELS
    assert any(isinstance(module, Normalize) for module in model.modules())
    output = recognise(model, clip(2, length_of(model)))
    assert output.logits.shape == (2, CLASSES)
    width = OPTIONS[name].get("embedding_dim") or output.embedding.shape[1]
    assert output.embedding.shape == (2, width)
    assert all(part.dtype == torch.float32 and part.isfinite().all() for part in output)


@every_model
def test_only_the_head_knows_the_classes(name):
    few, many = (build(name, classes=classes).state_dict() for classes in (3, 4))
    assert few.keys() == many.keys()
    changed = {key for key in few if few[key].shape != many[key].shape}
    assert changed
    assert all(key.startswith("head.") for key in changed)
    assert parameter_count(built(name).backbone) > 0


@every_model
def test_every_trainable_parameter_gets_a_gradient(name):
    model = build(name).train()
    frames = clip(4, length_of(model))
    output = model(frames, torch.tensor([length_of(model), 1, 2, 3]))
    # A sum of squares would not do: after a LayerNorm it is the same for every input.
    torch.stack([(part * torch.randn_like(part)).sum() for part in output]).sum().backward()
    trainable = [(key, p) for key, p in model.named_parameters() if p.requires_grad]
    assert trainable
    assert [key for key, p in trainable if p.grad is None or not p.grad.any()] == []


@every_model
def test_evaluation_repeats_itself(name):
    model = built(name)
    frames, others = (clip(2, length_of(model), seed) for seed in (1, 2))
    first = recognise(model, frames)
    assert not torch.equal(recognise(model, others).logits, first.logits)
    assert_same(recognise(model, frames), first)
    assert_same(recognise(build(name).eval(), frames), first)


@every_model
def test_padding_never_changes_an_output(name):
    model = built(name)
    time = length_of(model)
    frames, lengths = clip(4, time), [time, 1, 2, time - 1]
    padded = recognise(model, frames, lengths)
    for row, length in enumerate(lengths):
        alone = recognise(model, frames[row : row + 1, :length])
        assert_close(Output(*(part[row : row + 1] for part in padded)), alone)
    garbage = frames.clone()
    for row, length in enumerate(lengths):
        garbage[row, length:] = 255 - frames[row, length:]
    assert_same(recognise(model, garbage, lengths), padded)
    longer = torch.cat([frames, clip(4, 3, seed=1)], dim=1)
    assert_close(recognise(model, longer, lengths), padded)
    assert not torch.equal(recognise(model, garbage).logits, recognise(model, frames).logits)


@every_model
def test_stepping_gives_what_the_clip_gives(name):
    model = streaming(name)
    time = length_of(model)
    window = model.stream_frames
    frames = clip(2, time + 3)
    state, logits = model.init_state(2), []
    for t in range(1, time + 4):
        with torch.inference_mode():
            output, state = model.step(frames[:, t - 1], state)
        seen = frames[:, max(0, t - window) if window else 0 : t]
        assert_close(output, recognise(model, seen))
        logits.append(output.logits)
    # The agreement says something only where outputs change by more than it allows.
    changes = [(a - b).abs().max().item() for a, b in pairwise(logits)]
    assert min(changes) > 1e-4


@every_model
def test_lengths_that_differ_in_a_batch_stop_the_stream_of_each_clip(name):
    model = streaming(name)
    time = length_of(model)
    frames, lengths = clip(4, time), [2, time, 1, time - 1]
    expected = recognise(model, frames, lengths)
    state = model.init_state(4)
    for t in range(1, time + 1):
        with torch.inference_mode():
            output, state = model.step(frames[:, t - 1], state)
        for row in (row for row, length in enumerate(lengths) if length == t):
            assert_close(output, expected, row)


@every_model
def test_state_is_explicit_and_survives_a_file(name, tmp_path):
    model = streaming(name)
    frames = clip(2, 6)
    state = model.init_state(2)
    with torch.inference_mode():
        for t in range(3):
            before = tuple(part.clone() for part in state)
            _, after = model.step(frames[:, t], state)
            assert all(map(torch.equal, state, before)), "step changed the state it was given"
            assert [(p.shape, p.dtype) for p in after] == [(p.shape, p.dtype) for p in before]
            state = after
        assert state
        assert all(part.ndim <= 4 and len(part) == 2 for part in state)
        save_file({str(i): part.contiguous() for i, part in enumerate(state)}, tmp_path / "state")
        loaded = load_file(tmp_path / "state")
        # Cloned, because the last bit of a sum can depend on where in memory its terms begin.
        other = tuple(loaded[str(i)].clone() for i in range(len(state)))
        second = tuple(part[1:] for part in state)
        for t in range(3, 6):
            output, state = model.step(frames[:, t], state)
            restored, other = model.step(frames[:, t], other)
            assert_same(restored, output)
            alone, second = model.step(frames[1:, t], second)
            assert_close(alone, Output(*(part[1:] for part in output)))


@every_model
def test_two_streams_do_not_disturb_each_other(name):
    model = streaming(name)
    clips = [clip(1, 5, seed) for seed in (1, 2)]
    with torch.inference_mode():
        alone = []
        for frames in clips:
            state, outputs = model.init_state(1), []
            for t in range(5):
                output, state = model.step(frames[:, t], state)
                outputs.append(output)
            alone.append(outputs)
        states = [model.init_state(1) for _ in clips]
        for t in range(5):
            for stream, frames in enumerate(clips):
                output, states[stream] = model.step(frames[:, t], states[stream])
                assert_same(output, alone[stream][t])


@every_model
def test_everything_happens_on_the_device_of_the_model(name):
    # The meta device computes nothing and refuses to be mixed with another, as a GPU does.
    model = build(name).eval().to("meta")
    frames = clip(2, length_of(model)).to("meta")
    with torch.inference_mode():
        parts = [*model(frames)]
        if isinstance(model, StreamingRecognizer):
            state = model.init_state(2)
            output, after = model.step(frames[:, 0], state)
            parts += [*state, *output, *after]
    assert {part.device.type for part in parts} == {"meta"}


@every_model
def test_weights_survive_a_file_to_the_bit(name, tmp_path):
    saved, loaded = build(name, seed=1).eval(), build(name, seed=2).eval()
    frames = clip(2, length_of(saved))
    expected = recognise(saved, frames)
    assert not torch.equal(recognise(loaded, frames).logits, expected.logits)
    save_weights(saved, tmp_path / "weights.safetensors")
    load_weights(loaded, tmp_path / "weights.safetensors")
    assert_same(recognise(loaded, frames), expected)
    for key, tensor in saved.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor), key


@every_model
def test_bf16_stays_close(name):
    """bfloat16 keeps 8 bits, 0.4% of a value, and ten times that is allowed; or as much as pixels
    wrong by up to 2 of 255 do, where a deep network with random weights amplifies any noise."""
    model = built(name)
    frames = clip(2, length_of(model))
    noise = torch.randint(0, 3, frames.shape, generator=torch.Generator().manual_seed(0))
    expected, noisy = recognise(model, frames), recognise(model, (frames + noise).to(torch.uint8))
    with torch.autocast("cpu", torch.bfloat16):
        given = [recognise(model, frames)]
        if isinstance(model, StreamingRecognizer):
            given.append(last_output(model, frames))
    for output in given:
        for a, b, c in zip(output, expected, noisy, strict=True):
            assert (a.float() - b).norm() < max(0.04 * b.norm(), (c - b).norm())


@every_model
def test_training_lowers_the_loss_on_a_fixed_batch(name):
    model = build(name).train()
    frames = clip(4, length_of(model))
    lengths, target = torch.tensor([length_of(model), 2, 3, 4]), torch.tensor([0, 1, 2, 0])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(4):
        loss = nn.functional.cross_entropy(model(frames, lengths).logits, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1e-3, losses


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("frames-gru", {"backbone": "test_efficientnet", "embedding_dim": 10**12}),
        (
            "frames-attention",
            {"backbone": "test_efficientnet", "embedding_dim": 60_000, "hidden_dim": 60_000},
        ),
        (
            "frames-tcn",
            {
                "backbone": "test_efficientnet",
                "embedding_dim": 32,
                "hidden_dim": 8,
                "layers": 10**8,
            },
        ),
    ],
)
def test_absurd_options_are_refused_before_they_fill_the_memory(name, options, monkeypatch):
    monkeypatch.setattr(models, "MOST_TENSORS", 500)  # as with all, only faster
    with pytest.raises(UserError, match=f"{name} cannot be built with"):
        models.create_model(name, 3, **options)
