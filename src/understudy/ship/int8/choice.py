"""Which quantisation scheme is shipped, and the sentence that says why.

The rule: a candidate may lose at most 1 point of accuracy, of mAP where several labels may hold, by
the point estimate on the validation clips, and must be faster than FP32 beyond doubt: the 95%
interval of its time over that of FP32 lies below 1. The fastest of those is taken, by the ratio; of
equal ones the first that was tried. FP32 is shipped where there is none. The interval of the figure
does not decide, since on few clips it always reaches past 1 point; it stands in the sentence, with
a warning where it does.

A scheme that was asked for by name need not be faster: a device may ask for it, and files can be
smaller for their own sake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

FP32 = "fp32"
MOST_LOST_POINTS = 1.0
_ROUNDING = 1e-9


def choose(rows: Sequence[dict[str, Any]], ask: str = "auto") -> tuple[str, str]:
    """The scheme to ship, or "fp32", and a sentence with the figures that decided.

    rows: as `measure_graph` gives them, FP32 first. ask: "auto", or the name of one scheme.
    """
    candidates = [row for row in rows if row["recipe"] != FP32]
    tried = [row for row in candidates if row["failure"] is None]
    if not tried:
        reasons = "; ".join(f"{row['recipe']}: {row['failure']}" for row in candidates)
        return FP32, f"FP32 is shipped, since nothing could be quantised ({reasons})."
    if ask != "auto":
        return _judge_one(tried[0])
    fit = [row for row in tried if _keeps(row) and _is_faster(row)]
    if fit:
        best = min(fit, key=lambda row: row["ratio"])
        return best["recipe"], f"{_figures(best)}: the fastest of {_count(tried)}.{_doubt(best)}"
    keeping = [row for row in tried if _keeps(row)]
    if keeping:
        near = min(keeping, key=lambda row: row["ratio"])
    else:
        near = max(tried, key=lambda row: row["difference_points"])
    sentence = (
        f"FP32 is shipped: none of {_count(tried)} is faster beyond doubt and loses at most "
        f"{MOST_LOST_POINTS:g} point. The nearest was {_figures(near)}."
    )
    return FP32, sentence + _hint([row for row in tried if _is_faster(row)])


def _judge_one(row: dict[str, Any]) -> tuple[str, str]:
    if not _keeps(row):
        return FP32, (
            f"FP32 is shipped: {row['recipe']} was asked for and loses more than "
            f"{MOST_LOST_POINTS:g} point. {_figures(row)}.{_hint([row])}"
        )
    gain = "" if _is_faster(row) else " It was asked for by name; it is not faster beyond doubt."
    return row["recipe"], f"{_figures(row)}.{gain}{_doubt(row)}"


def _keeps(row: dict[str, Any]) -> bool:
    return row["difference_points"] >= -MOST_LOST_POINTS - _ROUNDING


def _is_faster(row: dict[str, Any]) -> bool:
    return row["ratio_high"] < 1


def _figures(row: dict[str, Any]) -> str:
    clips = f"{row['n']} validation clip{'' if row['n'] == 1 else 's'}"
    return (
        f"{row['recipe']} with {row['ratio']:.2f} ({row['ratio_low']:.2f} to "
        f"{row['ratio_high']:.2f}) of FP32's time, {row['bytes_ratio']:.2f} of its bytes and "
        f"{row['difference_points']:+.1f} points of {'mAP' if 'map' in row else 'accuracy'} "
        f"({row['low_points']:+.1f} to "
        f"{row['high_points']:+.1f}, {clips})"
    )


def _doubt(row: dict[str, Any]) -> str:
    if row["low_points"] >= -MOST_LOST_POINTS:
        return ""
    return f" So few clips do not exclude that it loses more than {MOST_LOST_POINTS:g} point."


def _count(tried: Sequence[dict[str, Any]]) -> str:
    return f"{len(tried)} scheme{'' if len(tried) == 1 else 's'} measured"


def _hint(faster: Sequence[dict[str, Any]]) -> str:
    """What may help where INT8 would be faster and always costs too much."""
    if not faster or any(_keeps(row) for row in faster):
        return ""
    return " Training with quantisation in it may win the points back: understudy train --qat RUN"
