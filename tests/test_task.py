"""What each task asks of logits and targets, held against scipy, scikit-learn and PyTorch."""

import pytest
import torch
from scipy.special import expit, log_softmax, softmax
from scipy.stats import entropy
from torch import Tensor, nn

from understudy.errors import UserError
from understudy.task import MULTI_LABEL, SINGLE_LABEL, TASKS, Task, task_named, task_of

NAN = float("nan")
SINGLE = torch.tensor([0, 1, 2, 3, 4, 0])
SEVERAL = torch.tensor([[1, 0, 0, 1, 0], [0, 1, 0, 0, 0], [0, 0, 1, 1, 1],
                        [0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [1, 1, 0, 0, 0]]).float()  # fmt: skip
BOTH = pytest.mark.parametrize(("task", "target"), [(SINGLE_LABEL, SINGLE), (MULTI_LABEL, SEVERAL)])


def logits(seed: int) -> Tensor:
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(seed))


def without_labels(task: Task, target: Tensor, rows: list[int]) -> Tensor:
    return target.index_fill(0, torch.tensor(rows), NAN if task.several else -1)


def test_a_manifest_and_a_file_name_the_task():
    assert (task_of(False), task_of(True)) == (SINGLE_LABEL, MULTI_LABEL)
    for name, task in TASKS.items():
        assert task_named(name) is task
    with pytest.raises(UserError, match=r"several-hands is not known .*single-label, multi-label"):
        task_named("several-hands")


def test_a_single_labels_loss_with_class_weights_against_numpy():
    weights = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0])
    chosen = -log_softmax(logits(2).numpy(), axis=1)[range(6), SINGLE.numpy()]
    expected = (chosen * weights[SINGLE].numpy()).sum() / weights[SINGLE].sum()
    assert SINGLE_LABEL.loss(logits(2), SINGLE, weights).item() == pytest.approx(
        float(expected), rel=1e-5
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0])])
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_losses_are_pytorchs(task: Task, weights: Tensor | None, smoothing: float):
    if task.several:
        expected = nn.BCEWithLogitsLoss(pos_weight=weights)(
            logits(0), SEVERAL * (1 - smoothing) + 0.5 * smoothing
        )
    else:
        expected = nn.CrossEntropyLoss(weights, label_smoothing=smoothing)(logits(0), SINGLE)
    target = SEVERAL if task.several else SINGLE
    torch.testing.assert_close(task.loss(logits(0), target, weights, smoothing), expected)


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0])])
@BOTH
def test_clips_without_a_label_are_in_no_loss_and_no_denominator(task, target, weights):
    given = logits(0).requires_grad_()
    partly = without_labels(task, target, [1, 4])
    assert task.labelled(partly).tolist() == [True, False, True, True, False, True]
    loss = task.loss(given, partly, weights, 0.1)
    loss.backward()
    rest = [0, 2, 3, 5]
    torch.testing.assert_close(loss, task.loss(given[rest], target[rest], weights, 0.1))
    assert given.grad is not None
    assert given.grad.isfinite().all()
    assert given.grad[[1, 4]].abs().max() == 0
    assert not task.hits(given, partly)[[1, 4]].any()


@BOTH
def test_a_batch_without_any_label_loses_nothing_and_moves_nothing(task, target):
    given = logits(0).requires_grad_()
    loss = task.loss(given, without_labels(task, target, list(range(6))), torch.ones(5), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert given.grad is not None
    assert given.grad.abs().max() == 0


def test_the_response_of_single_labels_against_scipy():
    student, teacher = logits(0), logits(1)
    p, q = (softmax(one.numpy() / 3, axis=1) for one in (teacher, student))
    expected = 9 * entropy(p, q, axis=1).mean()
    assert SINGLE_LABEL.response(student, teacher, 3.0).item() == pytest.approx(expected, rel=1e-5)


def test_the_response_of_several_labels_is_of_each_class_by_itself_against_scipy():
    student, teacher = logits(0), logits(1)
    p, q = (expit(one.double().numpy() / 3) for one in (teacher, student))
    of_each = entropy([p, 1 - p], [q, 1 - q], axis=0)
    given = MULTI_LABEL.response(student, teacher, 3.0).item()
    assert given == pytest.approx(9 * of_each.mean(), rel=1e-5)
    moved = teacher + 5  # a softmax says the same of these, a sigmoid does not
    assert SINGLE_LABEL.response(teacher, moved, 3.0).item() == pytest.approx(0, abs=1e-5)
    assert MULTI_LABEL.response(teacher, moved, 3.0).item() > 1


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_response_is_zero_between_equals_and_finite_between_the_surest(task: Task):
    assert task.response(logits(1), logits(1), 3.0).item() == pytest.approx(0, abs=1e-6)
    student = torch.full((2, 5), 200.0).requires_grad_()
    loss = task.response(student, -student.detach(), 1.0)
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_responses_gradient_keeps_its_size_at_any_temperature(task: Task):
    # Hinton et al. 2015: for high temperatures the gradient is that of matching logits.
    norms = []
    for temperature in (50.0, 200.0):
        student = logits(0).requires_grad_()
        task.response(student, logits(1), temperature).backward()
        assert student.grad is not None
        norms.append(student.grad.norm().item())
    assert norms[0] == pytest.approx(norms[1], rel=0.05)


def test_class_weights_make_single_labels_count_alike():
    counts = [10, 30, 60]
    shares = SINGLE_LABEL.class_weights(counts, 100) * torch.tensor(counts)
    torch.testing.assert_close(shares, torch.full((3,), 100 / 3))


def test_class_weights_make_a_label_weigh_as_much_where_it_holds_as_where_it_does_not():
    weights = MULTI_LABEL.class_weights([10, 50, 90, 0], 100)
    torch.testing.assert_close(
        weights[:3] * torch.tensor([10, 50, 90]), 100.0 - torch.tensor([10, 50, 90])
    )
    assert weights.isfinite().all()


def test_probabilities_are_scipys():
    given = logits(0)
    torch.testing.assert_close(
        SINGLE_LABEL.probabilities(given), torch.tensor(softmax(given.numpy(), axis=1))
    )
    torch.testing.assert_close(MULTI_LABEL.probabilities(given), torch.tensor(expit(given.numpy())))


def test_several_labels_are_right_where_exactly_they_hold():
    said = torch.tensor([[3.0, -3.0, 1.0], [3.0, -3.0, 1.0], [NAN, -3.0, 1.0]])
    target = torch.tensor([[1.0, 0, 1], [1, 0, 0], [1, 0, 1]])
    assert MULTI_LABEL.hits(said, target).tolist() == [True, False, False]
    thresholds = torch.tensor([0.5, 0.5, 0.9])
    assert MULTI_LABEL.hits(said, target, thresholds).tolist() == [False, True, False]
    at = MULTI_LABEL.probabilities(said[:1])  # a label holds from its threshold on
    assert MULTI_LABEL.hits(said[:1], target[:1], at.nan_to_num()[0]).item() is False
    assert MULTI_LABEL.hits(said[:1], torch.ones(1, 3), at[0]).item() is True


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_better_of_two_epochs_has_the_higher_metric_or_the_lower_loss(task: Task):
    worse, better = {task.metric: 0.5, "loss": 0.1}, {task.metric: 0.6, "loss": 0.9}
    assert task.score(better) > task.score(worse)
    assert task.score(worse) > task.score(worse | {"loss": 0.2})
