"""One optimiser step, as the recipe says it: how long gradients may be, what decays, which loss."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from understudy.models import create_model
from understudy.recipe import Train
from understudy.task import SINGLE_LABEL
from understudy.teach.device import Device
from understudy.teach.learner import Learner
from understudy.teach.optimizer import create_optimizer
from understudy.teach.processes import Processes
from understudy.teach.step import Step
from understudy.teach.train import _losses
from understudy.types import Output

from .conftest import MODEL, make_recipe


def moved(tmp_path, max_grad_norm: float | None) -> Tensor:
    """How far two weights are moved by a gradient of (-30, 40), at a rate of 1."""
    train = Train(batch_size=1, max_grad_norm=max_grad_norm, device="cpu")
    device = Device(train, tmp_path)
    layer = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(layer.weight)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    step = Step(layer, optimizer, device, Processes(device.torch), train)  # pyright: ignore[reportArgumentType]
    step.backward(layer(torch.tensor([[-30.0, 40.0]])).sum(), 1)
    assert step.take() == 1
    return -layer.weight.detach()[0]


@pytest.mark.parametrize(
    ("max_grad_norm", "expected"),
    [(1.0, [-0.6, 0.8]), (5.0, [-3.0, 4.0]), (100.0, [-30.0, 40.0]), (None, [-30.0, 40.0])],
)
def test_longer_gradients_are_cut_to_the_length_asked_for(max_grad_norm, expected, tmp_path):
    assert moved(tmp_path, max_grad_norm).tolist() == pytest.approx(expected, rel=1e-4)


def test_weights_decay_by_rate_times_decay_where_nothing_else_moves_them():
    torch.manual_seed(0)
    student = create_model("frames-attention", 3, **MODEL)
    for parameter in student.parameters():
        nn.init.normal_(parameter)
    optimizer = create_optimizer(Learner(student), Train(lr=0.1, weight_decay=0.5))
    before = {name: one.detach().clone() for name, one in student.named_parameters()}
    for parameter in student.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    after = dict(student.named_parameters())
    torch.testing.assert_close(after["head.0.weight"], 0.95 * before["head.0.weight"])
    for name in ("head.0.bias", "projection.1.weight", "temporal.query"):
        assert torch.equal(after[name], before[name]), name


def test_the_recipes_label_smoothing_reaches_the_loss(clips):
    logits, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    setup = SimpleNamespace(
        recipe=make_recipe(clips, train={"label_smoothing": 0.3}),
        teachers={},
        class_weights=None,
        task=SINGLE_LABEL,
        labelled_share=1.0,
    )
    losses = _losses(setup, Output(logits, logits), SimpleNamespace(target=target))  # pyright: ignore[reportArgumentType]
    assert torch.equal(losses.total, SINGLE_LABEL.loss(logits, target, None, 0.3))
    assert not torch.isclose(losses.total, SINGLE_LABEL.loss(logits, target))
