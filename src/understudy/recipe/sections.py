"""The sections of a recipe, as pydantic models. Values that only make sense together are checked
together.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from understudy.recipe.clips import Data
from understudy.recipe.values import (
    Count,
    Method,
    NotNegative,
    Options,
    Pixels,
    Place,
    Positive,
    Section,
    Seed,
    Share,
    Text,
    Whole,
)


class Start(Section):
    """What a student starts from in place of random weights. `start.json` lists every layer."""

    run: Place | None = None
    """A trained run. Its layers are taken as they are; a lighter relative of C3D gets those of a
    trained C3D transplanted."""
    checkpoint: Place = "best"
    vit: Place | None = None
    """For `rvit` and `rvit-image`: a vision transformer of timm, `hub:NAME` or the path of a
    safetensors file. Its width and patch size must be the student's."""

    @model_validator(mode="after")
    def _one_source(self) -> Start:
        if (self.run is None) == (self.vit is None):
            raise ValueError("give either run or vit; they are two kinds of source")
        return self


class Model(Section):
    """Which architecture. `options` are the keyword arguments of `create_model`."""

    name: Place = "mobilevit-xxs"
    options: Options = Field(default={})
    start: Start | None = None


class Teacher(Section):
    """Who teaches: a CLIP-class model, or a run that was trained before."""

    kind: Literal["clip", "run"]
    path: Place | None = None
    """kind run: the run directory."""
    checkpoint: Place = "best"
    architecture: Place = "ViT-B-32"
    """kind clip: an open_clip architecture, or the path of an open_clip model configuration."""
    weights: Place | None = "openai"
    """kind clip: the open_clip tag of the weights. It also decides the activation and the pixel
    statistics that go with them. None for a tower of your own, which needs weights_file."""
    weights_file: Place | None = None
    """kind clip: a local copy of those weights, instead of the hub."""
    head: Literal["zero-shot", "probe", "none"] = "zero-shot"
    """Where the logits come from: text prompts of the class names, a linear probe fitted on the
    training embeddings, or nowhere (then only features can be taught)."""
    prompts: tuple[Text, ...] = (
        "a photo of a person {}.",
        "a video frame of someone {}.",
        "a picture of the action {}.",
    )
    class_texts: dict[Text, Text] = Field(default={})
    """What to write in a prompt in place of a class name; by default the name with spaces."""
    size: Pixels | None = None
    """Pixels a side that this teacher sees; by default those it was built for."""
    frames: Count | None = None
    """Frames of a clip that it sees. A run: by default those of its own training; CLIP: those of
    the student."""
    sampling: Method | None = None
    """Which frames; by default as for `frames`."""
    stride_s: Positive | None = None
    """Seconds between two frames; for dense sampling."""
    alpha: NotNegative | None = None
    """Weight of this teacher's features; by default `distill.alpha`."""
    beta: NotNegative | None = None
    """Weight of its logits; by default `distill.beta`."""
    store: bool = True
    """Keep its outputs per clip and view beside the runs, where a view comes back."""

    @model_validator(mode="after")
    def _run_needs_a_path(self) -> Teacher:
        if (self.kind == "run") != (self.path is not None):
            raise ValueError("path belongs to kind: run, and kind: run needs it")
        if self.kind == "clip" and self.weights is None and self.weights_file is None:
            raise ValueError("a CLIP teacher needs weights (a tag) or weights_file (a path)")
        if (self.sampling == "dense") != (self.stride_s is not None):
            raise ValueError("stride_s and sampling: dense go together; give both or neither")
        return self


class Distill(Section):
    """L = alpha * L_feature + beta * L_response + gamma * L_task."""

    feature_loss: Literal["cosine", "mse"] = "cosine"
    """Of unit embeddings. `cosine`: 2 - 2 cos. `mse`: the mean of the squared differences over the
    E dimensions, (2 - 2 cos) / E, as is often published; alpha weighs E times less with it."""
    alpha: NotNegative = 1.0
    beta: NotNegative = 1.0
    gamma: NotNegative = 0.5
    temperature: Positive = 4.0


