"""Write docs/models.md from the code and the newest results/models_<date>.csv.

    python benchmarks/models.py
    python docs/generate.py

A test compares the committed page with what this gives.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from understudy.models import create_model, list_models, model_options

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "models.md"

FRAMES = {
    "backbone": "A timm model by its name, `small-cnn` or `small-cnn-wide`. Runs on every frame.",
    "temporal": "`attention`, `average`, `tcn` or `gru`: how frames become a clip.",
    "weights": "The backbone's: `random`, `hub` (timm's own), or the path of a safetensors file.",
    "freeze_backbone": "Keep the backbone as it is. Needs weights that are not random.",
    "hidden_dim": "Width inside the classifier.",
    "heads": "Heads of the attention pool.",
    "dropout": "After the projection, in `attention` and `tcn`, and in the classifier.",
    "positions": "Time positions in the attention pool. Without them it is blind to order.",
    "window": "Frames that the attention pool looks at: the latest of a longer clip or a stream. "
    "Training sets it to `data.frames`.",
    "layers": "Residual blocks of `tcn`. Each looks twice as far back as the one before it.",
    "kernel": "Frames per convolution of `tcn`.",
    "mean": "Of pixels from 0 to 1, per channel; null: those of the backbone's weights. A "
    "local file that does not tell them needs both.",
}
RVIT = {
    "patch_size": "Pixels a side of a patch. A picture of another size is padded to whole patches.",
    "layers": "Layers, each with a hidden map of its own.",
    "dim": "Width of a token.",
    "heads": "Heads of the attention.",
    "mlp_dim": "Width inside the MLP of a layer.",
    "attention": "`linear`, `softmax`, or `mixed`: a learned blend of both for each head.",
    "repeat_positions": "Add positions before every layer, else before the first alone.",
    "embedding_dim": "null: the tokens side by side. A number puts a Linear behind them. With a "
    "teacher it follows the teacher's.",
    "dropout": "On tokens, on the way of the attention into them, and in the MLP.",
    "gradient_frames": "Training: the last so many frames of a clip carry gradients; null: all.",
}
COMMON = {
    "embedding_dim": "Width of the clip's embedding. With a teacher it follows the teacher's.",
    "input_size": "Pixels a side. Training sets it to `data.size`.",
    "mean": "Of pixels from 0 to 1, per channel.",
    "std": "The same for the deviation.",
}
"""Meanings of options that a family does not tell otherwise."""


class Family(NamedTuple):
    """Models of one class. `about`: what it is. `options`: meanings beside `COMMON`."""

    title: str
    about: str
    options: dict[str, str]


FAMILIES = {
    "FramesRecognizer": Family(
        "A picture network on every frame",
        "A timm backbone reads every frame, a temporal head makes one embedding of them.",
        FRAMES,
    ),
    "AttentionCNN": Family(
        "A small picture CNN, with and without attention",
        "A slot for attention after each stage; `cnn-plain` differs in nothing but empty slots. "
        "See [attention](attention.md) for what it brings.",
        {
            "attention": "`spatial`, `channel`, `both` (CBAM), `linear` self-attention, `none`.",
            "widths": "Channels after each stage.",
            "strides": "Of each stage's first convolution; one for each width.",
            "depth": "Convolutions in a stage.",
            "dropout": "In the classifier.",
        },
    ),
    "RViT": Family(
        "Recurrent vision transformer",
        "One frame at a time; attention also reads what the frames before left behind.",
        RVIT,
    ),
    "RViTImage": Family(
        "Recurrent vision transformer, image first",
        "Learns from stills and reads videos: see the module for its four changes to `rvit`.",
        RVIT
        | {
            "patch_frames": "Frames that a patch is deep.",
            "window_frames": "Latest frames that a step sees; a multiple of `patch_frames`.",
            "position_frames": "Time slots of the learned positions; null: those of a window.",
            "embedding_dim": "null: the averages side by side. A number puts a Linear behind them. "
            "With a teacher it follows the teacher's.",
            "recurrent_dropout": "On what attention reads of the hidden map: one mask for a clip.",
        },
    ),
    "C3D": Family(
        "3-D convolutions",
        "C3D on 16 frames and four lighter relatives. Streams keep the latest 16 frames.",
        {
            "relative": "Which of them: `c3d`, `sp`, `mc5`, `mc4` or `mc3`.",
            "head": "`fc`: two wide layers, as published. `pool`: mean over positions.",
            "width": "Channels of the first stage; the others are multiples of it.",
            "hidden_dim": "Width of fc6, and of fc7 where `embedding_dim` is null; `fc` alone.",
            "embedding_dim": "Width of the embedding; null: `hidden_dim`, or 8 x `width` for "
            "`pool`. With a teacher it follows the teacher's.",
            "dropout": "In `fc` after each wide layer, in `pool` before the classifier.",
            "stream_stride": "A stream computes anew at its first and at every so many frames.",
        },
    ),
}
"""By the name of the class."""

PAPERS = {
    "c3d": "Tran et al. 2015, [C3D](https://arxiv.org/abs/1412.0767)",
    "c3d-mc3": "C3D, stages 3 to 5 folded into 2-D",
    "c3d-mc4": "C3D, stages 4 and 5 folded into 2-D",
    "c3d-mc5": "C3D, stage 5 folded into 2-D",
    "c3d-sp": "C3D, kernels split into space and time",
    "cnn-attention": "Woo et al. 2018, [CBAM](https://arxiv.org/abs/1807.06521)",
    "cnn-plain": "the same without attention",
    "frames-attention": "attention pooling over MobileViT features",
    "frames-average": "their mean",
    "frames-gru": "Cho et al. 2014, [GRU](https://arxiv.org/abs/1406.1078), over them",
    "frames-tcn": "Bai et al. 2018, [TCN](https://arxiv.org/abs/1803.01271), over them",
    "mobilenetv3": "Howard et al. 2019, [MobileNetV3](https://arxiv.org/abs/1905.02244)",
    "mobilenetv4": "Qin et al. 2024, [MobileNetV4](https://arxiv.org/abs/2404.10518)",
    "mobilevit-xxs": "Mehta and Rastegari 2022, [MobileViT](https://arxiv.org/abs/2110.02178)",
    "rvit": "Yang et al. 2022, [RViT](https://openaccess.thecvf.com/content/CVPR2022/html/"
    "Yang_Recurring_the_Transformer_for_Video_Action_Recognition_CVPR_2022_paper.html)",
    "rvit-image": "the same, image first",
}

HEAD = """\
# Models

