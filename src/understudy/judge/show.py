"""Metrics as text for a terminal: a figure never without its interval and its n."""

from __future__ import annotations

from typing import Any

from understudy.judge.predictions import counted

TITLES = {
    "top1": "top-1 accuracy",
    "top1_without_background": "top-1 without background",
    "top5": "top-5 accuracy",
    "map": "mAP",
    "map_without_background": "mAP without background",
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "exact_match": "all labels right",
    "calibration_error": "calibration error",
}
"""What the figures of metrics.json are called, in the order in which they are shown."""


_SHOWN = 30
"""Groups that are listed, the weakest first."""


def metric_lines(metrics: dict[str, Any]) -> list[str]:
    """What `evaluate` prints: figures, each class, what is confused most, and warnings."""
    groups = f" of {counted(metrics['groups'], 'group')}" if metrics.get("groups") else ""
    skipped = f", {metrics['skipped']} could not be read" if metrics.get("skipped") else ""
    level = round(100 * metrics.get("confidence", 0.95))
    lines = [
        f"{counted(metrics['n'], 'clip')}{groups} in split {metrics['split']}{skipped}. "
        f"Intervals hold {level}%."
    ]
    titles = {key: title for key, title in TITLES.items() if key in metrics}
    wide = max(18, *map(len, titles.values()))
    lines += [f"{title:<{wide}} {figure(metrics[key])}" for key, title in titles.items()]
    width = max(len(name) for name in metrics["classes"])
    per_class = [metrics["per_class"][name] for name in metrics["classes"]]
    if "map" in metrics:
        lines += ["", f"{'class':<{width}}  threshold  F1     average precision"]
        lines += [
            f"{name:<{width}}  {one['threshold']:.3f}      {one['f1']['value']:.3f}  "
            f"{figure(one['average_precision'])}"
            for name, one in zip(metrics["classes"], per_class, strict=True)
        ]
    else:
        lines += ["", f"{'class':<{width}}  accuracy"]
        lines += [
            f"{name:<{width}}  {figure(one['accuracy'])}"
            for name, one in zip(metrics["classes"], per_class, strict=True)
        ]
        confusions = _most_confused(metrics["confusion"], metrics["classes"])
        if confusions:
            lines += ["", "most confused: " + "; ".join(confusions)]
    lines += _fold_lines(metrics)
    for warning in metrics["warnings"]:
        lines += ["", *f"! {warning}".split("\n")]
    return lines


def _fold_lines(metrics: dict[str, Any]) -> list[str]:
    """Of an evaluation of all folds: the same figure by fold, and by group."""
    if "folds" not in metrics:
        return []
    spread = metrics["spread"]
    title = TITLES[spread["metric"]]
    lines = [
        "",
        f"Each clip was recognised by one of {len(metrics['folds'])} students, that which had not "
        "met its group. Intervals are",
        "over groups. What differs between folds is who is in them: they are no seeds.",
        "",
        f"fold  {title}",
    ]
    lines += [
        f"{one['fold']:>4}  {figure(one['figure'])} of {counted(one['groups'], 'group')}"
        for one in metrics["folds"]
    ]
    lines.append(
        f"between folds: mean {spread['mean']:.3f}, standard deviation {spread['deviation']:.3f}, "
        f"{spread['low']:.3f} to {spread['high']:.3f}"
    )
    if metrics["by_group"]:
        shown = metrics["by_group"][:_SHOWN]
        width = max(len("group"), *(len(one["group"]) for one in shown))
        lines += ["", f"{'group':<{width}}  fold  right"]
        lines += [
            f"{one['group']:<{width}}  {one['fold']:>4}  {figure(one['right'])}" for one in shown
        ]
        more = len(metrics["by_group"]) - _SHOWN
        lines += [f"and {more} more, in metrics.json"] if more > 0 else []
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
