"""CLIP-class towers as teachers: `Recognizer`s whose logits come from text or from a linear probe.

CLIP (Radford et al. 2021) embeds pictures and sentences in one space. A clip's embedding is the
mean of the L2-normalised embeddings of its frames.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from understudy.errors import UserError, nearest
from understudy.hub_address import is_reachable
from understudy.models.layers import Normalize, spread_real, time_mask
from understudy.recipe import Data, Distill, Teacher
from understudy.task import Task
from understudy.teach.teachers import FitHead, Fitting, FrozenTeacher, frozen
from understudy.types import Output, Recognizer, Sampling, parameter_count

_WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def clip_teacher(
    config: Teacher,
    weights: Distill,
    data: Data,
    classes: tuple[str, ...],
    fit_probe: FitHead,
    task: Task,
) -> FrozenTeacher:
    """The CLIP tower that `config` names, with the head that it names; see `create_teacher`.

    By default it sees the student's frames at the tower's own size.
    """
    if config.head == "none" and weights.beta > 0:
        raise UserError(
            "The teacher has no head (teacher.head=none), so its logits mean nothing, but "
            f"distill.beta is {weights.beta}: the student would learn from random numbers. Set "
            "teacher.head=zero-shot or probe, or distill.beta=0."
        )
    if config.head == "zero-shot" and task.several and weights.beta > 0:
        raise UserError(
            "The teacher's head is zero-shot: it says which class fits a clip best, not which of "
            f"them hold, and this manifest gives a clip several labels; distill.beta is "
            f"{weights.beta}. Set teacher.head=probe, fitted on the labels, or distill.beta=0."
        )
    tower = load_tower(config)
    headless = ClipRecognizer(tower, NoHead(len(classes)))
    method = config.sampling or ("uniform" if config.frames else data.sampling)
    sampling = Sampling(
        size=config.size or headless.input_size,
        frames=config.frames or data.frames,
        method=method,
        stride_s=config.stride_s or (data.stride_s if method == "dense" else None),
        hold_pictures=data.pseudo is not None,
    )
    facts: dict[str, Any] = {
        "kind": "clip",
        "name": Path(config.architecture).stem,
        "source": config.weights_file or f"open_clip:{config.weights}",
        "head": config.head,
        # What a deployed teacher would need: the image tower, not the sentences'.
        "parameters": parameter_count(tower.get_submodule("visual")),
    }
    if config.head == "none":
        return frozen(headless, sampling, facts)
    if config.head == "zero-shot":
        head: nn.Module = text_head(tower, config, classes)
    else:
        bare = frozen(headless, sampling, dict(facts))
        facts["tower_sha256"] = bare.facts["weights_sha256"]
        head = fit_probe(bare)
    facts["parameters"] += parameter_count(head)
    return frozen(ClipRecognizer(tower, head), sampling, facts)


class ClipRecognizer(Recognizer):
    """A frozen CLIP image tower with a head over its normalised embeddings.

    `head` maps unit vectors (B, E) to logits (B, K). Frames of any size are resized to the tower's
    own, because a vision transformer takes no other.
    """

    def __init__(self, tower: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = tower
        self.head = head
        size = cast(Any, tower.visual).image_size
        self.input_size = size[0] if isinstance(size, tuple) else size
        self.clip_frames = None
        preprocess = cast(dict[str, Any], cast(Any, tower.visual).preprocess_cfg)
        self.normalize = Normalize(tuple(preprocess["mean"]), tuple(preprocess["std"]))
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> ClipRecognizer:
        """A teacher stays in evaluation mode whatever is asked."""
        del mode
        return super().train(False)

    def forward(self, frames: Tensor, lengths: Tensor | None = None) -> Output:
        batch, time = frames.shape[:2]
        if lengths is None:
            embedding = self._unit(frames.flatten(0, 1)).unflatten(0, (batch, time)).mean(1)
        else:
            real = time_mask(lengths, time)
            embedding = (spread_real(self._unit(frames[real]), real)).sum(1) / lengths[:, None]
        return Output(logits=self.head(F.normalize(embedding, dim=-1)), embedding=embedding)

    def _unit(self, pixels: Tensor) -> Tensor:
        """Frames (N, 3, H, W) uint8 to unit vectors (N, E)."""
        normalised = self.normalize(pixels)
        if normalised.shape[-1] != self.input_size or normalised.shape[-2] != self.input_size:
            side = (self.input_size, self.input_size)
            normalised = F.interpolate(normalised, side, mode="bicubic", antialias=True)
        return F.normalize(cast(Any, self.backbone).encode_image(normalised), dim=-1)


class TextHead(nn.Module):
    """Zero-shot classification: similarity to the class's sentences at the model's temperature."""

    weight: Tensor
    scale: Tensor

    def __init__(self, texts: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", texts)
        self.register_buffer("scale", scale)

    def forward(self, unit: Tensor) -> Tensor:
        return self.scale * unit @ self.weight.T


class NoHead(nn.Module):
    """For teaching features alone: its logits are all zero and carry no opinion."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, unit: Tensor) -> Tensor:
        return unit.new_zeros(len(unit), self.num_classes)


