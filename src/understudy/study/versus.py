"""A comparison of two models in plain words: the difference, what it rests on, what it shows."""

from __future__ import annotations

from typing import Any

from understudy.judge.compare import Comparison
from understudy.judge.show import figure


def versus_content(found: Comparison, a: str, b: str) -> dict[str, Any]:
    """A comparison as one object, ready for JSON. a, b: as the user named them."""
    metric = found.a.predictions.task.metric
    sides = {
        name: {"source": source, metric: one.metrics[metric], "evaluation": str(one.path)}
        for name, source, one in (("a", a, found.a), ("b", b, found.b))
    }
    return sides | {"split": found.a.metrics["split"]} | found.difference


def versus_lines(found: Comparison, a: str, b: str) -> list[str]:
    """What the verb `compare` prints. a, b: as the user named them."""
    width = max(len(a), len(b))
    split, content = found.a.metrics["split"], found.difference
    metric = found.a.predictions.task.metric
    p = "p < 0.001" if content["p"] < 0.001 else f"p = {content['p']:.3f}"
    lines = [
        f"{found.a.predictions.task.metric_title} on split {split}",
        f"  {a:<{width}}  {figure(found.a.metrics[metric])}",
        f"  {b:<{width}}  {figure(found.b.metrics[metric])}",
        f"difference {content['difference']:+.3f} [{content['low']:+.3f}, {content['high']:+.3f}], "
        f"n = {content['n']} clips of {content['groups']} groups, {p}",
        verdict(content, a, b),
    ]
    warnings = dict.fromkeys([*found.a.metrics["warnings"], *found.b.metrics["warnings"]])
    for warning in warnings:
        lines += ["", *f"! {warning}".split("\n")]
    return lines


def verdict(content: dict[str, Any], a: str, b: str) -> str:
    """What a paired difference shows, in a sentence; no more than its interval allows.

    content: difference (the metric of a minus that of b), low and high.
    """
    low, high = content["low"], content["high"]
    if low <= 0 <= high:
        return (
            f"No difference is shown: {a} may be up to {_points(high)} better or {_points(-low)} "
            f"worse than {b} on clips like these."
        )
    better, worse = (a, b) if low > 0 else (b, a)
    least = min(abs(low), abs(high))
    return (
        f"{better} is better than {worse} on clips like these, by {_points(least)} at least. It is "
        "one run of each: other seeds may differ."
    )


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"