<!-- Written by docs/generate.py from results/{csv}. Change the code or docs/generate_models.py,
then run docs/generate.py. -->

Any of these stands in `model.name` of a recipe, and `create_model(name, num_classes, **options)`
builds it. All take uint8 clips and normalise them themselves, padding never changes an output, and
each gives logits and an embedding.

| model | parameters | clip | GMACs per clip | ms per clip [95%] | over `{reference}` [95%] | from |
|---|---|---|---|---|---|---|
"""

STREAMS = """
Parameters count the classifier of {classes} classes. A clip is what the model sees at its defaults.
Times are medians on {threads} thread of {hardware}, torch {torch}, batch 1, {date}; each model took
turns with `{reference}` over {rounds} rounds, so the ratio is what carries over to another machine.
`python benchmarks/models.py` measures anew, `python docs/generate.py` writes this page.

## Streams

A stream is read frame by frame, and its state goes in and comes out: see `StreamingRecognizer`.
After every frame the output is that of the clip so far, or of its latest frames where a number says
how many. Shapes are those for one stream, the first number being the batch.

| model | looks back | state | bytes | GMACs per frame | ms per frame [95%] | over `{reference}` \
[95%] |
|---|---|---|---|---|---|---|
"""

OPTIONS = """
## Options

What `model.options` of a recipe and `create_model` take.
"""


def newest_csv() -> Path:
    return max((ROOT / "results").glob("models_*.csv"))


def measured(path: Path) -> dict[str, dict[str, str]]:
    """The rows of the CSV by model, in the order of `list_models()`."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    return {name: rows[name] for name in list_models()}


def page() -> str:
    """The whole page."""
    path = newest_csv()
    rows = measured(path)
    context = {**next(iter(rows.values())), "csv": path.name, "classes": 10}
    lines = [HEAD.format(**context).rstrip()]
    lines += [
        f"| `{name}` | {int(row['parameters']):,} | {row['frames']} × {row['size']} px | "
        f"{figure(row['gmacs_clip'])} | {interval(row, 'clip_ms')} | "
        f"{interval(row, 'clip_ratio')} | {PAPERS[name]} |"
        for name, row in rows.items()
    ]
    lines.append(STREAMS.format(**context).rstrip())
    lines += [stream_line(name, row) for name, row in rows.items()]
    lines.append(OPTIONS.rstrip())
    for kind, members in families().items():
        lines += ["", f"### {FAMILIES[kind].title}", "", *family_lines(kind, members)]
    return "\n".join(lines).rstrip() + "\n"


def stream_line(name: str, row: dict[str, str]) -> str:
    if not row["state"]:
        return f"| `{name}` | reads whole clips | | | | | |"
    shapes = ", ".join(shape.replace("x", " × ") for shape in row["state"].split())
    looks_back = f"{row['stream_frames']} frames" if row["stream_frames"] else "to its beginning"
    return (
        f"| `{name}` | {looks_back} | {shapes} | {int(row['state_bytes']):,} | "
        f"{figure(row['gmacs_frame'])} | {interval(row, 'frame_ms')} | "
        f"{interval(row, 'frame_ratio')} |"
    )


def families() -> dict[str, list[str]]:
    """Models by the name of their class, in the order of `FAMILIES`."""
    members: dict[str, list[str]] = {kind: [] for kind in FAMILIES}
    for name in list_models():
        with torch.device("meta"):
            members[type(create_model(name, 2)).__name__].append(name)
    return members


def family_lines(kind: str, members: list[str]) -> list[str]:
    """What a family is, the options of its first member, and where the others differ."""
    family, defaults = FAMILIES[kind], model_options(members[0])
    meanings = COMMON | family.options
    lines = [family.about, "", f"Defaults of `{members[0]}`:", ""]
    lines += ["| option | default | |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {code(value)} | {meanings[name]} |" for name, value in defaults.items()
    ]
    changes = {name: differing(name, defaults) or "the same" for name in members[1:]}
    return [*lines, *([""] if changes else []), *(f"- `{n}`: {c}" for n, c in changes.items())]


def differing(name: str, defaults: dict[str, Any]) -> str:
    changed = {key: value for key, value in model_options(name).items() if value != defaults[key]}
    return ", ".join(f"`{key}` {code(value)}" for key, value in changed.items())


def code(value: Any) -> str:
    """A default as it is written in a recipe."""
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=10_000)
    return f"`{text.removesuffix('...' + chr(10)).strip()}`"


def interval(row: dict[str, str], name: str) -> str:
    value, low, high = (figure(row[part]) for part in (name, f"{name}_low", f"{name}_high"))
    return f"{value} [{low}, {high}]"


def figure(text: str) -> str:
    """Three significant digits, without an exponent.

    >>> figure("1648.0"), figure("0.06944"), figure("25.43")
    ('1650', '0.0694', '25.4')
    """
    value = float(f"{float(text):.3g}")
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    write()