def load_tower(config: Teacher) -> nn.Module:
    """The CLIP model that `config` names, on the CPU in float32.

    Raises UserError for unknown names, and, where weights can't be had, says which file to fetch,
    from where by name, and where to put it.
    """
    import open_clip

    architecture = config.architecture
    if architecture.endswith(".json"):
        if not Path(architecture).is_file():
            raise UserError(f"There is no model configuration {architecture}.")
        open_clip.add_model_config(architecture)
        architecture = Path(architecture).stem
    known = open_clip.list_models()
    if architecture not in known:
        raise UserError(
            f"open_clip knows no architecture {architecture}.{nearest(architecture, known)}"
        )
    tag = _pretrained_config(architecture, config.weights)
    file = Path(config.weights_file) if config.weights_file else _fetch(architecture, config, tag)
    if not file.is_file():
        raise UserError(f"There is no weight file {file} (teacher.weights_file).")
    statistics = {key: tag[key] for key in ("mean", "std") if key in tag}
    try:
        tower = open_clip.create_model(
            architecture,
            pretrained=str(file),
            # The tag knows the activation; the wrong one costs accuracy without any error.
            force_quick_gelu=bool(tag.get("quick_gelu", False)),
            force_preprocess_cfg=statistics,
        )
    except Exception as error:  # anything in a file that is not this architecture's
        raise UserError(f"{file} does not fit {architecture}: {error}") from error
    return tower.eval()


def text_head(tower: nn.Module, config: Teacher, classes: tuple[str, ...]) -> TextHead:
    """A zero-shot head: for each class the mean embedding of its prompts (a prompt ensemble)."""
    import open_clip

    unknown = sorted(set(config.class_texts) - set(classes))
    if unknown:
        raise UserError(
            f"teacher.class_texts names {unknown[0]}, which is no class."
            f"{nearest(unknown[0], classes)}"
        )
    architecture = Path(config.architecture)
    name = architecture.stem if architecture.suffix == ".json" else config.architecture
    tokenizer = open_clip.get_tokenizer(name)
    model = cast(Any, tower)
    rows = []
    with torch.inference_mode():
        for label in classes:
            text = config.class_texts.get(label, label.replace("_", " "))
            sentences = [prompt.format(text) for prompt in config.prompts]
            unit = F.normalize(model.encode_text(tokenizer(sentences)), dim=-1)
            rows.append(F.normalize(unit.mean(0), dim=-1))
    return TextHead(torch.stack(rows).clone(), model.logit_scale.detach().exp().clone())