class Train(Section):
    epochs: Count = 15
    batch_size: Count = 32
    lr: Positive = 3e-4
    min_lr: NotNegative = 1e-6
    schedule: Literal["cosine", "step"] = "cosine"
    """`cosine`: from `lr` to `min_lr`. `step`: times `step_factor` every `schedule_epochs`."""
    schedule_epochs: Count | None = None
    """How long the cosine takes, null: all epochs; or the epochs from one step to the next."""
    step_factor: Annotated[Positive, Field(le=1)] | None = None
    """For schedule step: what the learning rate is multiplied by."""
    warmup_epochs: NotNegative = 0
    weight_decay: NotNegative = 0.01
    backbone_lr: Share = 1.0
    """Learning rate of the backbone, as a share of `lr`: pretrained layers want a smaller one."""
    max_grad_norm: Positive | None = 1.0
    accumulate: Count = 1
    """Batches per optimiser step."""
    label_smoothing: Annotated[NotNegative, Field(lt=1)] = 0.0
    imbalance: Literal["none", "class_weights", "balanced_sampling"] = "none"
    seed: Seed = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    tf32: bool = False
    """Let a GPU of NVIDIA's round the inputs of products to 10 bits of fraction: faster in fp32."""
    channels_last: bool = False
    """Lay pictures out channel by channel for each pixel, which convolutions on GPUs prefer. Models
    whose backbones gain by it on a CPU do so in any case."""
    compile: bool = False
    """torch.compile the student: worth its minute on a GPU and a long schedule."""
    patience: Count | None = None
    """Epochs without a better validation metric before training stops; None: never."""
    checkpoint_every: Count | None = None
    """Also keep a checkpoint every so many epochs."""
    qat: bool = False
    """Quantisation-aware: weights and activations are rounded to 8 bits, in training and in
    validation, as an INT8 export does; the checkpoints hold the float weights. It goes on from a
    trained run, `model.start.run`."""
    tracker: Literal["none", "tensorboard", "wandb", "mlflow"] = "none"

    @model_validator(mode="after")
    def _schedule_falls(self) -> Train:
        step = self.schedule == "step"
        if step != (self.step_factor is not None) or (step and self.schedule_epochs is None):
            raise ValueError(
                "schedule: step, schedule_epochs and step_factor go together; "
                "a cosine has no step_factor"
            )
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr ({self.min_lr:g}) is above lr ({self.lr:g}); lower it too")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs ({self.warmup_epochs:g}) leaves nothing of {self.epochs} epochs"
            )
        return self


class Eval(Section):
    split: Literal["train", "val", "test"] = "test"
    batch_size: Count = 32
    confidence: Annotated[Positive, Field(lt=1)] = 0.95
    resamples: Annotated[Whole, Field(ge=100, le=1_000_000)] = 2000


class Recipe(Section):
    """One training run, whole. `name` names its directory under `runs/`."""

    name: Text
    data: Data
    model: Model = Model()
    teacher: Teacher | None = None
    """The one teacher of the simple case."""
    teachers: dict[str, Teacher] = Field(default={})
    """Several teachers by name; their losses add up."""
    distill: Distill = Distill()
    train: Train = Train()
    eval: Eval = Eval()

    @field_validator("name")
    @classmethod
    def _name_is_one_folder(cls, name: str) -> str:
        if not name.strip(". ") or "/" in name or "\\" in name:
            raise ValueError("a name is that of one folder; say where it lies with --out")
        if not name.isprintable() or len(name.encode()) > 200:
            raise ValueError("a name has 200 bytes at most, and no control characters")
        return name

    @property
    def all_teachers(self) -> dict[str, Teacher]:
        """Every teacher by its name; the one of `teacher` is called so."""
        return {"teacher": self.teacher} if self.teacher is not None else self.teachers

    def weights_of(self, name: str) -> Distill:
        """What a teacher's parts of the loss weigh: its own weights, or those of `distill`."""
        teacher = self.all_teachers[name]
        own = {"alpha": teacher.alpha, "beta": teacher.beta}
        changes = {key: value for key, value in own.items() if value is not None}
        return self.distill.model_copy(update=changes)

    @model_validator(mode="after")
    def _weights_have_a_teacher(self) -> Recipe:
        if self.teacher is not None and self.teachers:
            raise ValueError("teacher and teachers are both given; name all of them in teachers")
        if not self.all_teachers and "distill" in self.model_fields_set:
            raise ValueError("distill is set, but there is no teacher that could distil")
        for name in self.all_teachers:
            weights = self.weights_of(name)
            if weights.alpha == weights.beta == 0:
                who = "this teacher" if self.teacher is not None else name
                raise ValueError(f"alpha and beta are both 0: {who} would teach nothing")
        return self

    @field_validator("teachers")
    @classmethod
    def _names_are_words(cls, teachers: dict[str, Teacher]) -> dict[str, Teacher]:
        for name in teachers:
            if not name.isidentifier():
                raise ValueError(f"{name!r} is no name for a teacher; give a word such as clip")
        return teachers

    @model_validator(mode="after")
    def _qat_goes_on_from_a_run(self) -> Recipe:
        if self.train.qat and (self.model.start is None or self.model.start.run is None):
            raise ValueError("train.qat goes on from a trained run; name it in model.start.run")
        return self
