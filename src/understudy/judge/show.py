"""Metrics as text for a terminal: a figure never without its interval and its n."""

from __future__ import annotations

from typing import Any

from understudy.judge.predictions import counted


def metric_lines(metrics: dict[str, Any]) -> list[str]:
    """What `evaluate` prints: figures, each class, what is confused most, and warnings."""
    groups = f" of {counted(metrics['groups'], 'group')}" if metrics.get("groups") else ""
    skipped = f", {metrics['skipped']} could not be read" if metrics.get("skipped") else ""
    level = round(100 * metrics.get("confidence", 0.95))
    lines = [
        f"{counted(metrics['n'], 'clip')}{groups} in split {metrics['split']}{skipped}. "
        f"Intervals hold {level}%."
    ]
    names = {
        "top1": "top-1 accuracy",
        "top5": "top-5 accuracy",
        "macro_f1": "macro F1",
        "calibration_error": "calibration error",
    }
    lines += [
        f"{title:<18} {figure(metrics[key])}" for key, title in names.items() if key in metrics
    ]
    width = max(len(name) for name in metrics["classes"])
    lines += ["", f"{'class':<{width}}  accuracy"]
    lines += [
        f"{name:<{width}}  {figure(metrics['per_class'][name]['accuracy'])}"
        for name in metrics["classes"]
    ]
    confusions = _most_confused(metrics["confusion"], metrics["classes"])
    if confusions:
        lines += ["", "most confused: " + "; ".join(confusions)]
    for warning in metrics["warnings"]:
        lines += ["", *f"! {warning}".split("\n")]
    return lines


def figure(content: dict[str, Any]) -> str:
    """`0.850 [0.709, 0.929] n=40`; a dash where there is nothing to measure."""
    if content["n"] == 0:
        return "-"
    low, high = content["low"], content["high"]
    return f"{content['value']:.3f} [{low:.3f}, {high:.3f}] n={content['n']}"


def _most_confused(confusion: list[list[int]], classes: list[str]) -> list[str]:
    mistakes = [
        (count, f"{classes[i]} taken for {classes[j]} ({count} of {sum(row)})")
        for i, row in enumerate(confusion)
        for j, count in enumerate(row)
        if i != j and count
    ]
    return [text for _, text in sorted(mistakes, key=lambda m: -m[0])[:3]]
