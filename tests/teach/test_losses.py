import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from torch.nn import functional as F

from understudy.recipe import Distill
from understudy.task import SINGLE_LABEL
from understudy.teach.losses import (
    Taught,
    balanced_class_weights,
    feature_loss,
    response_loss,
    teaching_loss,
)
from understudy.types import Output


def random_output(seed: int) -> Output:
    generator = torch.Generator().manual_seed(seed)
    return Output(torch.randn(6, 5, generator=generator), torch.randn(6, 16, generator=generator))


def test_feature_loss_is_twice_one_minus_cosine_at_any_scale():
    student, teacher = random_output(0).embedding, random_output(1).embedding
    expected = (2 - 2 * F.cosine_similarity(student, teacher)).mean()
    assert torch.allclose(feature_loss(student, teacher), expected, atol=1e-6)
    assert torch.allclose(feature_loss(7 * student, teacher), expected, atol=1e-6)
    assert feature_loss(student, 3 * student).item() == pytest.approx(0, abs=1e-6)


def test_response_loss_against_scipy():
    student, teacher = random_output(0).logits, random_output(1).logits
    temperature = 3.0
    p = softmax(teacher.numpy() / temperature, axis=1)
    q = softmax(student.numpy() / temperature, axis=1)
    expected = temperature**2 * entropy(p, q, axis=1).mean()
    assert response_loss(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-5)
    assert response_loss(teacher, teacher, temperature).item() == pytest.approx(0, abs=1e-6)


def test_response_gradient_keeps_its_size_at_any_temperature():
    # Hinton et al. 2015: for high temperatures the gradient is that of matching logits.
    teacher = random_output(1).logits
    norms = []
    for temperature in (50.0, 200.0):
        student = random_output(0).logits.requires_grad_()
        response_loss(student, teacher, temperature).backward()
        assert student.grad is not None
        norms.append(student.grad.norm().item())
    assert norms[0] == pytest.approx(norms[1], rel=0.05)


def test_task_loss_with_class_weights_against_numpy():
    logits, target = random_output(2).logits, torch.tensor([0, 1, 2, 3, 4, 0])
    weights = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0])
    chosen = -log_softmax(logits.numpy(), axis=1)[range(6), target.numpy()]
    expected = (chosen * weights[target].numpy()).sum() / weights[target].sum()
    assert SINGLE_LABEL.loss(logits, target, weights).item() == pytest.approx(
        float(expected), rel=1e-5
    )


def test_total_is_the_weighted_sum_and_unused_parts_are_absent():
    student, teacher, target = random_output(0), random_output(1), torch.zeros(6, dtype=torch.long)
    weights = Distill(alpha=2.0, beta=0.5, temperature=4.0)
    losses = teaching_loss(student, target, {"teacher": Taught(teacher, weights)}, 0.25)
    parts = losses.parts
    assert set(parts) == {"task", "feature", "response"}
    expected = 2 * parts["feature"] + 0.5 * parts["response"] + 0.25 * parts["task"]
    assert torch.allclose(losses.total, expected)
    only = Taught(teacher, Distill(alpha=1, beta=0))
    features_only = teaching_loss(student, target, {"teacher": only}, 0.0)
    assert set(features_only.parts) == {"task", "feature"}
    assert torch.allclose(features_only.total, features_only.parts["feature"])
    untaught = teaching_loss(student, target, {}, 0.25)
    assert torch.equal(untaught.total, untaught.parts["task"])


def test_losses_of_several_teachers_add_up():
    student, target = random_output(0), torch.zeros(6, dtype=torch.long)
    one = Taught(random_output(1), Distill(alpha=2.0, beta=0.5, temperature=4.0))
    space = random_output(3).embedding[:, :4]
    two = Taught(
        Output(random_output(2).logits, random_output(2).embedding[:, :4]),
        Distill(alpha=1.0, beta=0.0),
        embedding=space,
    )
    both = teaching_loss(student, target, {"a": one, "b": two}, 0.25)
    assert set(both.parts) == {"task", "feature_a", "response_a", "feature_b"}
    alone = teaching_loss(student, target, {"a": one}, 0.25).total
    assert torch.allclose(both.total, alone + feature_loss(space, two.output.embedding))


def test_balanced_weights_make_classes_count_alike():
    counts = [10, 30, 60]
    weights = balanced_class_weights(counts)
    shares = weights * torch.tensor(counts)
    assert torch.allclose(shares, shares[:1].expand(3))
    assert shares.sum().item() == pytest.approx(sum(counts))