def probe_head(fitting: Fitting, num_classes: int) -> nn.Linear:
    """A linear probe fitted on the training clips.

    Logistic regression; its strength is chosen by cross-validation that keeps groups whole. Where
    several labels may hold, one for each class against all clips without it.
    Raises UserError if a class has no training clip, or with several labels all of them: its row
    would be random.
    """
    embeddings, targets, groups = fitting
    features = embeddings.double().numpy()
    if targets.ndim == 2:
        probes = []
        for number, holds in enumerate((targets == 1).T):
            if holds.all() or not holds.any():
                raise UserError(
                    f"The probe cannot be fitted: class number {number} holds of "
                    f"{'every' if holds.all() else 'no'} clip."
                )
            probes.append(_logistic(features, holds.long(), groups))
        weight = torch.cat([weight for weight, _ in probes])
        bias = torch.cat([bias for _, bias in probes])
    else:
        absent = sorted(set(range(num_classes)) - set(targets.tolist()))
        if absent:
            raise UserError(f"The probe cannot be fitted: class number {absent[0]} has no clip.")
        weight, bias = _logistic(features, targets, groups)
        if num_classes == 2:  # scikit-learn keeps one row for two classes
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
    head = nn.Linear(embeddings.shape[1], num_classes)
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    return head.requires_grad_(False)


def _logistic(features: Any, targets: Tensor, groups: list[str]) -> tuple[Tensor, Tensor]:
    """Weights (K, E) and biases (K,) of a logistic regression of class indices (N,), each of which
    has a clip, on features (N, E); of two classes, one row for the second."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss, make_scorer
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

    folds = min(5, len(set(groups)), int(targets.bincount().min()))
    labels = targets.numpy()
    probe = LogisticRegression(C=10.0, max_iter=2000)
    splits = _whole_splits(StratifiedGroupKFold(max(2, folds)), features, labels, groups)
    if folds >= 2 and splits:
        surprise = make_scorer(
            log_loss,
            greater_is_better=False,
            response_method="predict_proba",
            labels=np.unique(labels),
        )
        strengths = {"C": [0.1, 1.0, 10.0, 100.0]}
        search = GridSearchCV(probe, strengths, cv=splits, scoring=surprise)
        probe = cast(LogisticRegression, search.fit(features, labels).best_estimator_)
    else:
        probe.fit(features, labels)
    return torch.from_numpy(probe.coef_).float(), torch.from_numpy(probe.intercept_).float()


def _whole_splits(folds: Any, features: Any, labels: Any, groups: list[str]) -> list[Any]:
    """The folds whose training part holds every class; with few groups some do not."""
    classes = len(set(labels.tolist()))
    splits = folds.split(features, labels, groups) if len(set(groups)) > 1 else []
    return [(fit, score) for fit, score in splits if len(set(labels[fit].tolist())) == classes]


def _pretrained_config(architecture: str, weights: str | None) -> dict[str, Any]:
    import open_clip

    if weights is None:
        return {}
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if weights not in tags:
        raise UserError(
            f"open_clip has no weights {weights} for {architecture}.{nearest(weights, tags)} "
            f"Known tags: {', '.join(tags) or 'none'}. For weights of your own, set "
            "teacher.weights=null and teacher.weights_file=PATH."
        )
    return open_clip.get_pretrained_cfg(architecture, weights)


def _fetch(architecture: str, config: Teacher, tag: dict[str, Any]) -> Path:
    """The weight file from the local hub cache or from the hub."""
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    repository, _, named = tag.get("hf_hub", "").rpartition("/")
    names = (named,) if named else _WEIGHT_FILES
    for name in names if repository else ():
        cached = try_to_load_from_cache(repository, name)
        if isinstance(cached, str):
            return Path(cached)
    reason = "no copy on the hub is known"
    if repository and not is_reachable():
        reason = "the hub cannot be reached from here"
    elif repository:
        for name in names:
            try:
                return Path(hf_hub_download(repository, name))
            except Exception as error:  # the hub client raises a dozen kinds
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
    raise UserError(
        f"The weights {config.weights} of {architecture} are not here and could not be fetched "
        f"({reason}). Fetch the file {names[0]} of {repository or tag.get('url', architecture)} "
        "(Hugging Face hub) on a machine with a network, put it anywhere on this one and name it: "
        f"--set teacher.weights_file=PATH. Or put it into the hub's cache, {constants.HF_HUB_CACHE}"
        "."
    )
