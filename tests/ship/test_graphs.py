"""The graphs that are exported are the models, in tensors that every device can hold."""

import pytest
import torch

from small_models import built, clip, length_of, recognise, streaming
from understudy.models import list_models
from understudy.ship.graphs import DTYPES, begin, clip_graph, graphs_of, step_graph


@pytest.mark.parametrize("name", list_models())
def test_a_clip_graph_gives_what_the_model_gives(name: str) -> None:
    model = built(name)
    frames = length_of(model)
    graph = clip_graph(model, frames)
    clips, lengths = clip(3, frames), torch.tensor([1, frames, frames - 1])
    with torch.inference_mode():
        expected = model(clips, lengths)
        given = graph.module(clips.flatten(0, 1), lengths.int())
    assert torch.equal(given[0], expected.logits)
    assert torch.equal(given[1], expected.embedding)


@pytest.mark.parametrize("name", list_models())
def test_a_step_graph_begins_with_zeros_and_follows_the_model(name: str) -> None:
    model = streaming(name)
    graph = step_graph(model)
    state, own = begin(graph.inputs, 2), model.init_state(2)
    assert not any(tensor.any() for tensor in state)
    with torch.inference_mode():
        for frame in clip(2, 5).unbind(1):
            expected, own = model.step(frame, own)
            logits, embedding, *state = graph.module(frame, *state)
            assert torch.equal(logits, expected.logits)
            assert torch.equal(embedding, expected.embedding)
    for given, expected in zip(state, own, strict=False):
        assert torch.equal(given.to(expected.dtype), expected)


@pytest.mark.parametrize("name", list_models())
def test_tensors_are_what_the_graph_says_and_at_most_four_dimensional(name: str) -> None:
    model = built(name)
    for graph in graphs_of(model, length_of(model)):
        batch = 3
        inputs = graph.example(batch)
        with torch.inference_mode():
            outputs = graph.module(*inputs)
        specs = (*graph.inputs, *graph.outputs)
        assert len({spec.name for spec in specs}) == len(specs)
        for spec, tensor in zip(specs, (*inputs, *outputs), strict=True):
            assert tensor.dim() <= 4
            assert tuple(tensor.shape) == (batch * spec.shape[0], *spec.shape[1:])
            assert tensor.dtype == DTYPES[spec.dtype]


def test_learned_beginnings_replace_the_zeros_of_a_first_frame_only() -> None:
    model = streaming("rvit")
    graph = step_graph(model)
    assert graph.inputs[-1].name == "started"
    assert any(tensor.any() for tensor in model.init_state(1))
    state = begin(graph.inputs, 1)
    # Whatever stands in a state that has not started, zeros or not, is not looked at.
    other = (*(tensor + 1 for tensor in state[:-1]), state[-1])
    frame = clip(1, 1)[:, 0]
    with torch.inference_mode():
        one, two = graph.module(frame, *state), graph.module(frame, *other)
        going = graph.module(frame, *(tensor + 1 for tensor in state[:-1]), one[-1])
    assert torch.equal(one[0], two[0])
    assert not torch.equal(one[0], going[0])


def test_pictures_have_no_lengths() -> None:
    model = built("cnn-attention")
    graph = clip_graph(model, 1)
    assert [spec.name for spec in graph.inputs] == ["frames"]
    pictures = clip(3, 1)
    with torch.inference_mode():
        given = graph.module(pictures.flatten(0, 1))
    assert torch.equal(given[0], recognise(model, pictures).logits)
